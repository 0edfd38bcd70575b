/** `minPauseMs`: no periodic checkpoint sooner than so long after one that has completed. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { validate } from '../../lib/job/validate.js'
import { CheckpointedWorld, endlessJob } from '../support/checkpointed-job.js'

test('no checkpoint starts within the pause after a completion, and the next starts right after it', async t => {
  const world = new CheckpointedWorld({ job: endlessJob({ intervalMs: 300, minPauseMs: 200 }) })
  world.fate = part => ({ afterMs: part.epoch % 2 === 0 ? 30 : 280 })
  world.start()
  await world.until('checkpoint-completed', 12)
  const { completed } = world
  let paused = 0
  for (const [nth, { epoch, triggeredAt, durationMs }] of completed.entries()) {
    const next = completed[nth + 1]
    if (next === undefined) break
    const rest = next.triggeredAt - triggeredAt - durationMs
    // The commit's own way to the store and back is part of the pause here.
    t.true(rest >= 200, `${rest} ms after checkpoint ${epoch}`)
    if (durationMs > 100) {
      t.true(rest < 230, `${rest} ms after checkpoint ${epoch}, which took long`)
      paused += 1
    }
  }
  t.true(paused > 3)
})

test('a pause above the interval is the interval', async t => {
  const world = new CheckpointedWorld({ job: endlessJob({ intervalMs: 100, minPauseMs: 500 }) })
  world.start()
  await world.until('checkpoint-completed', 5)
  for (const [nth, { triggeredAt }] of world.completed.entries()) {
    const next = world.completed[nth + 1]
    if (next !== undefined) t.true(next.triggeredAt - triggeredAt >= 500)
  }
})

test('an attempt that came to nothing begins no pause', async t => {
  const checkpoint = { intervalMs: 1_500, minPauseMs: 1_400, timeoutMs: 1_600 } as const
  const world = new CheckpointedWorld({
    job: endlessJob({ ...checkpoint, onCheckpointError: 'decline' }),
  })
  world.fate = part => (part.epoch === 2 ? { afterMs: 60_000 } : undefined)
  world.start()
  await world.until('checkpoint-completed', 2)
  const [expired] = world.aborted
  const next = world.completed.find(({ epoch }) => epoch === 3)
  const gap = (next?.triggeredAt ?? 0) - (expired?.triggeredAt ?? 0) - (expired?.durationMs ?? 0)
  t.true(gap >= 0 && gap < 30, `${gap} ms after the attempt expired`)
})

test('a checkpoint by hand does not wait for the pause, and begins one', async t => {
  const world = new CheckpointedWorld({ job: endlessJob({ intervalMs: 100, minPauseMs: 5_000 }) })
  world.start()
  await world.until('checkpoint-completed', 1)
  await world.time.pass(3_000)
  const answer = await world.asked('now')
  t.like(answer, { right: { type: 'completed', epoch: 2 } })
  await world.until('checkpoint-completed', 3)
  const [, second, third] = world.completed
  const gap = (third?.triggeredAt ?? 0) - (second?.triggeredAt ?? 0)
  t.true(gap >= 5_000 && gap < 5_100, `${gap} ms`)
})

test('a pause together with several checkpoints at a time is refused', t => {
  const judged = validate(endlessJob({ intervalMs: 100, minPauseMs: 1, maxConcurrent: 2 }).graph)
  t.true(E.isLeft(judged))
  if (E.isLeft(judged)) t.regex(judged.left[0]?.path ?? '', /minPauseMs/)
})
