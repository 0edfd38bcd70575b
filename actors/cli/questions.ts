/** `sluice status`, `sluice checkpoint` and `sluice cancel`: what a job's store knows, and two wishes. */
import { randomUUID } from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type { JobRecord, JobStore } from '../../lib/ports/job-store.js'
import { withBus, withStore } from '../deploy.js'
import { exitCodes } from '../ipc.js'
import { nudgeCoordinator } from '../nudges.js'
import { type RequestedCheckpoint, requestCheckpoint } from '../request-checkpoint.js'
import type { Printer } from './output.js'

/** Nobody here knows the job. */
export const unknownJob = (job: string): StreamError =>
  streamError('missing', `there is no job '${job}' in this Redis`, {
    next: "List the jobs with 'sluice status'; check --redis.",
  })

/** Shows one job, or all of them. */
export const statusCommand = async (
  job: string | undefined,
  redisUrl: string,
  printer: Printer,
): Promise<number> => {
  const records = await withStore(redisUrl, async store => {
    if (job === undefined) return store.list()()
    const record = await store.describe(job)()
    if (E.isLeft(record)) return record
    return record.right === undefined ? E.left(unknownJob(job)) : E.right([record.right])
  })
  if (E.isLeft(records)) {
    printer.error(records.left)
    return exitCodes.failed
  }
  const text = records.right.length === 0 ? 'no jobs' : records.right.map(describeRecord).join('\n')
  printer.result({ jobs: records.right.map(factsOf) }, text)
  return exitCodes.ok
}

const factsOf = (record: JobRecord): Readonly<Record<string, unknown>> => {
  const { latest, heldBy, cancelRequested, ...facts } = record
  const checkpoint =
    latest === undefined
      ? undefined
      : { epoch: latest.epoch, completedAt: latest.completedAt, bytes: bytesOf(latest.parts) }
  return { ...facts, cancelRequested, held: heldBy !== undefined, checkpoint }
}

const bytesOf = (parts: readonly { readonly bytes: number }[]): number =>
  parts.reduce((sum, part) => sum + part.bytes, 0)

const describeRecord = (record: JobRecord): string => {
  const { job, status, statusReason, generation, latest, heldBy, completed, failed } = record
  const isActive = status === 'running' || status === 'restarting'
  const state = isActive && heldBy === undefined ? `${status}, but no coordinator holds it` : status
  const checkpoint =
    latest === undefined
      ? 'no checkpoint'
      : `checkpoint ${latest.epoch} of ${new Date(latest.completedAt).toISOString()}, ${bytesOf(latest.parts)} bytes`
  const reason = statusReason === undefined ? '' : ` (${statusReason})`
  return `${job}: ${state}${reason} · generation ${generation} · ${checkpoint} · ${completed} completed, ${failed} aborted`
}

interface WishOptions {
  readonly redisUrl: string
  readonly natsUrl: string
  readonly timeoutMs: number
}

/** Asks for a checkpoint and waits until it has completed or come to nothing. */
export const checkpointCommand = async (
  job: string,
  options: WishOptions,
  printer: Printer,
): Promise<number> => {
  const completed = await checkpoint(job, options)
  if (E.isLeft(completed)) {
    printer.error(completed.left)
    return exitCodes.failed
  }
  const { epoch, durationMs, bytes } = completed.right
  printer.result(
    { job, epoch, durationMs, bytes },
    `checkpoint ${epoch} of job '${job}' completed in ${Math.round(durationMs)} ms, ${bytes} bytes`,
  )
  return exitCodes.ok
}

const checkpoint = async (
  job: string,
  { redisUrl, natsUrl, timeoutMs }: WishOptions,
): Promise<E.Either<StreamError, RequestedCheckpoint>> => {
  // The store knows at once what a silent bus would leave open.
  const found = await withStore(redisUrl, store => store.describe(job)())
  if (E.isLeft(found)) return found
  const record = found.right
  if (record === undefined) return E.left(unknownJob(job))
  if (record.status !== 'running' && record.status !== 'restarting')
    return E.left(streamError('conflict', `job '${job}' is ${record.status}: it has ended`))
  if (record.heldBy === undefined) {
    return E.left(
      streamError('conflict', `job '${job}' does not run: no coordinator holds it`, {
        next: 'Start it; it goes on from its latest checkpoint.',
      }),
    )
  }
  const asked = await withBus(natsUrl, (bus, scheduler) =>
    requestCheckpoint({ bus, scheduler, job, request: randomUUID(), timeoutMs }),
  )
  return E.isLeft(asked) ? asked : asked.right
}

/** Asks for the end and waits until the store says that it has come. */
export const cancelCommand = async (
  job: string,
  options: WishOptions,
  printer: Printer,
): Promise<number> => {
  const cancelled = await withStore(options.redisUrl, store => cancel(job, store, options))
  if (E.isLeft(cancelled)) {
    printer.error(cancelled.left)
    return exitCodes.failed
  }
  printer.result({ job, status: cancelled.right }, `job '${job}' is ${cancelled.right}`)
  return exitCodes.ok
}

const cancel = async (
  job: string,
  store: JobStore,
  options: Pick<WishOptions, 'natsUrl' | 'timeoutMs'>,
): Promise<E.Either<StreamError, string>> => {
  const asked = await store.requestCancel(job)()
  if (E.isLeft(asked)) return asked
  if (asked.right === 'unknown') return E.left(unknownJob(job))
  if (asked.right === 'ended') {
    return E.left(streamError('conflict', `job '${job}' has ended already`))
  }
  // Without it the coordinator sees the wish a little later, when it renews its lease.
  await withBus(options.natsUrl, bus => nudgeCoordinator(bus, job))
  const deadline = performance.now() + options.timeoutMs
  while (performance.now() < deadline) {
    const record = await store.describe(job)()
    if (E.isLeft(record)) return record
    const status = record.right?.status ?? 'canceled'
    if (status !== 'running' && status !== 'restarting') return E.right(status)
    await new Promise(resolve => setTimeout(resolve, pollMs))
  }
  return E.left(
    streamError(
      'timed-out',
      `job '${job}' was asked to end and has not done so within ${options.timeoutMs} ms`,
      {
        next: 'If nothing runs it, start it once more: it ends as soon as it sees the wish.',
      },
    ),
  )
}

const pollMs = 50
