/**
 * Counts and sums the numbers of each key. What comes out tells for every record where in its key's
 * sequence it was counted, so that a record lost, doubled or counted out of order shows.
 */
import * as t from 'io-ts'
import { actor, jetstream, job, type StateBackendOptions } from 'sluice'
import { numberSetting, setting } from './setting.js'

export const Input = t.type({ key: t.string, n: t.number })
const Output = t.type({ key: t.string, n: t.number, count: t.number, sum: t.number })

const delayMs = numberSetting('DELAY_MS', 0)
/** The record with this number takes so long, once. */
const blockedRecord = 100
const blockMs = numberSetting('BLOCK_MS', 0)
const pause = new Int32Array(new SharedArrayBuffer(4))

const Counts = t.type(
  { count: t.number, sum: t.number },
  setting('STATE', '{ count: number, sum: number }'),
)

/** Waits as an actor does that computes: its event loop is blocked. */
export const counts = actor({
  name: 'counts',
  accepts: Input,
  emits: Output,
  state: { codec: Counts, initial: () => ({ count: 0, sum: 0 }) },
  receive: (ctx, { key, n }) => {
    const ms = n === blockedRecord ? blockMs : delayMs
    if (ms > 0) Atomics.wait(pause, 0, 0, ms)
    const { count, sum } = ctx.state.get()
    const next = { count: count + 1, sum: sum + n }
    ctx.state.set(next)
    ctx.emit({ key, n, ...next })
  },
})

export const sink = jetstream.sink({
  id: 'out',
  subject: setting('SUBJECT', 'counted'),
  stream: setting('OUT', 'COUNTED'),
  delivery: setting('DELIVERY', 'transactional') === 'idempotent' ? 'idempotent' : 'transactional',
})

const durabilities = ['strict', 'process-crash', 'none'] as const

/** A job under the name, the durability and the limits that the test wants. */
export const countingJob = () => {
  const durability = durabilities.find(name => name === setting('DURABILITY', 'process-crash'))
  return job(setting('JOB', 'counts'), {
    ...(durability === undefined ? {} : { durability }),
    limits: JSON.parse(setting('LIMITS', '{}')),
  })
}

export const parallelism = numberSetting('PARALLELISM', 2)
const retentions = ['none', 'delete-on-cancellation', 'retain-on-cancellation'] as const
const retention = retentions.find(name => name === setting('RETENTION', 'none')) ?? 'none'
const reactions = ['fail', 'decline'] as const
const onCheckpointError =
  reactions.find(name => name === setting('ON_CHECKPOINT_ERROR', 'fail')) ?? 'fail'
export const checkpoint = {
  intervalMs: numberSetting('INTERVAL_MS', 250),
  timeoutMs: numberSetting('TIMEOUT_MS', 600_000),
  retention,
  onCheckpointError,
  numRetained: numberSetting('NUM_RETAINED', 1),
  localRecovery: setting('LOCAL_RECOVERY', 'no') === 'yes',
  incremental: setting('INCREMENTAL', 'no') === 'yes',
  inlineThresholdBytes: numberSetting('INLINE_THRESHOLD_BYTES', 0),
}
export const stateBackend: StateBackendOptions = JSON.parse(
  setting('BACKEND', '{ "type": "redis" }'),
)
