import test from 'ava'
import { nextCheckpointAt, requestsOf } from '../../lib/protocol/checkpoint.js'
import { Checkpoints } from './checkpoint-fixture.js'

/** Checkpoint 1 has completed at 0; the next one is due in a second. */
const rested = (more = {}): Checkpoints => {
  const checkpoints = new Checkpoints(more)
  checkpoints.complete(1, 0)
  return checkpoints
}

const ask = (checkpoints: Checkpoints, request: string): void => {
  checkpoints.step({ type: 'requested', request })
}

const requests = (checkpoints: Checkpoints): readonly (readonly [string, number | undefined])[] => [
  ...requestsOf(checkpoints.state),
]

test('K6: a checkpoint by hand waits neither for the interval nor for the pause', t => {
  const checkpoints = rested({ minPauseMs: 900 })
  ask(checkpoints, 'r')
  t.is(nextCheckpointAt(checkpoints.state), 0)
  t.deepEqual(checkpoints.tick(1), [{ type: 'allocate-id' }])
  checkpoints.allocated(2, 2)
  t.deepEqual(requests(checkpoints), [['r', 2]])
})

test('K6: one by hand leaves the rate of the periodic ones alone, and begins a pause', t => {
  const checkpoints = rested({ minPauseMs: 600 })
  ask(checkpoints, 'r')
  checkpoints.complete(2, 700)
  t.is(nextCheckpointAt(checkpoints.state), 1_300)
  const free = rested()
  ask(free, 'r')
  free.complete(2, 700)
  t.is(nextCheckpointAt(free.state), 1_000)
})

test('K2: requests wait for a slot, and then are one attempt; it is the periodic one, too', t => {
  const checkpoints = rested()
  checkpoints.reported(2, 1_000)
  ask(checkpoints, 'r')
  ask(checkpoints, 's')
  ask(checkpoints, 'r')
  t.deepEqual(checkpoints.tick(2_000), [])
  checkpoints.committed(2, 2_100)
  t.deepEqual(checkpoints.tick(2_101), [{ type: 'allocate-id' }])
  checkpoints.allocated(3, 2_102)
  t.deepEqual(checkpoints.state.pending[0]?.requests, ['r', 's'])
  t.is(checkpoints.state.dueAt, 3_000)
})

test('K7: a request while an attempt is pending is served by the next one, unless that is final', t => {
  const checkpoints = rested({ maxConcurrent: 2 })
  checkpoints.tick(1_000)
  ask(checkpoints, 'while it gets its id')
  checkpoints.allocated(2, 1_001)
  t.deepEqual(requests(checkpoints), [['while it gets its id', undefined]])
  const final = rested()
  final.tick(10, true)
  ask(final, 'while it gets its id')
  final.allocated(2, 11)
  ask(final, 'while it is pending')
  t.deepEqual(requests(final), [
    ['while it gets its id', 2],
    ['while it is pending', 2],
  ])
})

test('a request whose attempt gets no id, or is aborted, is open no more', t => {
  const checkpoints = rested()
  ask(checkpoints, 'r')
  checkpoints.tick(1)
  checkpoints.step({ type: 'allocation-failed', now: 2 })
  t.deepEqual(requests(checkpoints), [])
  ask(checkpoints, 's')
  checkpoints.tick(3)
  checkpoints.allocated(2, 3)
  checkpoints.step({ type: 'declined', subtask: 'a/0', epoch: 2, reason: '', now: 4 })
  t.deepEqual(requests(checkpoints), [])
  t.is(checkpoints.state.dueAt, 1_000)
})

test('K2: beside a final attempt none begins, however many may be pending', t => {
  const checkpoints = new Checkpoints({ maxConcurrent: 3 })
  checkpoints.tick(0, true)
  checkpoints.allocated(1, 0)
  t.deepEqual(checkpoints.tick(9, true), [])
  t.is(nextCheckpointAt(checkpoints.state), 5_000)
})

/** Checkpoints 1 and 2 are pending, at 0 and 1 000. */
const overlapping = (): Checkpoints => {
  const checkpoints = new Checkpoints({ maxConcurrent: 2 })
  checkpoints.tick(0)
  checkpoints.allocated(1, 0)
  checkpoints.tick(1_000)
  checkpoints.allocated(2, 1_000)
  return checkpoints
}

test('K4: one commit is under way at a time; what is complete meanwhile follows it', t => {
  const checkpoints = overlapping()
  checkpoints.report('a/0', 1)
  checkpoints.report('b/0', 1)
  t.like(checkpoints.effects[0], { type: 'commit', checkpoint: { epoch: 1 } })
  checkpoints.report('a/0', 2)
  t.deepEqual(checkpoints.report('b/0', 2), [])
  checkpoints.committed(1, 1_100)
  t.deepEqual(checkpoints.types, ['completed', 'commit'])
  t.like(checkpoints.effects[1], { type: 'commit', checkpoint: { epoch: 2 } })
  checkpoints.committed(2, 1_200)
  t.is(checkpoints.state.completed, 2)
})

test('K4: a commit that is refused lets the next one follow', t => {
  const checkpoints = overlapping()
  for (const epoch of [1, 2])
    for (const subtask of ['a/0', 'b/0']) checkpoints.report(subtask, epoch)
  checkpoints.step({
    ...{ type: 'commit-refused', epoch: 1, reason: 'parts-missing', facts: 'b/0', now: 1_100 },
  } as const)
  t.deepEqual(checkpoints.types, ['aborted', 'commit'])
})

test('what waits for a commit before it times out like any other, and says so', t => {
  const checkpoints = overlapping()
  for (const epoch of [1, 2])
    for (const subtask of ['a/0', 'b/0']) checkpoints.report(subtask, epoch)
  const effects = checkpoints.tick(6_000)
  t.like(effects[0], {
    ...{ type: 'aborted', epoch: 2, reason: 'timed-out' },
    facts: 'the store has not answered for the checkpoint before it',
  })
  t.deepEqual(checkpoints.pending, [1])
})
