/** The records of a simulated job: each says where it came from and which way it took. */
import * as t from 'io-ts'

export const Item = t.type({
  /** Index of its source. */
  o: t.number,
  /** Number in its source. */
  n: t.number,
  /** The way through the graph so far, and the copy where it was split. */
  x: t.string,
  k: t.number,
  /** The last actor with state that counted it, and the key there; empty: none. */
  m: t.string,
  /** What it counted. */
  c: t.number,
  /** What the record was called when it was counted. */
  e: t.string,
})
export type Item = t.TypeOf<typeof Item>

/** What tells a record from every other one at the same place of the graph. */
export const idOf = ({ o, n, x }: Item): string => `${o}:${n}${x}`

/** What a state holds: which records it has seen, in a form that their order does not matter to. */
export const Seen = t.type({ count: t.number, sum: t.number, disorder: t.number, last: t.string })
export type Seen = t.TypeOf<typeof Seen>

export const nothingSeen: Seen = { count: 0, sum: 0, disorder: 0, last: '{}' }
