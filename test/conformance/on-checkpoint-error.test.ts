/** `onCheckpointError` and `tolerableFailures`: what checkpoints that come to nothing do to the job. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as io from 'io-ts'
import { actor, iterable, jetstream, job } from '../../lib/index.js'
import type { Job } from '../../lib/job/graph.js'
import { type CheckpointOptions, checkpointDefaults } from '../../lib/job/settings.js'
import { ordersSubject } from '../../lib/protocol/addresses.js'
import { decodeMessage, ToCoordinator } from '../../lib/protocol/messages.js'
import { fixedDelay } from '../../lib/protocol/retry.js'
import { CheckpointedWorld, endlessJob, twoSourceJob } from '../support/checkpointed-job.js'
import { JobWorld } from '../support/memory-job.js'

/** A world whose store refuses one subtask's snapshots of some epochs. */
const refusing = (world: CheckpointedWorld, epochs: readonly number[]): CheckpointedWorld => {
  world.fate = ({ subtask, epoch }) =>
    subtask === 'counts/1' && epochs.includes(epoch) ? { refuses: true } : undefined
  world.start()
  return world
}

/** What a beat says of subtasks: how many records each of them has processed. */
const recordsIn = (payload: Uint8Array): readonly (readonly [string, number])[] => {
  const message = decodeMessage(ToCoordinator, payload)
  if (E.isLeft(message) || message.right.type !== 'beat') return []
  return message.right.subtasks.map(({ subtask, records }) => [subtask, records])
}

test('by default none is tolerated', t => {
  t.is(checkpointDefaults.onCheckpointError, 'fail')
  t.is(checkpointDefaults.tolerableFailures, 0)
})

test('fail: the first one restarts the job; the reason names checkpoint, subtask and cause', async t => {
  const world = refusing(new CheckpointedWorld({ job: endlessJob({ intervalMs: 100 }) }), [3])
  await world.until('running', 2)
  t.is(world.noted('failed')[0]?.reason, 'checkpoint 3 was aborted (declined): counts/1: no room')
  t.is(world.noted('generation-begun')[1]?.restored, 2)
  await world.until('checkpoint-completed', 6)
  t.is(world.aborted[0]?.reason, 'declined: counts/1: no room')
  t.deepEqual(await world.faults(), [])
})

test('fail: the restart strategy decides what follows', async t => {
  const world = new CheckpointedWorld({
    job: endlessJob({ intervalMs: 100 }),
    restart: fixedDelay({ delayMs: 10, attemptsMax: 0 }),
  })
  refusing(world, [3])
  t.deepEqual(await world.untilEnded(), {
    status: 'failed',
    reason: 'checkpoint 3 was aborted (declined): counts/1: no room',
  })
})

test('two are tolerated: two in a row change nothing, the third restarts the job', async t => {
  const options = { intervalMs: 100, tolerableFailures: 2 } as const
  const world = refusing(
    new CheckpointedWorld({ job: endlessJob(options) }),
    [2, 3, 5, 6, 8, 9, 10],
  )
  await world.until('running', 2)
  t.deepEqual(
    world.noted('checkpoint-aborted').map(({ epoch }) => epoch),
    [2, 3, 5, 6, 8, 9, 10],
  )
  t.is(
    world.noted('failed')[0]?.reason,
    'checkpoint 10 was aborted (declined): counts/1: no room; 3 in a row, and 2 are tolerated',
  )
  t.is(world.noted('generation-begun')[1]?.restored, 7)
  t.deepEqual(await world.faults(), [])
})

test('decline: the job goes on, however many come to nothing', async t => {
  const options = { intervalMs: 100, onCheckpointError: 'decline' } as const
  const refused = Array.from({ length: 40 }, (_, nth) => nth + 2)
  const world = refusing(new CheckpointedWorld({ job: endlessJob(options) }), refused)
  await world.until('checkpoint-aborted', 40)
  t.is(world.noted('generation-begun').length, 1)
  await world.until('checkpoint-completed', 3)
  t.is(world.noted('failed').length, 0)
  t.deepEqual(await world.faults(), [])
})

test('a decline aborts the attempt at once, and lets go of subtasks that wait for its barriers', async t => {
  const options = { intervalMs: 10_000, onCheckpointError: 'decline' } as const
  const world = new CheckpointedWorld({ job: twoSourceJob(options) })
  world.fate = ({ subtask, epoch }) =>
    subtask === 'in/0' && epoch === 2 ? { afterMs: 3_000, refuses: true } : undefined
  const records = new Map<string, number>()
  // The other source does not hear of checkpoint 2: its barrier does not come, and `counts` waits.
  const deaf = ordersSubject(world.plan.job, 'too/0-1')
  world.office.fate = (subject, payload) => {
    for (const [id, count] of recordsIn(payload)) records.set(id, count)
    return subject === deaf && world.noted('checkpoint-completed').length > 0 ? [] : [0]
  }
  const processed = (): number => (records.get('counts/0') ?? 0) + (records.get('counts/1') ?? 0)
  world.start()
  await world.until('checkpoint-completed', 1)
  await world.until('checkpoint-aborted', 1)
  const sent = 2 * world.produced
  const behind = sent - processed()
  t.like(world.noted('checkpoint-aborted')[0], { epoch: 2, reason: 'declined' })
  // Two of the three seconds that one of two channels was closed, and the rest for beats that are old.
  t.true(behind > 300, `${behind} records behind`)
  await world.time.run('what waited is processed', () => processed() >= sent, 2_000)
  t.is(world.noted('checkpoint-completed').length, 1)
})

/** A job of which one key gets a value that no snapshot can hold. */
const oddJob = (value: unknown, options: Partial<CheckpointOptions>): Job => {
  const odd = actor({
    name: 'odd',
    accepts: io.type({ n: io.number }),
    emits: io.type({ n: io.number }),
    state: { codec: io.unknown, initial: (): unknown => 0 },
    receive: (ctx, record) => {
      ctx.state.set(record.n === 3 ? value : record.n)
      ctx.emit(record)
    },
  })
  return job('odd')
    .from(
      iterable.source({
        id: 'in',
        *open(offset) {
          for (let n = offset; n < 5; n += 1) yield { n }
        },
      }),
    )
    .keyBy(({ n }) => `${n}`)
    .to(odd)
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
    .checkpoint({ intervalMs: 100, ...options })
}

const tooLarge = 'x'.repeat(1_100_000)
const notStored = [
  ['that cannot be serialized', () => 0, /the state of key "3" of "odd" cannot be stored: /],
  [
    'that is too large',
    tooLarge,
    /the state of key "3" of "odd" takes 1\d+ bytes, and 1048576 is /,
  ],
] as const

for (const [what, value, sentence] of notStored) {
  test(`a state ${what} ends the job with what to do, and is not tried for ever`, async t => {
    for (const tolerableFailures of [0, 2]) {
      const world = new JobWorld({ job: oddJob(value, { tolerableFailures }) })
      world.start()
      const { status, reason } = await world.untilEnded()
      t.is(status, 'failed')
      t.regex(reason ?? '', sentence)
      t.is(world.notes.filter(({ type }) => type === 'generation-begun').length, 1)
      const aborted = world.notes.filter(({ type }) => type === 'checkpoint-aborted')
      t.true(aborted.length >= tolerableFailures, `${aborted.length} aborted`)
    }
  })

  test(`a state ${what} is told with each checkpoint where these may fail`, async t => {
    const world = new JobWorld({ job: oddJob(value, { onCheckpointError: 'decline' }) })
    world.start()
    const told = (): readonly string[] => world.told.filter(line => sentence.test(line))
    await world.time.run('three declines', () => told().length >= 3)
    t.is(world.notes.filter(({ type }) => type === 'generation-begun').length, 1)
    t.regex(told()[0] ?? '', /^checkpoint 1 aborted \(declined\): odd\/0: /)
  })
}

test('what newer checkpoints supersede is no failure', async t => {
  const options = { intervalMs: 50, maxConcurrent: 3 } as const
  const world = new CheckpointedWorld({ job: endlessJob(options) })
  world.fate = ({ epoch }) => (epoch % 3 === 2 ? { afterMs: 140 } : undefined)
  world.start()
  await world.until('checkpoint-aborted', 4)
  t.true(world.aborted.every(({ reason }) => reason?.startsWith('superseded')))
  t.is(world.noted('generation-begun').length, 1)
  t.deepEqual(await world.faults(), [])
})

test('a crash is no failed checkpoint, though one was under way', async t => {
  const world = new CheckpointedWorld({
    job: endlessJob({ intervalMs: 100, tolerableFailures: 0 }),
  })
  world.fate = ({ epoch }) => (epoch === 2 ? { afterMs: 500 } : undefined)
  world.start()
  await world.until('checkpoint-completed', 1)
  await world.time.pass(150)
  world.kill('counts/0')
  await world.until('running', 2)
  await world.until('checkpoint-completed', 4)
  t.deepEqual(
    world.noted('failed').map(({ reason }) => /lost its worker/.test(reason)),
    [true],
  )
  t.deepEqual(await world.faults(), [])
})
