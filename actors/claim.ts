/**
 * How a run comes to own a job: by the store's lease, against the job's identity kept in NATS.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../lib/errors.js'
import type { Durability } from '../lib/job/graph.js'
import type { EventLog } from '../lib/ports/event-log.js'
import type { AcquireOutcome, Claim, JobRecord, JobStore } from '../lib/ports/job-store.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import {
  generationOfStream,
  identityStream,
  identitySubject,
  jobStreamPrefix,
} from '../lib/protocol/addresses.js'
import type { Manifest } from '../lib/protocol/manifest.js'

/** What claiming a job needs of the world. */
export interface ClaimPorts {
  readonly store: JobStore
  readonly log: EventLog
  readonly scheduler: Scheduler
}

/** Who wants to own which job. */
export interface ClaimRequest {
  readonly job: string
  readonly run: string
  readonly graph: string
  readonly leaseMs: number
  /** Gives up what the job has stored, and starts it from nothing. */
  readonly fresh: boolean
  /** A new life starts from this checkpoint, whose parts are written; what it keeps is left to itself. */
  readonly startFrom?: Manifest
  /** Told while a dead predecessor's lease is waited for. */
  readonly onWaiting: (leaseMs: number) => void
}

/** The job is owned: the proof of it, and what the store knew. */
export interface Claimed {
  readonly type: 'claimed'
  readonly claim: Claim
  readonly record: JobRecord
}

/** The job ended before, in this run or in another: it stays ended until somebody says `--fresh`. */
export interface EndedBefore {
  readonly type: 'ended'
  readonly status: 'finished' | 'canceled'
  readonly reason: string | undefined
}

/** How long a state that was given up stays readable. */
const givenUpTtlMs = 60_000
const slackMs = 100

/** Takes the job's lease, or says who has it: a lease that is renewed while we look is a living run's. */
export const claimJob = async (
  request: ClaimRequest,
  ports: ClaimPorts,
): Promise<E.Either<StreamError, Claimed | EndedBefore>> => {
  const { scheduler } = ports
  let holder: Holder | undefined
  for (;;) {
    const tried = await tryClaim(request, ports)
    if (E.isLeft(tried)) return tried
    const { right } = tried
    if (right.type === 'ended-meanwhile') continue
    if (right.type !== 'held') return E.right(right)
    const until = scheduler.now() + right.leaseMs
    if (holder === undefined) request.onWaiting(right.leaseMs)
    holder = watched(holder, right.run, until)
    if (holder.renewals >= renewalsOfTheLiving) return E.left(running(request.job))
    const waitMs = Math.min(right.leaseMs + slackMs, request.leaseMs / 3)
    await new Promise<void>(resolve => scheduler.after(waitMs, resolve))
  }
}

/** One look at all there is: while a holder is waited for, it may end the job. */
const tryClaim = async (
  request: ClaimRequest,
  ports: ClaimPorts,
): Promise<E.Either<StreamError, Claimed | EndedBefore | EndedMeanwhile | Held>> => {
  const { job, fresh, startFrom } = request
  const record = await ports.store.describe(job)()
  if (E.isLeft(record)) return record
  const status = record.right?.status
  const isOver = status === 'finished' || status === 'canceled'
  // A coordinator that died right after its job's end is started again like any other; so is a
  // supervisor. Neither may run a finished job a second time.
  if (!fresh && startFrom === undefined && isOver) {
    return E.right({ type: 'ended', status, reason: record.right?.statusReason })
  }
  const identity = await ports.log.facts(identityStream(job))()
  if (E.isLeft(identity) && identity.left.type !== 'missing') return identity
  const isKnown = E.isRight(identity) && !fresh
  if (startFrom !== undefined && isKnown && record.right === undefined)
    return E.left(forgotten(job))
  const givesUp = fresh && record.right !== undefined && !isOver
  const goesOn = !fresh && (status === 'running' || status === 'restarting')
  const mustExist = isKnown || goesOn
  const claimed = await acquire(request, givesUp ? undefined : startFrom, mustExist, ports)
  if (E.isLeft(claimed)) return claimed
  // An orphan may end the job between our look and our claim: acquired, it would begin from nothing.
  if (claimed.right.type === 'unknown')
    return goesOn ? E.right({ type: 'ended-meanwhile' }) : E.left(forgotten(job))
  if (claimed.right.type === 'held') return E.right(claimed.right)
  const { claim, created, record: taken } = claimed.right
  const isNew = created && (startFrom === undefined ? taken.latest === undefined : !givesUp)
  if (!fresh || isNew) return settle(claimed.right, job, ports)
  const ended = await ports.store.end(claim, 'canceled', {
    reason: 'started afresh',
    // Whoever goes back to a checkpoint may want to go back to another one tomorrow.
    ...(startFrom === undefined ? { ttlMs: givenUpTtlMs } : { resumes: false }),
  })()
  if (E.isLeft(ended)) return ended
  const again = await acquire(request, startFrom, false, ports)
  if (E.isLeft(again)) return again
  if (again.right.type === 'unknown') return E.left(forgotten(job))
  return again.right.type === 'held' ? E.right(again.right) : settle(again.right, job, ports)
}

const settle = async (
  acquired: Acquired,
  job: string,
  ports: ClaimPorts,
): Promise<E.Either<StreamError, Claimed>> => {
  const cleared = acquired.created ? await clearMailboxes(job, ports) : E.right(undefined)
  return E.isLeft(cleared) ? cleared : keepIdentity(acquired, job, ports)
}

/**
 * Removes the mailboxes that an earlier life of the job has left. Where the store has forgotten it,
 * generations count from 1 again, and old records would be taken for new ones.
 */
const clearMailboxes = async (
  job: string,
  { log }: ClaimPorts,
): Promise<E.Either<StreamError, void>> => {
  const streams = await log.list(jobStreamPrefix(job))()
  if (E.isLeft(streams)) return streams
  for (const stream of streams.right) {
    if (generationOfStream(job, stream) === undefined) continue
    const removed = await log.remove(stream)()
    if (E.isLeft(removed)) return removed
  }
  return E.right(undefined)
}

type Acquired = Extract<AcquireOutcome, { readonly type: 'acquired' }>
type Held = Extract<AcquireOutcome, { readonly type: 'held' }>
type Unknown = Extract<AcquireOutcome, { readonly type: 'unknown' }>

const acquire = async (
  { job, run, graph, leaseMs }: ClaimRequest,
  from: Manifest | undefined,
  mustExist: boolean,
  { store, scheduler }: ClaimPorts,
): Promise<E.Either<StreamError, Acquired | Held | Unknown>> => {
  const now = scheduler.wallClock()
  const request = { job, run, leaseMs, graph, mustExist, now }
  const outcome = await store.acquire(from === undefined ? request : { ...request, from })()
  if (E.isLeft(outcome)) return outcome
  const { right } = outcome
  return right.type === 'resumable' ? E.left(running(job)) : E.right(right)
}

/** The job went on when it was looked at, and had ended when it was to be taken. */
interface EndedMeanwhile {
  readonly type: 'ended-meanwhile'
}

/** A run that holds the job, as far as it was watched. */
interface Holder {
  readonly run: string
  readonly until: number
  /** How often its lease was found to end later than before. */
  readonly renewals: number
}

/** One renewal may be the last act of a coordinator that has not heard of its supervisor's death yet. */
const renewalsOfTheLiving = 2

const watched = (holder: Holder | undefined, run: string, until: number): Holder => {
  if (holder?.run !== run) return { run, until, renewals: 0 }
  return until > holder.until + slackMs ? { run, until, renewals: holder.renewals + 1 } : holder
}

const running = (job: string): StreamError =>
  streamError('conflict', `job '${job}' is already running`, {
    next: `Look at it with 'sluice status ${quote(job)}', or end it with 'sluice cancel ${quote(job)}'.`,
  })

const forgotten = (job: string): StreamError =>
  streamError(
    'lost',
    `job '${job}' has run on this NATS before, but this Redis does not know it: its checkpoints are in another Redis, or are lost`,
    {
      next: 'Point --redis at the Redis that holds its checkpoints; or, to start from nothing, add --fresh.',
    },
  )

/** A name as it is typed on a command line. */
export const quote = (name: string): string => (/^[\w.-]+$/.test(name) ? name : `'${name}'`)

/** An empty Redis must be noticed later, so NATS remembers that the job exists (P10). */
const keepIdentity = async (
  { claim, record }: Acquired,
  job: string,
  { log }: ClaimPorts,
): Promise<E.Either<StreamError, Claimed>> => {
  const { jobId } = claim
  const created = await log.create({
    name: identityStream(job),
    subjects: [identitySubject(job)],
    storage: 'file',
    bytesMax: 1024 * 1024,
    description: JSON.stringify({ job, jobId }),
  })()
  return E.isLeft(created) ? created : E.right({ type: 'claimed', claim, record })
}

/** What a durability profile gives up, for people; undefined: nothing. */
export const givenUp = (durability: Durability): string | undefined => {
  switch (durability) {
    case 'strict':
      return undefined
    case 'process-crash':
      return 'a power cut may lose the last second of checkpoints; the job then stops and says so'
    case 'none':
      return 'a restart of Redis may lose every checkpoint; the job then stops and says so'
  }
}

/** Refuses a store that may drop checkpoints behind our back. */
export const checkDurability = async (
  durability: Durability,
  store: JobStore,
): Promise<E.Either<StreamError, void>> => {
  const facts = await store.durability()()
  if (E.isLeft(facts)) return facts
  const { evicts, policy, appendOnly, fsync } = facts.right
  const refuse = (message: string, next: string): E.Either<StreamError, void> =>
    E.left(streamError('refused', message, { next }))
  if (evicts) {
    return refuse(
      `Redis may evict checkpoints: its maxmemory-policy is '${policy}'`,
      'Set it with: redis-cli config set maxmemory-policy noeviction',
    )
  }
  if (durability !== 'none' && !appendOnly) {
    return refuse(
      'Redis keeps no append-only file: its crash would lose checkpoints',
      "Set 'appendonly yes' in redis.conf; or accept the loss with job(name, { durability: 'none' }).",
    )
  }
  if (durability === 'strict' && fsync !== 'always') {
    return refuse(
      `durability 'strict' needs Redis to sync every write, and its appendfsync is '${fsync}'`,
      "Set 'appendfsync always' in redis.conf; or accept the loss of a second in a power cut with durability: 'process-crash'.",
    )
  }
  return E.right(undefined)
}
