/** `timeoutMs`: an attempt that has not completed by then is given up, everywhere. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { checkpointDefaults } from '../../lib/job/settings.js'
import { validate } from '../../lib/job/validate.js'
import { ordersSubject } from '../../lib/protocol/addresses.js'
import { CheckpointedWorld, endlessJob } from '../support/checkpointed-job.js'

const patient = { intervalMs: 400, timeoutMs: 300, onCheckpointError: 'decline' } as const
const never = { afterMs: 1_000_000 } as const

const isOf =
  (subtask: string, epoch: number) =>
  (part: { readonly subtask: string; readonly epoch: number }) =>
    part.subtask === subtask && part.epoch === epoch ? never : undefined

test('ten minutes by default; below 10 ms it is refused', t => {
  t.is(checkpointDefaults.timeoutMs, 600_000)
  t.true(E.isRight(validate(endlessJob({ intervalMs: 100, timeoutMs: 10 }).graph)))
  t.true(E.isLeft(validate(endlessJob({ intervalMs: 100, timeoutMs: 9 }).graph)))
})

test('the clock starts when the attempt is registered; who did not report is named', async t => {
  const world = new CheckpointedWorld({ job: endlessJob(patient) })
  world.fate = isOf('counts/1', 2)
  world.start()
  await world.until('checkpoint-aborted')
  const [note] = world.noted('checkpoint-aborted')
  t.like(note, { epoch: 2, reason: 'timed-out', facts: 'no report from counts/1' })
  await world.until('checkpoint-completed', 3)
  const [expired] = world.aborted
  t.is(expired?.reason, 'timed-out: no report from counts/1')
  t.true((expired?.durationMs ?? 0) >= 300 && (expired?.durationMs ?? 0) < 302)
  t.is(world.noted('generation-begun').length, 1)
  t.deepEqual(await world.faults(), [])
})

test('the parts of an expired attempt go away by themselves', async t => {
  const world = new CheckpointedWorld({ job: endlessJob(patient) })
  world.fate = isOf('counts/1', 2)
  world.start()
  await world.until('checkpoint-aborted')
  const written = world.partsOf(2)
  t.is(written.length, 3)
  for (const { ttlMs = Number.NaN } of written) t.true(ttlMs > 0 && ttlMs <= 3 * patient.timeoutMs)
  await world.time.pass(3 * patient.timeoutMs)
  t.deepEqual(world.partsOf(2), [])
})

test('a report that comes after the timeout is discarded, also from one who was not told', async t => {
  const world = new CheckpointedWorld({ job: endlessJob(patient) })
  world.fate = part => (part.subtask === 'out/0' && part.epoch === 2 ? { afterMs: 350 } : undefined)
  world.start()
  await world.until('checkpoint-completed', 1)
  await world.time.pass(50)
  // From now on the sink's worker hears nothing: it goes on writing what nobody waits for.
  const orders = ordersSubject(world.plan.job, 'out/0-1')
  let late = 0
  world.office.fate = (subject, payload) => {
    const isReport = /"subtask":"out\/0","epoch":2,/.test(new TextDecoder().decode(payload))
    if (isReport && world.aborted.length > 0) late += 1
    return subject === orders ? [] : [0]
  }
  await world.until('checkpoint-aborted')
  await world.time.pass(70)
  t.true(late > 0, 'it has reported')
  t.is(world.partsOf(2).length, 4)
  t.is(world.noted('checkpoint-completed').length, 1)
  world.office.fate = () => [0]
  await world.until('checkpoint-completed', 3)
  t.deepEqual(
    world.noted('checkpoint-completed').map(({ epoch }) => epoch),
    [1, 3, 4],
  )
  t.deepEqual(await world.faults(), [])
})

test('subtasks are told: they stop aligning for it, and no longer write it', async t => {
  const world = new CheckpointedWorld({ job: endlessJob(patient) })
  world.fate = isOf('in/0', 2)
  world.start()
  await world.until('checkpoint-aborted')
  await world.time.pass(5)
  const told = world.published('OUT').length
  await world.until('checkpoint-completed', 3)
  t.true(world.published('OUT').length > told)
  t.deepEqual(await world.faults(), [])
})

test('it counts as a failure: by default the job goes back to its latest checkpoint, and says why', async t => {
  const { intervalMs, timeoutMs } = patient
  const world = new CheckpointedWorld({ job: endlessJob({ intervalMs, timeoutMs }) })
  world.fate = isOf('counts/1', 3)
  world.start()
  await world.until('running', 2)
  t.is(
    world.noted('failed')[0]?.reason,
    'checkpoint 3 was aborted (timed-out): no report from counts/1',
  )
  t.is(world.noted('generation-begun')[1]?.restored, 2)
  await world.until('checkpoint-completed', 4)
  t.deepEqual(await world.faults(), [])
})
