/** `intervalMs`: off by default; with it checkpoints start at a fixed rate. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { validate } from '../../lib/job/validate.js'
import { CheckpointedWorld, endlessJob } from '../support/checkpointed-job.js'

test('a job that does not ask for checkpoints takes none', async t => {
  const world = new CheckpointedWorld({ job: endlessJob() })
  world.start()
  await world.time.pass(60_000)
  t.true(world.published('OUT').length > 1_000)
  t.deepEqual(world.history, [])
})

test('checkpoints start at a fixed rate, however long each of them takes', async t => {
  const world = new CheckpointedWorld({ job: endlessJob({ intervalMs: 200 }) })
  world.fate = part => ({ afterMs: part.epoch % 2 === 0 ? 120 : 10 })
  world.start()
  await world.until('checkpoint-completed', 12)
  const starts = world.completed.map(({ triggeredAt }) => triggeredAt)
  const [first = 0] = starts
  for (const [nth, start] of starts.entries()) {
    const late = start - first - nth * 200
    t.true(Math.abs(late) < 50, `checkpoint ${nth + 1} started ${late} ms late`)
  }
})

test('one that takes longer than the interval is followed at once by the next, and no backlog builds up', async t => {
  const world = new CheckpointedWorld({ job: endlessJob({ intervalMs: 100 }) })
  world.fate = part => (part.epoch <= 3 ? { afterMs: 450 } : undefined)
  world.start()
  await world.until('checkpoint-completed', 8)
  const { completed } = world
  for (const [nth, { triggeredAt, durationMs }] of completed.entries()) {
    const next = completed[nth + 1]
    if (next === undefined) break
    const gap = next.triggeredAt - triggeredAt - durationMs
    t.true(gap >= 0, `checkpoint ${next.epoch} overlaps`)
    if (nth < 2) t.true(gap < 20, `${gap} ms after checkpoint ${nth + 1}`)
    if (nth > 3) t.true(next.triggeredAt - triggeredAt > 80, 'a backlog is worked off')
  }
})

test('a job that was restored takes its next checkpoint an interval later', async t => {
  const world = new CheckpointedWorld({ job: endlessJob({ intervalMs: 300 }) })
  world.start()
  await world.until('checkpoint-completed', 2)
  world.kill('counts/0')
  await world.until('running', 2)
  const runsAt = world.time.wallClock
  await world.until('checkpoint-completed', 4)
  const next = world.completed.find(({ generation }) => generation === 2)
  const after = (next?.triggeredAt ?? 0) - runsAt
  t.true(after >= 295 && after < 330, `${after} ms`)
})

for (const [intervalMs, valid] of [
  [9, false],
  [10, true],
] as const) {
  test(`an interval of ${intervalMs} ms is ${valid ? 'taken' : 'refused'}`, t => {
    const judged = validate(endlessJob({ intervalMs }).graph)
    t.is(E.isRight(judged), valid)
    if (E.isLeft(judged)) t.regex(judged.left[0]?.path ?? '', /intervalMs/)
  })
}
