/** What of a worker's snapshots is kept at hand, and for how long. */
import test from 'ava'
import { partDigest } from '../../lib/adapters/digest.js'
import type { PartRef } from '../../lib/protocol/manifest.js'
import { LocalCopies } from '../../lib/state/local-copies.js'

const chunksOf = (text: string): readonly Uint8Array[] => [new TextEncoder().encode(text)]

const partOf = (subtask: string, epoch: number, generation = 1): PartRef => {
  const chunks = chunksOf(`${subtask} ${epoch}`)
  const bytes = chunks[0]?.byteLength ?? 0
  return { subtask, epoch, generation, digest: partDigest(chunks), chunks: 1, bytes }
}

const kept = (copies: LocalCopies, subtask: string): readonly number[] =>
  [1, 2, 3, 4, 5, 6].filter(epoch => copies.find(partOf(subtask, epoch)) !== undefined)

const keep = (copies: LocalCopies, subtask: string, epoch: number, generation = 1): void =>
  copies.keep(partOf(subtask, epoch, generation), chunksOf(`${subtask} ${epoch}`))

test('LC2: only the newest completed snapshot and the pending ones are kept', t => {
  const copies = new LocalCopies(2, partDigest)
  copies.begin(1, 0)
  for (const epoch of [1, 2, 3]) keep(copies, 'a/0', epoch)
  t.deepEqual(kept(copies, 'a/0'), [2, 3], 'no more than may be pending')
  copies.completed(2)
  keep(copies, 'a/0', 4)
  keep(copies, 'a/0', 5)
  t.deepEqual(kept(copies, 'a/0'), [2, 4, 5])
  copies.aborted(4)
  t.deepEqual(kept(copies, 'a/0'), [2, 5])
  copies.aborted(2)
  t.deepEqual(kept(copies, 'a/0'), [2, 5], 'what has completed is not dropped by a late abort')
  copies.completed(5)
  copies.completed(3)
  t.deepEqual(kept(copies, 'a/0'), [5])
  t.is(copies.bytes, partOf('a/0', 5).bytes)
})

test('LC2, LC3: a new generation keeps what it restores, and nothing that an older one stores late', t => {
  const copies = new LocalCopies(3, partDigest)
  copies.begin(1, 0)
  for (const epoch of [1, 2, 3]) keep(copies, 'a/0', epoch)
  copies.begin(2, 2)
  t.deepEqual(kept(copies, 'a/0'), [2])
  keep(copies, 'a/0', 4, 1)
  t.deepEqual(kept(copies, 'a/0'), [2])
  keep(copies, 'a/0', 4, 2)
  t.deepEqual(kept(copies, 'a/0'), [2, 4])
  copies.begin(3, 0)
  t.is(copies.bytes, 0)
})

test('LC2: what a snapshot of changes builds on is kept with it, and no longer', t => {
  const copies = new LocalCopies(1, partDigest)
  copies.begin(1, 0)
  const keepChanges = (epoch: number, bases: readonly number[]): void =>
    copies.keep(
      { ...partOf('a/0', epoch), bases: bases.map(base => partOf('a/0', base)) },
      chunksOf(`a/0 ${epoch}`),
    )
  keep(copies, 'a/0', 1)
  copies.completed(1)
  keepChanges(2, [1])
  copies.completed(2)
  keepChanges(3, [1, 2])
  t.deepEqual(kept(copies, 'a/0'), [1, 2, 3])
  copies.completed(3)
  keep(copies, 'a/0', 4)
  t.deepEqual(kept(copies, 'a/0'), [1, 2, 3, 4])
  copies.begin(2, 3)
  t.deepEqual(kept(copies, 'a/0'), [1, 2, 3], 'the whole chain may be restored once more')
  keep(copies, 'a/0', 5, 2)
  copies.completed(5)
  t.deepEqual(kept(copies, 'a/0'), [5])
})

test('LC1: a copy whose bytes do not match the digest is dropped', t => {
  const copies = new LocalCopies(1, partDigest)
  copies.begin(1, 0)
  copies.keep(partOf('a/0', 1), chunksOf('something else'))
  t.is(copies.find(partOf('a/0', 1)), undefined)
  t.is(copies.bytes, 0)
})
