import test from 'ava'
import { chainOf } from '../../lib/protocol/increment.js'
import {
  type Inlined,
  inlineBytesOf,
  inlineRules,
  startInlined,
  withBase,
  withInline,
  withSettled,
} from '../../lib/protocol/inline.js'
import type { PartRef } from '../../lib/protocol/manifest.js'
import { prng } from '../support/prng.js'

const part = (epoch: number, bytes: number, base?: PartRef): PartRef => ({
  subtask: 'a/0',
  epoch,
  generation: 1,
  digest: `d${epoch}`,
  chunks: 1,
  bytes,
  ...(base === undefined ? {} : { bases: chainOf(base) }),
})

const carried = (epoch: number, bytes: number, base?: PartRef): PartRef => ({
  ...part(epoch, bytes, base),
  inline: ['AAAA'],
})

const start = (thresholdBytes: number, shareBytes: number): Inlined =>
  startInlined({ thresholdBytes, shareBytes })

test('a part at the threshold is carried, one above it is not', t => {
  t.not(withInline(start(100, 1_000), part(1, 100)), undefined)
  t.is(withInline(start(100, 1_000), part(1, 101)), undefined)
})

test('with threshold 0 nothing is carried, not even what has no bytes', t => {
  t.is(withInline(start(0, 1_000), part(1, 0)), undefined)
})

test('IP1: what is not settled takes room until it is', t => {
  const first = withInline(start(100, 150), part(1, 100))
  if (first === undefined) return t.fail()
  t.is(withInline(first, part(2, 51)), undefined)
  const second = withInline(first, part(2, 50))
  if (second === undefined) return t.fail()
  t.is(withInline(second, part(3, 1)), undefined)
  const aborted = withSettled(second, epoch => epoch === 2)
  t.not(withInline(aborted, part(3, 50)), undefined)
  const completed = withSettled(second, epoch => epoch <= 2)
  t.not(withInline(completed, part(3, 100)), undefined)
})

test('IP1: what a snapshot of changes builds on takes room with it, unless it is in the store', t => {
  t.is(withInline(start(100, 150), part(2, 60, carried(1, 100))), undefined)
  t.not(withInline(start(100, 150), part(2, 50, carried(1, 100))), undefined)
  t.not(withInline(start(100, 150), part(2, 60, part(1, 100_000))), undefined)
})

test('IP1: a snapshot builds on what is in a manifest only where there is room for that', t => {
  const base = carried(1, 100)
  const based = withBase(start(100, 150), 2, base)
  if (based === undefined) return t.fail()
  t.is(withBase(based, 3, base), undefined)
  t.not(withBase(based, 3, part(1, 100_000)), undefined, 'what is stored takes no room')
  t.is(withInline(based, part(2, 51, base)), undefined)
  t.not(withInline(based, part(2, 50, base)), undefined, 'its base is counted once')
  const settled = withSettled(based, epoch => epoch <= 2)
  t.not(withBase(settled, 3, base), undefined)
})

test('IP1: all subtasks together stay within the limit of a checkpoint and half of a message', t => {
  const mebibyte = 1024 * 1024
  for (const subtasks of [1, 3, 16, 1_000]) {
    for (const payloadBytesMax of [mebibyte, mebibyte / 16]) {
      const bytesMax = 256 * 1024
      const { shareBytes } = inlineRules({
        ...{ thresholdBytes: 16_384, bytesMax, subtasks, payloadBytesMax },
      })
      t.true(shareBytes * subtasks <= bytesMax)
      t.true((shareBytes * subtasks * 4) / 3 <= payloadBytesMax / 2)
    }
  }
})

test('IP1: whatever is carried and settled in any order, the share is never exceeded', t => {
  const random = prng(11)
  for (let run = 0; run < 300; run += 1) {
    const shareBytes = random.below(500)
    let state = start(1 + random.below(200), shareBytes)
    const reports = new Map<number, PartRef>()
    let base: PartRef | undefined
    for (let epoch = 1; epoch < 30; epoch += 1) {
      const wanted = random.chance(0.5) ? base : undefined
      const based = wanted === undefined ? undefined : withBase(state, epoch, wanted)
      state = based ?? state
      const next = part(epoch, random.below(200), based === undefined ? undefined : wanted)
      const taken = withInline(state, next)
      state = taken ?? state
      const report = taken === undefined ? next : { ...next, inline: ['AAAA'] }
      reports.set(epoch, report)
      if (random.chance(0.4)) {
        const upTo = random.below(epoch + 1)
        state = withSettled(state, each => each <= upTo)
        for (const each of [...reports.keys()]) if (each <= upTo) reports.delete(each)
        base = report
      }
      // Also of a part that is in the store the report names all that it builds on.
      const sum = inlineBytesOf([...reports.values()].flatMap(chainOf))
      t.true(sum <= shareBytes, `run ${run}, epoch ${epoch}: ${sum} of ${shareBytes}`)
    }
  }
})
