import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { inlineChunks, inlinePart } from '../../actors/inline-part.js'
import { partDigest } from '../../lib/adapters/digest.js'
import type { PartRef } from '../../lib/protocol/manifest.js'
import { prng } from '../support/prng.js'

type Chunks = readonly Uint8Array[]

const partOf = (chunks: Chunks): PartRef => ({
  subtask: 'a "b"/0',
  epoch: 7,
  generation: 2,
  digest: partDigest(chunks),
  chunks: chunks.length,
  bytes: chunks.reduce((sum, { byteLength }) => sum + byteLength, 0),
})

const read = (part: PartRef): readonly (readonly number[])[] | string | undefined => {
  const chunks = inlineChunks(part, partDigest)
  if (chunks === undefined) return undefined
  return E.isLeft(chunks) ? chunks.left.type : chunks.right.map(chunk => [...chunk])
}

test('what a part holds comes back, chunk by chunk, through JSON', t => {
  const random = prng(5)
  for (let run = 0; run < 200; run += 1) {
    const chunks = Array.from({ length: random.below(4) }, () =>
      Uint8Array.from({ length: random.below(50) }, () => random.below(256)),
    )
    const part: PartRef = JSON.parse(JSON.stringify(inlinePart(partOf(chunks), chunks)))
    t.deepEqual(
      read(part),
      chunks.map(chunk => [...chunk]),
    )
  }
})

test('a chunk that is a view into a larger buffer is taken as that view', t => {
  const view = new Uint8Array([0, 1, 2, 3, 4]).subarray(1, 3)
  t.deepEqual(read(inlinePart(partOf([view]), [view])), [[1, 2]])
})

test('a part without chunks in it is in the store', t => {
  t.is(read(partOf([])), undefined)
})

test('IP3: bytes that do not match the digest are refused, and name subtask and checkpoint', t => {
  const chunks = [new Uint8Array([1, 2, 3]), new Uint8Array([4])]
  const part = inlinePart(partOf(chunks), chunks)
  for (const inline of [['AQIE', 'BA=='], ['AQID'], ['AQIDBA=='], ['BA==', 'AQID'], []])
    t.is(read({ ...part, inline }), 'corrupt')
  const refused = inlineChunks({ ...part, inline: [] }, partDigest)
  t.regex(
    refused !== undefined && E.isLeft(refused) ? refused.left.message : '',
    /the snapshot of "a \\"b\\"\/0" in the manifest of checkpoint 7 is damaged/,
  )
})
