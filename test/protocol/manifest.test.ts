import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { Manifest, neededParts, type PartRef } from '../../lib/protocol/manifest.js'

const stored: PartRef = {
  subtask: 'a/0',
  epoch: 7,
  generation: 2,
  digest: 'd',
  chunks: 2,
  bytes: 5,
}
const inline = ['AQID', 'BAU=']

const manifestOf = (parts: readonly unknown[]): unknown => ({
  version: 1,
  job: 'job',
  jobId: 'id',
  epoch: 7,
  generation: 2,
  maxParallelism: 128,
  graph: 'g',
  triggeredAt: 1,
  completedAt: 2,
  parts,
  final: false,
})

test('a manifest of before there were inline parts is read as it was', t => {
  const old = manifestOf([{ ...stored, bases: [{ ...stored, epoch: 6 }] }])
  t.deepEqual(Manifest.decode(old), E.right(old))
})

test('an inline part is read with its chunks, and so is what it builds on', t => {
  const manifest = manifestOf([{ ...stored, inline, bases: [{ ...stored, epoch: 6, inline }] }])
  t.deepEqual(Manifest.decode(manifest), E.right(manifest))
})

test('what is no text of bytes is refused', t => {
  for (const wrong of [
    'AQID',
    [1],
    [null],
    ['A'],
    ['AQI'],
    ['AQ=D'],
    ['A==='],
    ['AQI\n'],
    ['AQ-_'],
    ['äöüß'],
    [['AQID']],
    { 0: 'AQID' },
    null,
  ]) {
    const part = { ...stored, inline: wrong }
    t.true(E.isLeft(Manifest.decode(manifestOf([part]))), JSON.stringify(wrong))
    const based = { ...stored, bases: [part] }
    t.true(E.isLeft(Manifest.decode(manifestOf([based]))), JSON.stringify(wrong))
  }
})

test('IP2: what a manifest holds itself is not needed of the store', t => {
  const base = { ...stored, epoch: 6 }
  const epochs = (part: PartRef): readonly number[] =>
    neededParts({ parts: [part] }).map(({ epoch }) => epoch)
  t.deepEqual(epochs({ ...stored, bases: [base] }), [6, 7])
  t.deepEqual(epochs({ ...stored, inline, bases: [base] }), [6])
  t.deepEqual(epochs({ ...stored, bases: [{ ...base, inline }] }), [7])
  t.deepEqual(epochs({ ...stored, inline }), [])
})
