/** The records of the keyed exchange: small ones, spread over keys. */

/** A reading of one of many meters. */
export interface Reading {
  readonly key: string
  readonly value: number
  readonly at: number
}

/** The `n`-th record; keys come in no order that a cache could like. */
export const recordAt = (n: number, keys: number): Reading => ({
  key: `key-${(n * 7_919) % keys}`,
  value: n % 1_000,
  at: 1_700_000_000_000 + n,
})
