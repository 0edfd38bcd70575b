/**
 * Opens a job's stores, by its state backend: a part of the composition root.
 *
 * P13: what moves snapshots has a connection of its own, whichever backend it is.
 */
import { resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { copyFolderProblem, copyFolders } from '../lib/adapters/fs/copy-folders.js'
import { storeWithParts } from '../lib/adapters/fs/job-store.js'
import { fsPartKeeper } from '../lib/adapters/fs/part-keeper.js'
import { fsSnapshotStore } from '../lib/adapters/fs/snapshot-store.js'
import { coordinatorMemory } from '../lib/adapters/memory/coordinator-memory.js'
import { decodePart, encodePart, Reply } from '../lib/adapters/memory/parts-protocol.js'
import { remoteSnapshotStore } from '../lib/adapters/memory/remote-snapshot-store.js'
import { connectNats, type NatsLink } from '../lib/adapters/nats/connection.js'
import { natsAnswer, natsAsk } from '../lib/adapters/nats/requests.js'
import { nodeScheduler } from '../lib/adapters/node/scheduler.js'
import {
  connectRedis,
  type RedisConnection,
  type RedisRole,
} from '../lib/adapters/redis/connection.js'
import { redisIdentity } from '../lib/adapters/redis/identity.js'
import { redisSnapshotStore } from '../lib/adapters/redis/snapshot-store.js'
import { redisJobStore } from '../lib/adapters/redis/store.js'
import { type StreamError, streamError } from '../lib/errors.js'
import type { Plan } from '../lib/job/plan.js'
import { type Problem, problemText, quote } from '../lib/job/problem.js'
import { type StateBackend, stateBackendOf } from '../lib/job/state-backend.js'
import type { CopyFolders } from '../lib/ports/copy-folders.js'
import type { JobStore, SnapshotStore } from '../lib/ports/job-store.js'
import { partsSubject } from '../lib/protocol/addresses.js'

/** Where a job's servers are. */
export interface Servers {
  readonly natsUrl: string
  /** Undefined: there is none, and state is in the coordinator's memory. */
  readonly redisUrl: string | undefined
}

/** Something that a person should see; never a decision. */
export type Trouble = (message: string) => void

/** Where a worker puts snapshots. */
export interface WorkerStore {
  readonly snapshots: SnapshotStore
  readonly close: () => Promise<void>
}

/** What a coordinator keeps, and where. */
export interface CoordinatorStore {
  readonly backend: StateBackend
  readonly store: JobStore
  /** Opens what reads and writes snapshots, for a job that starts from another one's. */
  readonly openSnapshots: () => Promise<E.Either<StreamError, WorkerStore>>
  /** Said before parts are written for a job that may never start: after so long nobody needs them. */
  readonly expectParts: (job: string, ttlMs: number) => TE.TaskEither<StreamError, void>
  readonly close: () => Promise<void>
}

type Opened<A> = Promise<E.Either<StreamError, A>>

/** Opens what a worker needs. */
export const openWorkerStore = async (
  plan: Plan,
  servers: Servers,
  name: string,
  trouble: Trouble,
): Opened<WorkerStore> => {
  const backend = stateBackendOf(plan.graph, servers.redisUrl)
  if (E.isLeft(backend)) return backend
  return openSnapshots(backend.right, plan, servers, name, trouble)
}

const openSnapshots = async (
  backend: StateBackend,
  { job }: Plan,
  servers: Servers,
  name: string,
  trouble: Trouble,
): Opened<WorkerStore> => {
  switch (backend.type) {
    case 'fs':
      return E.right({ snapshots: fsSnapshotStore(folderOf(backend)), close: async () => {} })
    case 'redis': {
      const redis = await openRedis(servers, name, 'snapshots', trouble)
      if (E.isLeft(redis)) return redis
      const { right } = redis
      return E.right({ snapshots: redisSnapshotStore(right), close: () => right.close() })
    }
    case 'memory': {
      const link = await openPartsLink(servers, name)
      if (E.isLeft(link)) return link
      const { right } = link
      const ask = natsAsk(right, partsSubject(job), partsAsked)
      return E.right({
        snapshots: remoteSnapshotStore(ask, backend.stateBytesMax),
        close: () => right.close()(),
      })
    }
  }
}

/** A piece is small: what takes longer is an outage, which most checkpoints outlive. */
const partsAsked = { tries: 8, timeoutMs: 5_000 } as const

const folderOf = ({ folder }: Extract<StateBackend, { readonly type: 'fs' }>) => ({
  folder: resolve(folder),
})

/** Opens what a coordinator needs. */
export const openCoordinatorStore = async (
  plan: Plan,
  servers: Servers,
  name: string,
  trouble: Trouble,
): Opened<CoordinatorStore> => {
  const chosen = stateBackendOf(plan.graph, servers.redisUrl)
  if (E.isLeft(chosen)) return chosen
  const backend = chosen.right
  if (backend.type === 'memory') return openMemory(backend, plan, servers, name)
  const opened = await openRedis(servers, name, 'control', trouble)
  if (E.isLeft(opened)) return opened
  const redis = opened.right
  const rest = {
    backend,
    openSnapshots: () => openSnapshots(backend, plan, servers, `${name} copy`, trouble),
    close: () => redis.close(),
  }
  const store = redisJobStore(redis)
  if (backend.type === 'redis') return E.right({ store, expectParts: expireAnyway, ...rest })
  const identity = await redisIdentity(redis)()
  if (E.isLeft(identity)) {
    await redis.close()
    return identity
  }
  const keeper = fsPartKeeper({ ...folderOf(backend), now: nodeScheduler.wallClock })
  const withParts = storeWithParts(store, keeper, identity.right, error => trouble(error.message))
  return E.right({ store: withParts, expectParts: withParts.expectParts, ...rest })
}

/** Each part has a TTL of its own. */
const expireAnyway = () => TE.right(undefined)

const openMemory = async (
  backend: Extract<StateBackend, { readonly type: 'memory' }>,
  { job, graph }: Plan,
  servers: Servers,
  name: string,
): Opened<CoordinatorStore> => {
  const opened = await openPartsLink(servers, name)
  if (E.isLeft(opened)) return opened
  const link = opened.right
  const alone = await isAlone(link, job)
  if (E.isLeft(alone)) {
    await link.close()()
    return alone
  }
  const memory = coordinatorMemory({
    stateBytesMax: backend.stateBytesMax,
    maxConcurrent: graph.checkpoint?.maxConcurrent ?? 1,
    incremental: graph.checkpoint?.incremental ?? false,
    now: nodeScheduler.now,
  })
  const stop = natsAnswer(link, partsSubject(job), memory.answer)
  return E.right({
    backend,
    store: memory.store,
    openSnapshots: async () => E.left(nothingToCopy),
    expectParts: expireAnyway,
    close: async () => {
      stop()
      await link.close()()
    },
  })
}

const nothingToCopy = streamError(
  'invalid',
  "a job whose state is in its coordinator's memory cannot start from another one's checkpoint",
  { next: "Add --redis, and keep state in 'fs' or 'redis'." },
)

/** No lease says who runs a job without a store: the one that answers does. */
const isAlone = async (link: NatsLink, job: string): Opened<void> => {
  const ask = natsAsk(link, partsSubject(job), { tries: 1, timeoutMs: 2_000 })
  const hello = await ask(encodePart({ type: 'hello' }))()
  if (E.isLeft(hello)) return hello.left.type === 'missing' ? E.right(undefined) : hello
  const reply = decodePart(Reply, hello.right)
  if (E.isLeft(reply)) return reply
  return E.left(
    streamError('conflict', `job '${job}' is already running, with its state in memory`, {
      next: 'End that run first.',
    }),
  )
}

/**
 * Opens the folders for copies of snapshots on this machine; undefined: the job has none. A wrong one
 * is an error to whoever starts a job, who can mend it. With `trouble` it is told and no more: a disk
 * that breaks under a running job must not end it.
 */
export const openCopyFolders = async (
  { graph }: Plan,
  trouble?: Trouble,
): Opened<CopyFolders | undefined> => {
  const folders = graph.folders?.localRecovery
  if (graph.checkpoint?.localRecovery !== true || folders === undefined) return E.right(undefined)
  const problems: Problem[] = []
  for (const [index, folder] of folders.entries()) {
    const found = await copyFolderProblem(folder)
    if (found !== undefined) problems.push(wrongFolder(index, folder, found))
  }
  if (trouble !== undefined) for (const problem of problems) trouble(problemText(problem))
  if (trouble !== undefined || problems.length === 0)
    return E.right(copyFolders({ folders, now: nodeScheduler.wallClock }))
  const lines = problems.map(problem => `  ${problemText(problem)}`)
  return E.left(
    streamError(
      'invalid',
      `local copies of snapshots cannot be kept on this machine:\n${lines.join('\n')}`,
      { next: "'sluice config' shows who names the folders." },
    ),
  )
}

const wrongFolder = (index: number, folder: string, found: string): Problem => ({
  path: `localRecoveryFolders.${index}`,
  expected: 'a folder of this machine that its workers may write to',
  found: `${quote(folder)}, ${found}`,
  next: 'Make it, mount its disk, let this user write there, or name another folder.',
})

const openPartsLink = ({ natsUrl }: Servers, name: string): Opened<NatsLink> =>
  connectNats({ url: natsUrl, name: `${name} parts`, jetstream: false })()

const openRedis = async (
  { redisUrl }: Servers,
  name: string,
  role: RedisRole,
  trouble: Trouble,
): Opened<RedisConnection> => {
  if (redisUrl === undefined) return E.left(streamError('invalid', 'no Redis is configured'))
  return connectRedis({
    url: redisUrl,
    name,
    role,
    onStatus: status =>
      trouble(
        status.type === 'lost'
          ? `${status.error.message}; reconnecting`
          : 'the connection to Redis is back',
      ),
  })()
}
