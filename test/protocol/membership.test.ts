import test from 'ava'
import {
  healthOf,
  initialMembership,
  type Membership,
  type MembershipEffect,
  type MembershipEvent,
  step,
} from '../../lib/protocol/membership.js'
import { prng, seedFromEnvironment } from '../support/prng.js'

const options = { timeoutMs: 3_000, stallTimeoutMs: 60_000, observerGapMs: 1_000 }

const heartbeat = (worker: string, now: number, lagMs = 0): MembershipEvent => ({
  type: 'heartbeat',
  worker,
  now,
  lagMs,
})
const left = (worker: string): MembershipEvent => ({ type: 'left', worker })

/** Applies events; the state and all effects. */
const play = (
  state: Membership,
  ...events: readonly MembershipEvent[]
): { readonly state: Membership; readonly effects: readonly MembershipEffect[] } => {
  const effects: MembershipEffect[] = []
  let current = state
  for (const event of events) {
    const [next, caused] = step(current, event)
    current = next
    effects.push(...caused)
  }
  return { state: current, effects }
}

/** Ticks every half second, both ends included. */
const ticks = (from: number, to: number): readonly MembershipEvent[] =>
  Array.from({ length: (to - from) / 500 + 1 }, (_, index) => ({
    type: 'tick',
    now: from + index * 500,
  }))

const joined = play(initialMembership(options), heartbeat('w1', 0)).state

test('M1: a worker is late at half of the timeout and lost beyond it, once', t => {
  const early = play(joined, ...ticks(0, 1_500))
  t.is(healthOf(early.state, 'w1'), 'alive')
  const later = play(early.state, ...ticks(2_000, 3_000))
  t.is(healthOf(later.state, 'w1'), 'late')
  t.deepEqual(later.effects, [])
  const lost = play(later.state, ...ticks(3_500, 10_000))
  t.is(healthOf(lost.state, 'w1'), 'lost')
  t.deepEqual(lost.effects, [{ type: 'worker-lost', worker: 'w1', reason: 'silent', forMs: 3_500 }])
})

test('M1: a heartbeat makes a late worker alive again', t => {
  const { state, effects } = play(joined, ...ticks(0, 2_500), heartbeat('w1', 2_600))
  t.is(healthOf(state, 'w1'), 'alive')
  t.deepEqual(effects, [])
})

test('M1: a worker whose event loop is blocked is late, then lost though heartbeats come', t => {
  const busy = play(joined, heartbeat('w1', 500, 30_001))
  t.is(healthOf(busy.state, 'w1'), 'late')
  const limit = play(busy.state, heartbeat('w1', 1_000, 60_000), ...ticks(1_000, 1_000))
  t.deepEqual(limit.effects, [])
  const stalled = play(limit.state, heartbeat('w1', 1_500, 60_500), ...ticks(1_500, 2_500))
  t.deepEqual(stalled.effects, [
    { type: 'worker-lost', worker: 'w1', reason: 'stalled', forMs: 60_500 },
  ])
})

test('M2: a worker that left is lost at once, and once', t => {
  const { state, effects } = play(joined, left('w1'), left('w1'), ...ticks(0, 5_000))
  t.is(healthOf(state, 'w1'), 'lost')
  t.deepEqual(effects, [{ type: 'worker-lost', worker: 'w1', reason: 'left', forMs: 0 }])
})

test('M3: the first heartbeat joins, also after a loss', t => {
  const lost = play(joined, ...ticks(0, 4_000)).state
  const { effects } = play(lost, heartbeat('w1', 4_100), heartbeat('w1', 4_200))
  t.deepEqual(effects, [{ type: 'worker-joined', worker: 'w1' }])
})

test('M3: heartbeats of a stalled worker that was lost do not let it join', t => {
  const lost = play(joined, heartbeat('w1', 500, 60_001), ...ticks(500, 500)).state
  const { state, effects } = play(lost, heartbeat('w1', 1_000, 60_501), ...ticks(1_000, 1_500))
  t.deepEqual(effects, [])
  t.is(healthOf(state, 'w1'), 'lost')
  t.deepEqual(play(state, heartbeat('w1', 1_600, 0)).effects, [
    { type: 'worker-joined', worker: 'w1' },
  ])
})

test('M4: an observer that slept declares nobody lost, but soon notices who is', t => {
  const both = play(joined, heartbeat('w2', 0), ...ticks(0, 500)).state
  // The observer sleeps for ten seconds; its timer runs before it reads the heartbeats of w1.
  const awake = play(both, ...ticks(10_500, 10_500))
  t.deepEqual(awake.effects, [])
  const after = [10_500, 11_000, 11_500, 12_000, 12_500, 13_000, 13_500].flatMap(now => [
    heartbeat('w1', now),
    ...ticks(now, now),
  ])
  t.deepEqual(play(awake.state, ...after).effects, [
    { type: 'worker-lost', worker: 'w2', reason: 'silent', forMs: 3_500 },
  ])
})

test('random: joined and lost alternate for every worker, and no live worker is lost', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  let state = initialMembership(options)
  const members = new Set<string>()
  const lastBeat = new Map<string, number>()
  let now = 0
  for (let round = 0; round < 20_000; round += 1) {
    now += random.below(400)
    const worker = `w${random.below(5)}`
    const kind = random.below(40)
    const event: MembershipEvent =
      kind === 0
        ? left(worker)
        : kind < 20
          ? { type: 'tick', now }
          : heartbeat(worker, now, random.chance(0.05) ? 61_000 : random.below(1_000))
    const [next, effects] = step(state, event)
    state = next
    for (const effect of effects) {
      const joins = effect.type === 'worker-joined'
      t.is(members.has(effect.worker), !joins)
      if (joins) members.add(effect.worker)
      else members.delete(effect.worker)
      if (effect.type === 'worker-lost' && effect.reason === 'silent') {
        t.true(now - (lastBeat.get(effect.worker) ?? 0) > options.timeoutMs)
      }
    }
    if (event.type === 'heartbeat') lastBeat.set(worker, now)
    t.deepEqual([...state.workers.keys()].sort(), [...members].sort())
  }
})
