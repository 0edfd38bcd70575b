/**
 * A seeded source of randomness for tests: the same seed gives the same numbers on every machine.
 */
export interface Prng {
  readonly seed: number
  /** A number in [0, 1). */
  next(): number
  /** An integer in [0, n). */
  below(n: number): number
  /** True with the given probability. */
  chance(probability: number): boolean
}

/** Mulberry32: 32 bits of state, good enough to pick faults with. */
export const prng = (seed: number): Prng => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    seed,
    next,
    below: n => Math.floor(next() * n),
    chance: probability => next() < probability,
  }
}

/** The seed of a random test: `SLUICE_TEST_SEED` to repeat a run, or a new one. */
export const seedFromEnvironment = (): number => {
  const given = process.env.SLUICE_TEST_SEED
  return given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given)
}
