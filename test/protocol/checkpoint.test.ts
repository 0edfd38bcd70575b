import test from 'ava'
import { InvariantViolation } from '../../lib/invariant.js'
import { nextCheckpointAt } from '../../lib/protocol/checkpoint.js'
import { Checkpoints, reportOf } from './checkpoint-fixture.js'

test('a job that starts from nothing takes its first checkpoint at once', t => {
  const checkpoints = new Checkpoints()
  t.is(nextCheckpointAt(checkpoints.state), 0)
  t.deepEqual(checkpoints.tick(0), [{ type: 'allocate-id' }])
})

test('a restored job takes its first checkpoint after one interval', t => {
  const checkpoints = new Checkpoints({}, 41)
  t.is(nextCheckpointAt(checkpoints.state), 1_000)
  t.deepEqual(checkpoints.tick(999), [])
  t.deepEqual(checkpoints.tick(1_000), [{ type: 'allocate-id' }])
})

test('checkpoints come at a fixed rate, whatever each of them takes', t => {
  const checkpoints = new Checkpoints()
  checkpoints.complete(1, 0)
  t.is(nextCheckpointAt(checkpoints.state), 1_000)
  checkpoints.reported(2, 1_010)
  checkpoints.committed(2, 1_500)
  t.is(nextCheckpointAt(checkpoints.state), 2_000)
})

test('ticks that were missed while a checkpoint was pending are one tick, not a backlog', t => {
  const checkpoints = new Checkpoints()
  checkpoints.reported(1, 0)
  checkpoints.committed(1, 4_321)
  t.deepEqual(checkpoints.tick(4_321), [{ type: 'allocate-id' }])
  checkpoints.allocated(2, 4_330)
  checkpoints.reported(2, 4_330)
  checkpoints.committed(2, 4_340)
  t.is(nextCheckpointAt(checkpoints.state), 5_330)
  t.deepEqual(checkpoints.tick(4_341), [])
})

test('a min-pause longer than the interval is the interval', t => {
  const checkpoints = new Checkpoints({ minPauseMs: 3_000 }, 1)
  t.is(nextCheckpointAt(checkpoints.state), 3_000)
})

test('without an interval only a final checkpoint is taken', t => {
  const checkpoints = new Checkpoints({ intervalMs: undefined })
  t.is(nextCheckpointAt(checkpoints.state), undefined)
  t.deepEqual(checkpoints.tick(1_000_000), [])
  t.deepEqual(checkpoints.tick(1_000_001, true), [{ type: 'allocate-id' }])
  checkpoints.step({ type: 'allocation-failed', now: 1_000_002 })
  t.deepEqual(checkpoints.tick(2_000_000), [])
})

test('K1: an id at or below an earlier one is a defect', t => {
  const checkpoints = new Checkpoints({}, 5)
  checkpoints.tick(1_000)
  t.throws(() => checkpoints.allocated(5, 1_000), { instanceOf: InvariantViolation })
  checkpoints.allocated(6, 1_000)
  t.deepEqual(checkpoints.pending, [6])
})

test('K2: while an attempt is allocated or pending, no other begins', t => {
  const checkpoints = new Checkpoints()
  checkpoints.tick(0)
  t.deepEqual(checkpoints.tick(2_000), [])
  checkpoints.allocated(1, 2_000)
  t.deepEqual(checkpoints.tick(4_000), [])
  t.is(nextCheckpointAt(checkpoints.state), 7_000)
})

test('K2: a second attempt begins beside the first where two are allowed', t => {
  const checkpoints = new Checkpoints({ maxConcurrent: 2 })
  checkpoints.tick(0)
  checkpoints.allocated(1, 0)
  t.deepEqual(checkpoints.tick(1_000), [{ type: 'allocate-id' }])
  checkpoints.allocated(2, 1_000)
  t.deepEqual(checkpoints.tick(2_000), [])
  t.deepEqual(checkpoints.pending, [1, 2])
})

test('K3: a commit is asked for when the last subtask has reported, with every part', t => {
  const checkpoints = new Checkpoints()
  checkpoints.tick(0)
  checkpoints.allocated(1, 0)
  t.deepEqual(checkpoints.report('b/0', 1), [])
  t.deepEqual(checkpoints.report('b/0', 1), [])
  const [commit] = checkpoints.report('a/0', 1)
  if (commit?.type !== 'commit') return t.fail(commit?.type)
  t.deepEqual(
    commit.parts.map(part => part.subtask),
    ['b/0', 'a/0'],
  )
  t.is(checkpoints.state.discardedReports, 1)
})

test('K3: reports of another generation, epoch or subtask are counted and discarded', t => {
  const checkpoints = new Checkpoints()
  checkpoints.tick(0)
  checkpoints.allocated(3, 0)
  checkpoints.report('a/0', 3)
  for (const [subtask, epoch, by] of [
    ['b/0', 3, 6],
    ['b/0', 3, 8],
    ['b/0', 2, 7],
    ['b/0', 4, 7],
    ['c/0', 3, 7],
  ] as const) {
    t.deepEqual(checkpoints.report(subtask, epoch, by), [])
  }
  t.is(checkpoints.state.discardedReports, 5)
  t.deepEqual([...(checkpoints.state.pending[0]?.reports.keys() ?? [])], ['a/0'])
})

test('K4: neither a timeout nor a decline aborts what may have been committed', t => {
  const checkpoints = new Checkpoints()
  checkpoints.reported(1, 0)
  t.deepEqual(checkpoints.tick(1_000_000), [])
  const decline = { type: 'declined', subtask: 'a/0', epoch: 1, reason: 'late' } as const
  t.deepEqual(checkpoints.step({ ...decline, now: 1_000_001 }), [])
  checkpoints.committed(1, 1_000_002)
  t.deepEqual(checkpoints.types, ['completed'])
})

test('K4: the store’s refusal ends the attempt', t => {
  const checkpoints = new Checkpoints()
  checkpoints.reported(1, 0)
  const refused = {
    type: 'commit-refused',
    epoch: 1,
    reason: 'parts-missing',
    facts: 'b/0',
  } as const
  checkpoints.step({ ...refused, now: 90 })
  t.deepEqual(checkpoints.effects, [
    {
      type: 'aborted',
      epoch: 1,
      reason: 'parts-missing',
      facts: 'b/0',
      durationMs: 90,
      reports: [reportOf('a/0', 1), reportOf('b/0', 1)],
    },
  ])
  t.deepEqual(checkpoints.step({ ...refused, now: 91 }), [])
})

test('K5: what has completed moves with the commit only, and only up', t => {
  const checkpoints = new Checkpoints({ maxConcurrent: 2 }, 4)
  checkpoints.tick(1_000)
  checkpoints.allocated(5, 1_000)
  checkpoints.tick(2_000)
  checkpoints.allocated(6, 2_000)
  for (const subtask of ['a/0', 'b/0']) checkpoints.report(subtask, 6)
  t.is(checkpoints.state.completed, 4)
  checkpoints.committed(6, 2_100)
  t.is(checkpoints.state.completed, 6)
  t.deepEqual(checkpoints.types, ['completed', 'aborted'])
  t.like(checkpoints.effects[1], { epoch: 5, reason: 'superseded' })
  t.deepEqual(checkpoints.committed(5, 2_200), [])
  t.is(checkpoints.state.completed, 6)
})

test('K5: a commit that nobody asked for is a defect', t => {
  const checkpoints = new Checkpoints()
  checkpoints.tick(0)
  checkpoints.allocated(1, 0)
  t.throws(() => checkpoints.committed(1, 1), { instanceOf: InvariantViolation })
})

test('K6: after a completion the pause passes before the next trigger', t => {
  const checkpoints = new Checkpoints({ minPauseMs: 700 })
  checkpoints.reported(1, 0)
  checkpoints.committed(1, 900)
  t.is(nextCheckpointAt(checkpoints.state), 1_600)
  t.deepEqual(checkpoints.tick(1_599), [])
  t.deepEqual(checkpoints.tick(1_600), [{ type: 'allocate-id' }])
})

test('K6: a failed attempt does not begin a pause', t => {
  const checkpoints = new Checkpoints({ minPauseMs: 900, timeoutMs: 1_500 })
  checkpoints.complete(1, 0)
  checkpoints.tick(1_000)
  checkpoints.allocated(2, 1_000)
  checkpoints.tick(2_500)
  t.deepEqual(checkpoints.types, ['aborted', 'allocate-id'])
})

test('K6: a final checkpoint ignores the interval and the pause, and rests after a failure', t => {
  const checkpoints = new Checkpoints({ minPauseMs: 900 })
  checkpoints.complete(1, 0)
  t.deepEqual(checkpoints.tick(10, true), [{ type: 'allocate-id' }])
  checkpoints.allocated(2, 11)
  const decline = { type: 'declined', subtask: 'b/0', epoch: 2, reason: 'store full' } as const
  checkpoints.step({ ...decline, now: 20 })
  t.like(checkpoints.effects[0], { type: 'aborted', facts: 'b/0: store full' })
  t.deepEqual(checkpoints.tick(21, true), [])
  t.deepEqual(checkpoints.tick(519, true), [])
  t.deepEqual(checkpoints.tick(520, true), [{ type: 'allocate-id' }])
  checkpoints.step({ type: 'allocation-failed', now: 530 })
  t.deepEqual(checkpoints.tick(1_029, true), [])
  t.deepEqual(checkpoints.tick(1_030, true), [{ type: 'allocate-id' }])
})

test('a timed-out attempt names the subtasks that are missing', t => {
  const checkpoints = new Checkpoints()
  checkpoints.tick(0)
  checkpoints.allocated(1, 10)
  checkpoints.report('a/0', 1)
  t.is(nextCheckpointAt(checkpoints.state), 5_010)
  t.deepEqual(checkpoints.tick(5_009), [])
  checkpoints.tick(5_010)
  t.like(checkpoints.effects[0], {
    reason: 'timed-out',
    facts: 'no report from b/0',
    durationMs: 5_000,
    reports: [reportOf('a/0', 1)],
  })
  t.deepEqual(checkpoints.state.aborted, [1])
  // Slot freed: the next one, which is overdue, starts in the same tick.
  t.deepEqual(checkpoints.effects[1], { type: 'allocate-id' })
})

test('an id that comes after its request was given up is not used', t => {
  const checkpoints = new Checkpoints()
  checkpoints.tick(0)
  checkpoints.step({ type: 'allocation-failed', now: 5 })
  t.deepEqual(checkpoints.allocated(1, 6), [])
  t.deepEqual(checkpoints.pending, [])
})

test('after the final checkpoint has completed there is no other', t => {
  const checkpoints = new Checkpoints()
  checkpoints.tick(0, true)
  checkpoints.allocated(1, 0)
  for (const subtask of ['a/0', 'b/0']) checkpoints.report(subtask, 1)
  checkpoints.committed(1, 5)
  t.is(checkpoints.state.finalCompleted, 1)
  t.is(nextCheckpointAt(checkpoints.state), undefined)
  t.deepEqual(checkpoints.tick(1_000_000, true), [])
})

test('the last sixteen aborted ids are remembered', t => {
  const checkpoints = new Checkpoints()
  for (let epoch = 1; epoch <= 20; epoch += 1) {
    const now = epoch * 10_000
    checkpoints.tick(now)
    checkpoints.allocated(epoch, now)
    const decline = { type: 'declined', subtask: 'a/0', epoch, reason: '' } as const
    checkpoints.step({ ...decline, now })
  }
  t.is(checkpoints.state.aborted.length, 16)
  t.is(checkpoints.state.aborted[0], 5)
})

test('K6: once all sources have ended, the next tick is wanted when the final one may be tried again', t => {
  const checkpoints = new Checkpoints({}, 1)
  t.deepEqual(checkpoints.tick(10, true), [{ type: 'allocate-id' }])
  checkpoints.allocated(2, 1_500)
  checkpoints.step({ type: 'declined', subtask: 'a/0', epoch: 2, reason: 'full', now: 1_600 })
  checkpoints.tick(1_600, true)
  t.is(nextCheckpointAt(checkpoints.state), 2_100)
  t.deepEqual(checkpoints.tick(2_099, true), [])
  t.deepEqual(checkpoints.tick(2_100, true), [{ type: 'allocate-id' }])
})

test('K6: a final attempt with records of a loop rests after a refused commit', t => {
  const checkpoints = new Checkpoints({}, 1, ['a/0'])
  checkpoints.tick(10, true)
  checkpoints.allocated(2, 20)
  checkpoints.step({ type: 'reported', report: { ...reportOf('a/0', 2), looped: 3 } })
  t.deepEqual(checkpoints.types, ['commit'])
  const refusal = { reason: 'parts-missing', facts: 'of a/0' } as const
  checkpoints.step({ type: 'commit-refused', epoch: 2, ...refusal, now: 30 })
  t.deepEqual(checkpoints.tick(529, true), [])
  t.deepEqual(checkpoints.tick(530, true), [{ type: 'allocate-id' }])
})
