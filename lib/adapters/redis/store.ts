/**
 * The job store on Redis: what the coordinator must not forget.
 *
 * Every write is one fenced script (`scripts.ts`). Steps that need the kept checkpoints' keys read
 * them first, name the checkpoints they saw, and start again when the script answers they are
 * others by now.
 */
import { randomUUID } from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../../errors.js'
import type {
  Claim,
  CommitOptions,
  CommitOutcome,
  EndOptions,
  JobStore,
} from '../../ports/job-store.js'
import { type Manifest, neededParts } from '../../protocol/manifest.js'
import { acquire } from './acquire.js'
import type { RedisConnection } from './connection.js'
import { readDurability } from './durability.js'
import { attempt } from './errors.js'
import {
  completedKey,
  historyKey,
  jobsKey,
  leaseKey,
  manifestKey,
  metaKey,
  partKey,
} from './keys.js'
import {
  checkpoints,
  describe,
  keptEpochs,
  keysOf,
  list,
  manifestsOf,
  type Seen,
  serverTime,
} from './reads.js'
import { decodeHistory, decodeManifest, historyJson, manifestJson } from './records.js'
import { lostJob, quoted, refusal } from './refusals.js'
import * as scripts from './scripts.js'
import { changing, factsOf, milliseconds, see, send, staleTriesMax } from './steps.js'

type Result<A> = Promise<E.Either<StreamError, A>>

/** A job store over a connection with the role `control`. */
export const redisJobStore = (
  connection: RedisConnection,
  newJobId: () => string = randomUUID,
): JobStore => ({
  acquire: request =>
    attempt(connection.place, `acquire the job ${quoted(request.job)}`, () =>
      acquire(connection, request, newJobId()),
    ),
  renew: (claim, run, leaseMs) =>
    step(connection, claim, 'renew the lease', async () => {
      const keys = [metaKey(claim.job), leaseKey(claim.job)]
      const reply = await send(connection, scripts.renew, keys, [
        ...identity(claim),
        run,
        milliseconds(leaseMs),
      ])
      return answered(connection, claim, reply, () => ({ cancelRequested: reply[1] === '1' }))
    }),
  release: (claim, run) =>
    step(connection, claim, 'release the lease', async () => {
      const keys = [metaKey(claim.job), leaseKey(claim.job)]
      const reply = await send(connection, scripts.release, keys, [...identity(claim), run])
      // An ended job has no lease: there is nothing left to give up.
      return reply[0] === 'ended' ? E.right(undefined) : answered(connection, claim, reply, nothing)
    }),
  beginGeneration: claim =>
    step(connection, claim, 'begin a generation', () => beginGeneration(connection, claim)),
  allocate: (claim, generation) =>
    step(connection, claim, 'take a checkpoint id', async () => {
      const args = [...identity(claim), generation]
      const reply = await send(connection, scripts.allocate, [metaKey(claim.job)], args)
      return answered(connection, claim, reply, () => Number(reply[1]))
    }),
  commit: (claim, manifest, options) =>
    step(connection, claim, `commit checkpoint ${manifest.epoch}`, () =>
      commit(connection, claim, manifest, options),
    ),
  recordAborted: (claim, entry, historyMax) =>
    step(connection, claim, `record the abort of checkpoint ${entry.epoch}`, async () => {
      const keys = [metaKey(claim.job), historyKey(claim.job)]
      const args = [...identity(claim), historyJson(entry), historyMax]
      const reply = await send(connection, scripts.recordAborted, keys, args)
      return answered(connection, claim, reply, nothing)
    }),
  setStatus: (claim, status, reason = '') =>
    step(connection, claim, `set the status ${status}`, async () => {
      const args = [...identity(claim), status, reason]
      const reply = await send(connection, scripts.setStatus, [metaKey(claim.job)], args)
      return answered(connection, claim, reply, nothing)
    }),
  end: (claim, status, options) =>
    step(connection, claim, `end as ${status}`, () => end(connection, claim, status, options)),
  requestCancel: job =>
    attempt(connection.place, `request the cancelation of ${quoted(job)}`, async () => {
      const [reply] = await send(connection, scripts.requestCancel, [metaKey(job)], [])
      return E.right(reply === 'requested' || reply === 'ended' ? reply : 'unknown')
    }),
  describe: job =>
    attempt(connection.place, `describe the job ${quoted(job)}`, () => describe(connection, job)),
  history: job =>
    attempt(connection.place, `read the history of ${quoted(job)}`, async () => {
      const key = historyKey(job)
      const entries = await connection.redis.lrange(key, 0, -1)
      return E.traverseArray((json: string) => decodeHistory(connection.place, key, json))(entries)
    }),
  checkpoints: (job, options) =>
    attempt(connection.place, `read the checkpoints of ${quoted(job)}`, () =>
      checkpoints(connection, job, options),
    ),
  list: () => attempt(connection.place, 'list the jobs', () => list(connection)),
  durability: () => readDurability(connection),
})

const step = <A>(
  { place }: RedisConnection,
  claim: Claim,
  doing: string,
  run: () => Result<A>,
): TaskEither<StreamError, A> => attempt(place, `${doing} for the job ${quoted(claim.job)}`, run)

const identity = (claim: Claim): readonly [number, string] => [claim.term, claim.jobId]

const nothing = (): undefined => undefined

const answered = <A>(
  { place }: RedisConnection,
  claim: Claim,
  reply: readonly string[],
  result: () => A,
): E.Either<StreamError, A> => {
  const refused = refusal(place, claim, reply)
  return refused === undefined ? E.right(result()) : E.left(refused)
}

const beginGeneration = async (
  connection: RedisConnection,
  claim: Claim,
): ReturnType<ReturnType<JobStore['beginGeneration']>> =>
  untilSettled(connection, claim.job, async ({ latest }) => {
    const key = manifestKey(claim.job, Number(latest))
    const args = [...identity(claim), latest]
    const keys = [metaKey(claim.job), key]
    const reply = await send(connection, scripts.beginGeneration, keys, args)
    if (reply[0] === 'stale') return undefined
    const refused = refusal(connection.place, claim, reply)
    if (refused !== undefined) return E.left(refused)
    const [, generation, json = ''] = reply
    const number = Number(generation)
    if (json === '') return E.right({ generation: number, restore: undefined })
    return E.map((restore: Manifest) => ({ generation: number, restore }))(
      decodeManifest(connection.place, key, json),
    )
  })

const commit = async (
  connection: RedisConnection,
  claim: Claim,
  manifest: Manifest,
  options: CommitOptions,
): Result<CommitOutcome> =>
  untilSettled(connection, claim.job, async seen => {
    const { job } = claim
    const { numRetained = 1, partsElsewhere = false } = options
    const parts = partsElsewhere ? [] : neededParts(manifest)
    const before = keptEpochs(seen)
    const staying = before.slice(0, Math.max(1, numRetained) - 1)
    const falling = before.slice(staying.length)
    const reply = await send(
      connection,
      scripts.commit,
      [
        metaKey(job),
        completedKey(job),
        historyKey(job),
        manifestKey(job, manifest.epoch),
        ...parts.map(part => partKey(job, part)),
        ...falling.map(epoch => manifestKey(job, epoch)),
        ...(partsElsewhere ? [] : await unneeded(connection, job, manifest, staying, falling)),
      ],
      [
        ...identity(claim),
        manifest.generation,
        manifest.epoch,
        seen.latest,
        seen.kept,
        manifestJson(manifest),
        Math.ceil(options.supersededTtlMs),
        historyJson(options.history),
        options.historyMax,
        [manifest.epoch, ...staying].join(','),
        ...factsOf(parts),
      ],
    )
    return reply[0] === 'stale' ? undefined : commitOutcome(connection, claim, reply)
  })

/**
 * Keys of the parts that only checkpoints which fall out need. None while a manifest that stays cannot
 * be read: nothing is deleted on doubt.
 */
const unneeded = async (
  connection: RedisConnection,
  job: string,
  manifest: Manifest,
  staying: readonly number[],
  falling: readonly number[],
): Promise<readonly string[]> => {
  if (falling.length === 0) return []
  const known = await manifestsOf(connection, job, [...staying, ...falling])
  const kept = staying.map(epoch => known.get(epoch))
  const needed = new Set(neededParts(manifest).map(part => partKey(job, part)))
  for (const other of kept) {
    if (other === undefined) return []
    for (const part of neededParts(other)) needed.add(partKey(job, part))
  }
  const dropped = falling.flatMap(epoch => {
    const other = known.get(epoch)
    return other === undefined ? [] : neededParts(other)
  })
  const keys = new Set(dropped.map(part => partKey(job, part)))
  return [...keys].filter(key => !needed.has(key))
}

const commitOutcome = (
  { place }: RedisConnection,
  claim: Claim,
  reply: readonly string[],
): E.Either<StreamError, CommitOutcome> => {
  const [type, ...facts] = reply
  switch (type) {
    case 'committed':
    case 'already-committed':
      return E.right({ type })
    case 'superseded':
      return E.right({ type, latest: Number(facts[0]) })
    case 'parts-missing':
      return E.right({ type, subtasks: facts })
    case 'fenced':
      return E.right({ type, term: Number(facts[0]), generation: Number(facts[1]) })
    case 'ended':
      return E.right({ type: 'fenced', term: Number(facts[1]), generation: Number(facts[2]) })
    default:
      return E.left(refusal(place, claim, reply) ?? lostJob(place, claim.job))
  }
}

const end = async (
  connection: RedisConnection,
  claim: Claim,
  status: string,
  { reason = '', ttlMs, resumes = ttlMs === undefined }: EndOptions,
): Result<void> => {
  const { job } = claim
  if (ttlMs !== undefined) await announceEnd(connection, claim, status, ttlMs)
  const ended =
    ttlMs === undefined ? (resumes ? 'kept' : 'retained') : resumes ? 'kept-expires' : 'expires'
  return untilSettled(connection, job, async seen => {
    const kept = ttlMs === undefined ? [] : await keysOf(connection, job, keptEpochs(seen))
    const reply = await send(
      connection,
      scripts.end,
      [metaKey(job), leaseKey(job), completedKey(job), historyKey(job), ...kept],
      [
        ...identity(claim),
        status,
        reason,
        ttlMs === undefined ? '' : Math.ceil(ttlMs),
        ended,
        seen.latest,
        seen.kept,
      ],
    )
    return reply[0] === 'stale' ? undefined : answered(connection, claim, reply, nothing)
  })
}

/**
 * Says in the list until when the job is there, before its keys expire: the other way round, a crash
 * in between would make a job that ended look like one that was lost. What the script will refuse, a
 * fenced coordinator or another end of a job that has ended, is not announced: the job stays as it is.
 */
const announceEnd = async (
  connection: RedisConnection,
  claim: Claim,
  status: string,
  ttlMs: number,
): Promise<void> => {
  const { redis } = connection
  const fields = ['term', 'jobId', 'ended', 'status', 'retained']
  const [term, jobId, ended, was, retained] = await redis.hmget(metaKey(claim.job), ...fields)
  if (term !== String(claim.term) || jobId !== claim.jobId) return
  // Its record stays, for the sake of what earlier lives have left.
  if (typeof retained === 'string' && retained !== '') return
  if (ended !== '' && was !== status) return
  const expiresAt = (await serverTime(connection)) + Math.ceil(ttlMs)
  await send(connection, scripts.enlist, [jobsKey], [expiresAt, claim.job])
}

/** Runs a step with what is seen of the kept checkpoints until it is not stale (`undefined`). */
const untilSettled = async <A>(
  connection: RedisConnection,
  job: string,
  run: (seen: Seen) => Promise<E.Either<StreamError, A> | undefined>,
): Result<A> => {
  for (let tries = 0; tries < staleTriesMax; tries += 1) {
    const settled = await run(await see(connection, job))
    if (settled !== undefined) return settled
  }
  return E.left(changing(connection.place, job))
}
