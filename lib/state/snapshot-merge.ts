/**
 * A snapshot of changes put together with those that it builds on.
 *
 * Invariants
 *   SM1. Only keyed state is put together: positions and prepared output are whole in every snapshot, and
 *       the newest one's count.
 *   SM2. Changes of an operator count up to its newest whole section, which takes the place of all before.
 *   SM3. A key that changes removed is gone, unless later ones set it again.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { StreamError } from '../errors.js'
import type { Key, KeyGroup } from '../protocol/ids.js'
import { corrupt } from './chunk.js'
import type { RestoredEntries, Snapshot } from './snapshot-format.js'

type Groups = Map<KeyGroup, Map<Key, unknown>>

/** One snapshot from a chain of them, oldest first; `corrupt` if the oldest holds changes only. */
export const mergeSnapshots = (chain: readonly Snapshot[]): E.Either<StreamError, Snapshot> => {
  const newest = chain.at(-1)
  if (newest === undefined) return E.left(corrupt('it has no parts'))
  const keyed = new Map<string, ReadonlyMap<KeyGroup, RestoredEntries>>()
  for (const operator of newest.keyed.keys()) {
    const from = chain.findLastIndex(snapshot => isWhole(snapshot, operator))
    if (from === -1) return E.left(corrupt(`of "${operator}" it holds changes, and no state`))
    keyed.set(operator, entriesOf(chain.slice(from), operator))
  }
  return E.right({ ...newest, keyed, removed: new Map() })
}

const isWhole = ({ header }: Snapshot, operator: string): boolean =>
  header.sections.some(
    section =>
      section.kind === 'keyed' && section.operator === operator && section.changes !== true,
  )

const entriesOf = (
  chain: readonly Snapshot[],
  operator: string,
): ReadonlyMap<KeyGroup, RestoredEntries> => {
  const [whole, ...changes] = chain
  // One snapshot that is whole, which is the rule, needs no copy.
  if (changes.length === 0) return whole?.keyed.get(operator) ?? new Map()
  const groups: Groups = new Map()
  for (const snapshot of chain) {
    for (const [group, keys] of snapshot.removed.get(operator) ?? [])
      for (const key of keys) groups.get(group)?.delete(key)
    for (const [group, entries] of snapshot.keyed.get(operator) ?? []) {
      const known = groups.get(group) ?? new Map<Key, unknown>()
      groups.set(group, known)
      for (const [key, value] of entries) known.set(key, value)
    }
  }
  return new Map([...groups].map(([group, entries]) => [group, [...entries]]))
}
