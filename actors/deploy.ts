/**
 * The composition root: the only module, with the heartbeat's thread, that joins adapters to actors.
 *
 * Opens connections, hands ports to an actor, and closes what it opened.
 */
import { createHash } from 'node:crypto'
import { Worker as Thread } from 'node:worker_threads'
import * as E from 'fp-ts/lib/Either.js'
import { recordCodec } from '../lib/adapters/codec/record-codec.js'
import { partDigest } from '../lib/adapters/digest.js'
import { connectNats, type NatsLink } from '../lib/adapters/nats/connection.js'
import { natsControlBus } from '../lib/adapters/nats/control-bus.js'
import { natsEventLog } from '../lib/adapters/nats/event-log.js'
import { nodeScheduler } from '../lib/adapters/node/scheduler.js'
import { connectRedis } from '../lib/adapters/redis/connection.js'
import { redisJobStore } from '../lib/adapters/redis/store.js'
import { messageOf, type StreamError, streamError } from '../lib/errors.js'
import { checkpointRulesOf } from '../lib/job/checkpoint-rules.js'
import type { Plan } from '../lib/job/plan.js'
import { restartOf } from '../lib/job/restart.js'
import {
  otherBackend,
  type StateBackend,
  stateBackendOf,
  stateElsewhere,
} from '../lib/job/state-backend.js'
import type { ControlBus } from '../lib/ports/control-bus.js'
import type { EventLog } from '../lib/ports/event-log.js'
import type { JobStore } from '../lib/ports/job-store.js'
import type { Digests } from '../lib/ports/record-codec.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import type { CoordinatorSettings, CoordinatorState, Note } from '../lib/protocol/coordinator.js'
import type { SubtaskId, WorkerId } from '../lib/protocol/ids.js'
import { backendOf } from '../lib/protocol/manifest.js'
import {
  type Claimed,
  type ClaimPorts,
  type ClaimRequest,
  checkDurability,
  claimJob,
  type EndedBefore,
} from './claim.js'
import { CoordinatorActor } from './coordinator.js'
import { claimFrom } from './from.js'
import {
  type CoordinatorStore,
  openCoordinatorStore,
  openCopyFolders,
  openWorkerStore,
  type Servers,
  type Trouble,
} from './stores.js'
import { WorkerActor } from './worker.js'

export type { Servers, Trouble } from './stores.js'

const digests: Digests = {
  hash: bytes => createHash('sha256').update(bytes).digest('hex'),
  part: partDigest,
}

/** A dead coordinator's job may be taken over after this time. */
const leaseMs = 3_000

interface Links {
  readonly link: NatsLink
  readonly log: EventLog
  readonly bus: ControlBus
  readonly close: () => Promise<void>
}

const openLinks = async (
  { natsUrl }: Servers,
  name: string,
  trouble: Trouble,
  ackTimeoutMs?: number,
): Promise<E.Either<StreamError, Links>> => {
  const link = await connectNats({
    url: natsUrl,
    name,
    onStatus: status => {
      if (status.type === 'disconnected') trouble('the connection to NATS is lost; reconnecting')
      if (status.type === 'reconnected') trouble('the connection to NATS is back')
    },
  })()
  if (E.isLeft(link)) return link
  return E.right({
    link: link.right,
    log: natsEventLog(link.right, ackTimeoutMs === undefined ? {} : { ackTimeoutMs }),
    bus: natsControlBus(link.right),
    close: () => link.right.close()(),
  })
}

/** Opens a second thing beside the first, which is closed where that fails. */
const beside = async <A>(
  first: { readonly close: () => Promise<void> },
  opening: Promise<E.Either<StreamError, A>>,
): Promise<E.Either<StreamError, A>> => {
  const opened = await opening
  if (E.isLeft(opened)) await first.close()
  return opened
}

/** A role that runs in this process. */
export interface Running<Outcome> {
  /** Resolves when the role has ended by itself. */
  readonly ended: Promise<Outcome>
  /** Lets go of everything and ends the role from outside. */
  readonly close: () => Promise<void>
}

/** How a worker ended by itself. */
export type WorkerOutcome =
  | { readonly type: 'stopped' }
  | { readonly type: 'failed'; readonly error: StreamError }

/** Runs a worker in this process. */
export const runWorker = async (options: {
  readonly plan: Plan
  readonly servers: Servers
  readonly worker: WorkerId
  readonly slots: number
  readonly only: readonly SubtaskId[]
  readonly freeze: boolean
  readonly twice: boolean
  /** Started by a supervisor, which has looked at the folders before. */
  readonly isSupervised: boolean
  readonly trouble: Trouble
}): Promise<E.Either<StreamError, Running<WorkerOutcome>>> => {
  const { plan, servers, worker, trouble } = options
  const { limits } = plan.graph
  const name = `sluice ${plan.job} ${worker}`
  const folders = await openCopyFolders(plan, options.isSupervised ? trouble : undefined)
  if (E.isLeft(folders)) return folders
  const links = await openLinks(servers, name, trouble, limits.ackTimeoutMs)
  if (E.isLeft(links)) return links
  const { link, log, bus, close } = links.right
  const opened = await beside(links.right, openWorkerStore(plan, servers, name, trouble))
  if (E.isLeft(opened)) return opened
  const { snapshots } = opened.right
  let finish: (outcome: WorkerOutcome) => void = () => {}
  const ended = new Promise<WorkerOutcome>(resolve => {
    finish = resolve
  })
  const actor = new WorkerActor({
    ...options,
    pid: process.pid,
    ports: { log, bus, snapshots, scheduler: nodeScheduler, codec: recordCodec, digests },
    folders: folders.right,
    onStopped: () => finish({ type: 'stopped' }),
    onTrouble: ({ message, next }) => trouble(next === undefined ? message : `${message}. ${next}`),
  })
  const heartbeat = startHeartbeat(servers.natsUrl, plan.job, worker, limits.heartbeatMs, error =>
    finish({ type: 'failed', error }),
  )
  link.listen(status => {
    if (status.type === 'closed' && status.error !== undefined)
      finish({ type: 'failed', error: status.error })
  })
  actor.start()
  return E.right({
    ended,
    close: async () => {
      actor.dispose()
      await heartbeat.stop()
      await opened.right.close()
      await close()
    },
  })
}

/** Starts the thread that says that this process lives, and marks the main thread's progress for it. */
const startHeartbeat = (
  natsUrl: string,
  job: string,
  worker: WorkerId,
  everyMs: number,
  onFailed: (error: StreamError) => void,
): { readonly stop: () => Promise<void> } => {
  const mark = new SharedArrayBuffer(8)
  const cell = new BigInt64Array(mark)
  const touch = (): void => {
    Atomics.store(cell, 0, BigInt(Date.now()))
  }
  touch()
  const timer = setInterval(touch, everyMs)
  const thread = new Thread(new URL('./heartbeat-thread.js', import.meta.url), {
    workerData: { natsUrl, job, worker, everyMs, mark },
    execArgv: [],
  })
  let stopping = false
  const exited = new Promise<void>(resolve => thread.once('exit', () => resolve()))
  // What a thread throws arrives as a copy that has lost its class, and with it its type.
  thread.once('error', thrown => {
    const message = `the heartbeat ended: ${messageOf(thrown)}`
    if (!stopping) onFailed(streamError('unavailable', message, { cause: thrown }))
  })
  return {
    stop: async () => {
      stopping = true
      clearInterval(timer)
      thread.postMessage('stop')
      await exited
    },
  }
}

/** How a coordinator ended by itself. */
export type CoordinatorOutcome =
  | {
      readonly type: 'ended'
      readonly status: 'finished' | 'canceled' | 'failed'
      readonly reason: string | undefined
    }
  | { readonly type: 'fenced'; readonly reason: string }
  | { readonly type: 'failed'; readonly error: StreamError }

/** A coordinator that runs in this process. */
export interface RunningCoordinator extends Running<CoordinatorOutcome> {
  readonly bus: ControlBus
  /** False for a job that had ended before: it is not run. */
  readonly claimed: boolean
}

/** What a coordinator runs, and whom it tells. */
export interface CoordinatorRun {
  readonly plan: Plan
  readonly servers: Servers
  /** Identity of the run; the same run takes over from its own dead coordinator without waiting. */
  readonly run: string
  readonly fresh: boolean
  /** The checkpoint that a new job starts from: `<job>` or `<job>/<checkpoint>`. */
  readonly from?: string | undefined
  readonly trouble: Trouble
  readonly onNote: (note: Note) => void
  readonly onState: (state: CoordinatorState) => void
}

/** Owns the job; a new one that starts from a checkpoint reads that over a connection of its own (P13). */
const claimAs = async (
  { plan, run, fresh, from, trouble }: CoordinatorRun,
  ports: ClaimPorts,
  kept: CoordinatorStore,
): Promise<E.Either<StreamError, Claimed | EndedBefore>> => {
  const request: ClaimRequest = {
    job: plan.job,
    run,
    graph: plan.fingerprint,
    leaseMs,
    fresh,
    onWaiting: ms =>
      trouble(
        `another run holds job '${plan.job}'; waiting up to ${Math.ceil(ms)} ms to see whether it lives`,
      ),
  }
  if (from === undefined) return claimJob(request, ports)
  const opened = await kept.openSnapshots()
  if (E.isLeft(opened)) return opened
  const { snapshots, close } = opened.right
  const { maxParallelism } = plan.graph
  const graphShape = { maxParallelism, subtasks: plan.subtasks.map(s => s.id) }
  const claimed = await claimFrom(
    { ...request, from, graphShape },
    { ...ports, snapshots, digests, expectParts: kept.expectParts },
  )
  await close()
  return claimed
}

/** Owns a job whose state is where this coordinator looks for it. */
const claimKept = async (
  run: CoordinatorRun,
  ports: ClaimPorts,
  kept: CoordinatorStore,
): Promise<E.Either<StreamError, Claimed | EndedBefore>> => {
  const { job, graph } = run.plan
  const isMemory = kept.backend.type === 'memory'
  const durable = isMemory
    ? E.right(undefined)
    : await checkDurability(graph.durability, kept.store)
  if (E.isLeft(durable)) return durable
  const fits = await fitsBackend(run, kept)
  if (E.isLeft(fits)) return fits
  const claimed = await claimAs(run, ports, kept)
  const isGone = isMemory && E.isLeft(claimed) && claimed.left.type === 'lost'
  return isGone ? E.left(stateElsewhere(job)) : claimed
}

/** A job that would go on must find its state; asked before anything of it is changed. */
const fitsBackend = async (
  { plan: { job }, fresh }: CoordinatorRun,
  { store, backend }: CoordinatorStore,
): Promise<E.Either<StreamError, void>> => {
  const found = await store.describe(job)()
  if (E.isLeft(found)) return found
  const { latest, status } = found.right ?? {}
  const goesOn = !fresh && status !== 'finished' && status !== 'canceled'
  if (latest === undefined || !goesOn) return E.right(undefined)
  const was = backendOf(latest)
  return was === backend.type ? E.right(undefined) : E.left(otherBackend(job, was, backend.type))
}

/** Runs the coordinator in this process; the store's lease says that it is the only one. */
export const runCoordinator = async (
  options: CoordinatorRun,
): Promise<E.Either<StreamError, RunningCoordinator>> => {
  const { plan, servers, run, trouble, onNote, onState } = options
  const name = `sluice ${plan.job} coordinator`
  const links = await openLinks(servers, name, trouble)
  if (E.isLeft(links)) return links
  const { link, log, bus } = links.right
  const opened = await beside(links.right, openCoordinatorStore(plan, servers, name, trouble))
  if (E.isLeft(opened)) return opened
  const { store, backend } = opened.right
  const close = async (): Promise<void> => {
    await opened.right.close()
    await links.right.close()
  }
  const ports = { store, log, bus, scheduler: nodeScheduler }
  const claimed = await claimKept(options, ports, opened.right)
  if (E.isLeft(claimed)) {
    await close()
    return claimed
  }
  if (claimed.right.type === 'ended') {
    const { status, reason } = claimed.right
    trouble(
      `job '${plan.job}' is ${status} already; to run it again from nothing, add --fresh; to go on from a checkpoint that it keeps, --from`,
    )
    return E.right({
      ended: Promise.resolve({ type: 'ended', status, reason }),
      bus,
      claimed: false,
      close,
    })
  }
  let finish: (outcome: CoordinatorOutcome) => void = () => {}
  const ended = new Promise<CoordinatorOutcome>(resolve => {
    finish = resolve
  })
  const { claim } = claimed.right
  const actor = new CoordinatorActor({
    plan,
    claim,
    run,
    leaseMs,
    backend: backend.type,
    settings: settingsOf(plan, claim.term, claim.jobId),
    ports,
    onNote,
    onState,
    onEnded: ({ phase }) => {
      if (phase.type === 'ended')
        finish({ type: 'ended', status: phase.status, reason: phase.reason })
      else if (phase.type === 'fenced') finish({ type: 'fenced', reason: phase.reason })
    },
  })
  link.listen(status => {
    if (status.type === 'closed' && status.error !== undefined)
      finish({ type: 'failed', error: status.error })
  })
  actor.start()
  return E.right({
    ended,
    bus,
    claimed: true,
    close: async () => {
      actor.dispose()
      // So that the next run need not wait for the lease to expire; it does so by itself otherwise.
      const released = await store.release(claim, run)()
      if (E.isLeft(released) && released.left.type !== 'fenced') trouble(released.left.message)
      await close()
    },
  })
}

const settingsOf = (plan: Plan, term: number, jobId: string): CoordinatorSettings => {
  const { checkpoint, limits, maxParallelism } = plan.graph
  const sources = plan.chains.filter(c => c.members[0]?.type === 'source')
  const sourceIds = sources.map(c => c.id)
  return {
    term,
    jobId,
    graph: plan.fingerprint,
    subtasks: plan.subtasks.map(s => s.id),
    maxParallelism,
    sources: new Set(plan.subtasks.filter(s => sourceIds.includes(s.chain)).map(s => s.id)),
    bounded: sources.every(c => isBounded(c.members[0])),
    ...checkpointRulesOf(checkpoint),
    restart: restartOf(plan.graph),
    heartbeatTimeoutMs: limits.heartbeatTimeoutMs,
    stallTimeoutMs: limits.stallTimeoutMs,
    deployTimeoutMs: 120_000,
    stopTimeoutMs: 10_000,
    ordersEveryMs: limits.heartbeatMs,
  }
}

/** An iterable may end, too: whether it does is its own affair. */
const isBounded = (vertex: Plan['chains'][number]['members'][number] | undefined): boolean =>
  vertex?.type === 'source' &&
  (vertex.source.type === 'iterable-source' || vertex.source.end !== undefined)

/** The store alone, for commands that only look or ask. */
export const withStore = async <A>(
  redisUrl: string,
  use: (store: JobStore) => Promise<E.Either<StreamError, A>>,
): Promise<E.Either<StreamError, A>> => {
  const redis = await connectRedis({
    url: redisUrl,
    name: 'sluice cli',
    role: 'control',
    onStatus: () => {},
  })()
  if (E.isLeft(redis)) return redis
  try {
    return await use(redisJobStore(redis.right))
  } finally {
    await redis.right.close()
  }
}

/** The control bus alone, for a command that says one thing, or asks. */
export const withBus = async <A>(
  natsUrl: string,
  use: (bus: ControlBus, scheduler: Scheduler) => A | Promise<A>,
): Promise<E.Either<StreamError, A>> => {
  const link = await connectNats({ url: natsUrl, name: 'sluice cli', jetstream: false })()
  if (E.isLeft(link)) return link
  try {
    return E.right(await use(natsControlBus(link.right), nodeScheduler))
  } finally {
    await link.right.close()()
  }
}

/** Checks that the servers and folders which the job needs can be used, before any process is started. */
export const probe = async (
  servers: Servers,
  plan: Plan,
): Promise<E.Either<StreamError, StateBackend>> => {
  const backend = stateBackendOf(plan.graph, servers.redisUrl)
  if (E.isLeft(backend)) return backend
  const folders = await openCopyFolders(plan)
  if (E.isLeft(folders)) return folders
  const links = await openLinks(servers, 'sluice probe', () => {})
  if (E.isLeft(links)) return links
  await links.right.close()
  const { redisUrl } = servers
  if (backend.right.type === 'memory' || redisUrl === undefined) return backend
  const durable = await withStore(redisUrl, store => checkDurability(plan.graph.durability, store))
  return E.isLeft(durable) ? durable : backend
}

/** Real servers for development and tests, as child processes that are gone afterwards. */
export { startServers as startEmbeddedServers } from '../lib/adapters/servers/embedded.js'
