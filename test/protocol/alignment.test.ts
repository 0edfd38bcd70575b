import test from 'ava'
import { InvariantViolation } from '../../lib/invariant.js'
import {
  type Alignment,
  type AlignmentEffect,
  type AlignmentEvent,
  type AlignmentMode,
  abortedMax,
  blockedChannels,
  initialAlignment,
  pendingMax,
  step,
} from '../../lib/protocol/alignment.js'

const start = (channels: readonly string[], mode: AlignmentMode = 'exactly-once'): Alignment =>
  initialAlignment({ mode, channels, closedThrough: 0 })

const barrier = (channel: string, epoch: number, now = 0, final = false): AlignmentEvent => ({
  type: 'barrier-received',
  channel,
  epoch,
  final,
  now,
})
const aborted = (epoch: number): AlignmentEvent => ({ type: 'checkpoint-aborted', epoch })
const ended = (channel: string, now = 0): AlignmentEvent => ({
  type: 'channel-ended',
  channel,
  now,
})

/** The state after some events, and the effects of each. */
const play = (
  state: Alignment,
  ...events: readonly AlignmentEvent[]
): { readonly state: Alignment; readonly effects: readonly (readonly AlignmentEffect[])[] } => {
  const effects: (readonly AlignmentEffect[])[] = []
  let current = state
  for (const event of events) {
    const [next, caused] = step(current, event)
    current = next
    effects.push(caused)
  }
  return { state: current, effects }
}

const snapshot = (epoch: number, alignmentMs = 0, final = false): AlignmentEffect => ({
  type: 'take-snapshot',
  epoch,
  final,
  alignmentMs,
})
const block = (channel: string): AlignmentEffect => ({ type: 'block-channel', channel })
const unblock = (...channels: readonly string[]): AlignmentEffect => ({
  type: 'unblock-channels',
  channels,
})
const drop = (epoch: number, reason: 'superseded' | 'aborted'): AlignmentEffect => ({
  type: 'alignment-dropped',
  epoch,
  reason,
})
const ignore = (channel: string, epoch: number): AlignmentEffect => ({
  type: 'barrier-ignored',
  channel,
  epoch,
})

test('a single-channel subtask snapshots on its first barrier', t => {
  for (const mode of ['exactly-once', 'at-least-once'] as const) {
    const { state, effects } = play(start(['a'], mode), barrier('a', 1, 5), barrier('a', 2, 6))
    t.deepEqual(effects, [[snapshot(1)], [snapshot(2)]])
    t.is(state.type, 'flowing')
  }
})

test('an epoch is final when all its barriers are', t => {
  const both = play(start(['a', 'b']), barrier('a', 1, 0, true), barrier('b', 1, 3, true))
  t.deepEqual(both.effects[1]?.[0], snapshot(1, 3, true))
  const one = play(start(['a', 'b']), barrier('a', 1, 0, true), barrier('b', 1, 3, false))
  t.deepEqual(one.effects[1]?.[0], snapshot(1, 3, false))
})

test('A1: channels that delivered their barrier are blocked until the last one has', t => {
  const { state, effects } = play(start(['a', 'b', 'c']), barrier('b', 1, 10), barrier('c', 1, 12))
  t.deepEqual(effects, [[block('b')], [block('c')]])
  t.deepEqual(blockedChannels(state), new Set(['b', 'c']))
})

test('A1: at-least-once blocks nothing', t => {
  const events = [barrier('a', 1, 10), barrier('a', 2, 11), barrier('b', 1, 14)]
  const { state, effects } = play(start(['a', 'b'], 'at-least-once'), ...events)
  t.deepEqual(effects, [[], [], [snapshot(1, 4)]])
  t.is(state.type, 'aligning')
  t.deepEqual(blockedChannels(state), new Set())
})

test('A2: a blocked channel that delivers anything is a defect', t => {
  const { state } = play(start(['a', 'b']), barrier('a', 1))
  for (const event of [barrier('a', 1), barrier('a', 2), ended('a')]) {
    t.throws(() => step(state, event), { instanceOf: InvariantViolation, message: /A2/ })
  }
})

test('A2: a barrier on a channel that is unknown or has ended is a defect', t => {
  const { state } = play(start(['a', 'b']), ended('b'))
  t.throws(() => step(state, barrier('z', 1)), { message: /A2/ })
  t.throws(() => step(state, barrier('b', 1)), { message: /A2/ })
  t.throws(() => step(state, ended('b')), { message: /A2/ })
})

test('A2: at-least-once takes a barrier that comes twice on a channel for a defect', t => {
  const { state } = play(start(['a', 'b'], 'at-least-once'), barrier('a', 1))
  t.throws(() => step(state, barrier('a', 1)), { message: /A2/ })
})

test('A3: barriers at or below the last handled epoch are ignored', t => {
  const restored = initialAlignment({
    mode: 'exactly-once',
    channels: ['a', 'b'],
    closedThrough: 7,
  })
  const events = [barrier('a', 7), barrier('a', 8), barrier('b', 6), barrier('b', 8)]
  const { effects } = play(restored, ...events, barrier('a', 8))
  t.deepEqual(effects, [
    [ignore('a', 7)],
    [block('a')],
    [ignore('b', 6)],
    [snapshot(8), unblock('a')],
    [ignore('a', 8)],
  ])
})

test('A4: a newer barrier supersedes an older alignment on all inputs', t => {
  const events = [barrier('a', 1), barrier('b', 1), barrier('c', 2, 5), barrier('a', 2, 8)]
  const { effects, state } = play(start(['a', 'b', 'c']), ...events)
  t.deepEqual(effects, [
    [block('a')],
    [block('b')],
    [drop(1, 'superseded'), block('c'), unblock('a', 'b')],
    [block('a')],
  ])
  t.deepEqual(blockedChannels(state), new Set(['c', 'a']))
  const end = play(state, barrier('b', 2, 9))
  t.deepEqual(end.effects, [[snapshot(2, 4), unblock('c', 'a')]])
})

test('A4: late barriers of a superseded epoch are ignored', t => {
  const { effects } = play(
    start(['a', 'b', 'c']),
    barrier('a', 1),
    barrier('b', 2),
    barrier('c', 1),
  )
  t.deepEqual(effects[2], [ignore('c', 1)])
})

test('A5: the snapshot is taken before channels are unblocked', t => {
  const { effects, state } = play(start(['a', 'b']), barrier('a', 1, 3), barrier('b', 1, 9))
  t.deepEqual(effects, [[block('a')], [snapshot(1, 6), unblock('a')]])
  t.is(state.type, 'flowing')
})

test('A6: aborting the current epoch unblocks, and its late barriers are ignored', t => {
  const events = [barrier('a', 1), aborted(1), barrier('b', 1), barrier('a', 2), barrier('b', 2)]
  const { effects } = play(start(['a', 'b']), ...events)
  t.deepEqual(effects, [
    [block('a')],
    [drop(1, 'aborted'), unblock('a')],
    [ignore('b', 1)],
    [block('a')],
    [snapshot(2), unblock('a')],
  ])
})

test('A6: an abort that overtakes the barriers leaves nothing for them to do', t => {
  const { effects } = play(start(['a', 'b']), aborted(1), barrier('a', 1), barrier('b', 1))
  t.deepEqual(effects, [[], [ignore('a', 1)], [ignore('b', 1)]])
})

test('A6: aborting a newer epoch leaves an older one pending', t => {
  const { effects } = play(start(['a', 'b']), barrier('a', 1), aborted(2), barrier('b', 1))
  t.deepEqual(effects, [[block('a')], [], [snapshot(1), unblock('a')]])
})

test('A6: a repeated or late abort does nothing', t => {
  const events = [barrier('a', 1), barrier('b', 1), aborted(1), aborted(2), aborted(2)]
  const { effects, state } = play(start(['a', 'b']), ...events)
  t.deepEqual(effects.slice(2), [[], [], []])
  t.deepEqual(state.aborted, [2])
})

test('A6: the newest abortedMax aborted epochs are remembered, until a later one is handled', t => {
  const aborts = Array.from({ length: abortedMax + 10 }, (_, index) => aborted(index + 1))
  const { state } = play(start(['a']), ...aborts)
  t.is(state.aborted.length, abortedMax)
  t.is(state.aborted[0], 11)
  const next = play(state, barrier('a', 40), barrier('a', abortedMax + 11))
  t.deepEqual(next.effects, [[ignore('a', 40)], [snapshot(abortedMax + 11)]])
  t.deepEqual(next.state.aborted, [])
})

test('A7: at-least-once completing an epoch drops all older ones', t => {
  const channels = ['a', 'b', 'c']
  // The barriers 1 and 2 are lost on c.
  const early = channels.slice(0, 2).flatMap(channel => [barrier(channel, 1), barrier(channel, 2)])
  const late = [barrier('a', 3), barrier('b', 3), barrier('c', 3), barrier('c', 2)]
  const { effects, state } = play(start(channels, 'at-least-once'), ...early, ...late)
  t.deepEqual(effects.slice(-2), [
    [drop(1, 'superseded'), drop(2, 'superseded'), snapshot(3)],
    [ignore('c', 2)],
  ])
  t.is(state.type, 'flowing')
})

test('A7: at-least-once counts no more than pendingMax epochs', t => {
  const barriers = Array.from({ length: pendingMax + 1 }, (_, index) => barrier('a', index + 1))
  const { effects, state } = play(start(['a', 'b'], 'at-least-once'), ...barriers)
  t.deepEqual(effects.at(-1), [drop(1, 'superseded')])
  t.is(state.type === 'aligning' ? state.pending.length : 0, pendingMax)
  t.deepEqual(play(state, barrier('b', 1), barrier('b', 2)).effects, [
    [ignore('b', 1)],
    [snapshot(2)],
  ])
})

test('A7: at-least-once drops only the aborted epoch', t => {
  const events = [barrier('a', 1), barrier('a', 2), aborted(1), barrier('b', 1), barrier('b', 2)]
  const { effects } = play(start(['a', 'b'], 'at-least-once'), ...events)
  t.deepEqual(effects, [[], [], [drop(1, 'aborted')], [ignore('b', 1)], [snapshot(2)]])
})

test('A8: the end of the last awaited channel completes the alignment', t => {
  const { effects } = play(start(['a', 'b']), barrier('a', 1, 2), ended('b', 7), barrier('a', 2, 9))
  t.deepEqual(effects, [[block('a')], [snapshot(1, 5), unblock('a')], [snapshot(2)]])
})

test('A8: the end of a channel may complete several epochs of at-least-once, oldest first', t => {
  const events = [barrier('a', 1), barrier('a', 2), ended('b'), ended('a')]
  const { effects, state } = play(start(['a', 'b'], 'at-least-once'), ...events)
  t.deepEqual(effects, [[], [], [snapshot(1), snapshot(2)], []])
  t.is(state.type, 'flowing')
})
