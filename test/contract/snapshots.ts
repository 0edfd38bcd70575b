/** What the contract suites of the stores share: parts, manifests and ways to look at outcomes. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { partDigest } from '../../lib/adapters/digest.js'
import type { StreamError, StreamErrorType } from '../../lib/errors.js'
import type { Claim, HistoryEntry, JobStore, SnapshotStore } from '../../lib/ports/job-store.js'
import type { Manifest, PartRef } from '../../lib/protocol/manifest.js'

/** One implementation of both stores over the same data. */
export interface Stores {
  readonly jobs: JobStore
  readonly snapshots: SnapshotStore
  /** Parts are not in the job store, and verified all the same. Default false. */
  readonly partsElsewhere?: boolean
  /** Resolves when the stores' clock has gone on by that much. */
  elapse(ms: number): Promise<void>
}

/** The right side; a left one fails the test with its sentence. */
export const right = async <A>(t: ExecutionContext, work: TaskEither<StreamError, A>) => {
  const done = await work()
  if (E.isRight(done)) return done.right
  return t.fail(`${done.left.type}: ${done.left.message}`)
}

/** Asserts a failure of a type, and gives it. */
export const left = async <A>(
  t: ExecutionContext,
  type: StreamErrorType,
  work: TaskEither<StreamError, A>,
) => {
  const done = await work()
  if (E.isRight(done)) return t.fail(`expected ${type}, got ${JSON.stringify(done.right)}`)
  t.is(done.left.type, type, done.left.message)
  return done.left
}

export const jobName = (name = 'job'): string => `${name}-${randomUUID()}`

export const acquire = (
  { jobs }: Stores,
  job: string,
  more: {
    run?: string
    leaseMs?: number
    graph?: string
    mustExist?: boolean
    now?: number
    from?: Manifest
  } = {},
) =>
  jobs.acquire({
    job,
    run: 'run-a',
    leaseMs: 60_000,
    graph: 'graph-1',
    mustExist: false,
    now: 1_700_000_000_000,
    ...more,
  })

/** Acquires and asserts it. */
export const claimOf = async (
  t: ExecutionContext,
  stores: Stores,
  job: string,
  more: Parameters<typeof acquire>[2] = {},
) => {
  const outcome = await right(t, acquire(stores, job, more))
  if (outcome.type === 'acquired') return outcome
  return t.fail(`not acquired: ${outcome.type}`)
}

export const partOf = (
  subtask: string,
  epoch: number,
  generation: number,
  chunks: readonly Uint8Array[],
): PartRef => ({
  subtask,
  epoch,
  generation,
  digest: partDigest(chunks),
  chunks: chunks.length,
  bytes: chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0),
})

export const randomChunks = (count = 2, bytes = 64): readonly Uint8Array[] =>
  Array.from({ length: count }, () => randomBytes(bytes))

/** Stores one random part per subtask. */
export const storeParts = async (
  t: ExecutionContext,
  { snapshots }: Stores,
  job: string,
  epoch: number,
  generation: number,
  subtasks: readonly string[] = ['source/0', 'delays/0'],
  ttlMs = 600_000,
): Promise<readonly PartRef[]> => {
  const parts: PartRef[] = []
  for (const subtask of subtasks) {
    const chunks = randomChunks()
    const part = partOf(subtask, epoch, generation, chunks)
    await right(t, snapshots.write(job, part, chunks, ttlMs))
    parts.push(part)
  }
  return parts
}

export const manifestOf = (
  claim: Claim,
  epoch: number,
  generation: number,
  parts: readonly PartRef[],
): Manifest => ({
  version: 1,
  job: claim.job,
  jobId: claim.jobId,
  epoch,
  generation,
  maxParallelism: 128,
  graph: 'graph-1',
  triggeredAt: 1_700_000_000_000 + epoch,
  completedAt: 1_700_000_000_100 + epoch,
  parts,
  final: false,
})

export const historyOf = (
  epoch: number,
  generation: number,
  status: HistoryEntry['status'] = 'completed',
): HistoryEntry => ({
  epoch,
  generation,
  status,
  triggeredAt: 1_700_000_000_000 + epoch,
  durationMs: 100,
  bytes: 256,
  ...(status === 'aborted' ? { reason: 'timed-out' } : {}),
})

export const commitOptions = (epoch: number, generation: number, supersededTtlMs = 60_000) => ({
  supersededTtlMs,
  history: historyOf(epoch, generation),
  historyMax: 10,
})

/** Allocates an id, stores its parts, commits it, and gives the manifest. */
export const complete = async (
  t: ExecutionContext,
  stores: Stores,
  claim: Claim,
  generation: number,
  supersededTtlMs?: number,
): Promise<Manifest> => {
  const epoch = await right(t, stores.jobs.allocate(claim, generation))
  const parts = await storeParts(t, stores, claim.job, epoch, generation)
  const manifest = manifestOf(claim, epoch, generation, parts)
  const options = commitOptions(epoch, generation, supersededTtlMs)
  t.deepEqual(await right(t, stores.jobs.commit(claim, manifest, options)), { type: 'committed' })
  return manifest
}

/** Acquires the job and begins a generation. */
export const begin = async (
  t: ExecutionContext,
  stores: Stores,
  job: string,
  more: Parameters<typeof acquire>[2] = {},
) => {
  const { claim, record, created } = await claimOf(t, stores, job, more)
  const { generation, restore } = await right(t, stores.jobs.beginGeneration(claim))
  return { claim, record, created, generation, restore }
}

/** Names that forge, match or nest wherever they are not escaped. */
export const hostileNames: readonly string[] = [
  '*',
  '?',
  '{}',
  '}{',
  'a}:meta',
  'a',
  'a:meta',
  'a\r\nDEL x',
  '__proto__',
  'constructor',
  ':',
  '[a-z]',
  'ä€𝄞',
  'A',
  ' ',
]
