/**
 * The job store on Redis: what the coordinator must not forget.
 *
 * Every write is one fenced script (`scripts.ts`). Steps that need the newest manifest's keys read
 * them first, name the checkpoint they saw, and start again when the script answers that it is
 * another one by now.
 */
import { randomUUID } from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../errors.js'
import type { Claim, CommitOutcome, JobStore } from '../../ports/job-store.js'
import { type Manifest, neededParts } from '../../protocol/manifest.js'
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
import { describe, latestOf, list, partsOf, prune, serverTime } from './reads.js'
import {
  decodeHistory,
  decodeManifest,
  decodeMeta,
  historyJson,
  jobRecord,
  manifestJson,
} from './records.js'
import { lostJob, quoted, refusal } from './refusals.js'
import * as scripts from './scripts.js'

type Result<A> = Promise<E.Either<StreamError, A>>

/** Tries of a step whose newest manifest changes under it. One coordinator per term: twice is rare. */
const staleTriesMax = 5

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
  list: () => attempt(connection.place, 'list the jobs', () => list(connection)),
  durability: () => readDurability(connection),
})

const step = <A>(
  { place }: RedisConnection,
  claim: Claim,
  doing: string,
  run: () => Result<A>,
): TaskEither<StreamError, A> => attempt(place, `${doing} for the job ${quoted(claim.job)}`, run)

const send = (
  { redis }: RedisConnection,
  script: scripts.Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<readonly string[]> => scripts.runScript(redis, script, keys, args)

const identity = (claim: Claim): readonly [number, string] => [claim.term, claim.jobId]

/** Redis takes whole milliseconds, and at least one for a lease. */
const milliseconds = (value: number): number => Math.max(1, Math.ceil(value))

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

const acquire = async (
  connection: RedisConnection,
  request: Parameters<JobStore['acquire']>[0],
  newJobId: string,
): ReturnType<ReturnType<JobStore['acquire']>> => {
  const { redis, place } = connection
  const { job, run, leaseMs, graph, mustExist, now } = request
  await prune(connection)
  // A job whose keys live for ever is listed without an end: if its record is gone, it was lost.
  const known = (await redis.zscore(jobsKey, job)) === 'inf'
  const keys = [metaKey(job), leaseKey(job), completedKey(job), historyKey(job)]
  const args = [
    run,
    milliseconds(leaseMs),
    graph,
    flag(mustExist),
    Math.floor(now),
    newJobId,
    job,
    flag(known),
  ]
  const [outcome, ...rest] = await send(connection, scripts.acquire, keys, args)
  if (outcome === 'held') {
    const [holder = '', left = '0'] = rest
    return E.right({ type: 'held', run: holder, leaseMs: Math.max(0, Number(left)) })
  }
  if (outcome === 'unknown') return E.right({ type: 'unknown' })
  if (outcome === 'lost') return E.left(lostJob(place, job))
  const meta = decodeMeta(place, metaKey(job), pairs(rest))
  if (E.isLeft(meta)) return meta
  await send(connection, scripts.enlist, [jobsKey], ['+inf', job])
  const latest = await latestOf(connection, meta.right)
  if (E.isLeft(latest)) return latest
  const { jobId, term, fresh } = meta.right
  const record = jobRecord(meta.right, latest.right, run)
  return E.right({
    type: 'acquired',
    claim: { job, jobId, term },
    record,
    created: fresh === '1',
  })
}

const beginGeneration = async (
  connection: RedisConnection,
  claim: Claim,
): ReturnType<ReturnType<JobStore['beginGeneration']>> =>
  untilSettled(connection, claim.job, async seen => {
    const key = manifestKey(claim.job, seen ?? 0)
    const args = [...identity(claim), seen ?? '']
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
  options: Parameters<JobStore['commit']>[2],
): Result<CommitOutcome> =>
  untilSettled(connection, claim.job, async seen => {
    const { job } = claim
    const stored = neededParts(manifest)
    const parts = stored.map(part => partKey(job, part))
    const needed = new Set(parts)
    const superseded = await partsOf(connection, job, seen)
    const reply = await send(
      connection,
      scripts.commit,
      [
        metaKey(job),
        completedKey(job),
        historyKey(job),
        manifestKey(job, manifest.epoch),
        manifestKey(job, seen ?? 0),
        ...parts,
        // A part that both checkpoints need stays.
        ...superseded.filter(key => !needed.has(key)),
      ],
      [
        ...identity(claim),
        manifest.generation,
        manifest.epoch,
        seen ?? '',
        manifestJson(manifest),
        Math.ceil(options.supersededTtlMs),
        historyJson(options.history),
        options.historyMax,
        parts.length,
        ...stored.flatMap(part => [part.chunks, part.digest, part.subtask]),
      ],
    )
    return reply[0] === 'stale' ? undefined : commitOutcome(connection, claim, reply)
  })

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
  { reason = '', ttlMs }: Parameters<JobStore['end']>[2],
): Result<void> => {
  const { job } = claim
  if (ttlMs !== undefined) await announceEnd(connection, claim, status, ttlMs)
  return untilSettled(connection, job, async seen => {
    const parts = ttlMs === undefined ? [] : await partsOf(connection, job, seen)
    const reply = await send(
      connection,
      scripts.end,
      [
        metaKey(job),
        leaseKey(job),
        completedKey(job),
        historyKey(job),
        manifestKey(job, seen ?? 0),
        ...parts,
      ],
      [...identity(claim), status, reason, ttlMs === undefined ? '' : Math.ceil(ttlMs), seen ?? ''],
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
  const fields = ['term', 'jobId', 'ended', 'status']
  const [term, jobId, ended, was] = await redis.hmget(metaKey(claim.job), ...fields)
  if (term !== String(claim.term) || jobId !== claim.jobId) return
  if (ended !== '' && was !== status) return
  const expiresAt = (await serverTime(connection)) + Math.ceil(ttlMs)
  await send(connection, scripts.enlist, [jobsKey], [expiresAt, claim.job])
}

/** Runs a step with the newest checkpoint's id until it is not stale (`undefined`). */
const untilSettled = async <A>(
  { redis, place }: RedisConnection,
  job: string,
  run: (seen: number | undefined) => Promise<E.Either<StreamError, A> | undefined>,
): Result<A> => {
  for (let tries = 0; tries < staleTriesMax; tries += 1) {
    const latest = await redis.hget(metaKey(job), 'latest')
    const settled = await run(latest === null || latest === '' ? undefined : Number(latest))
    if (settled !== undefined) return settled
  }
  return E.left(
    streamError(
      'conflict',
      `the newest checkpoint of the job ${quoted(job)} in Redis at ${place} changed ${staleTriesMax} times meanwhile`,
      { next: 'Look for a second coordinator of this job.' },
    ),
  )
}

const flag = (value: boolean): '1' | '0' => (value ? '1' : '0')

const pairs = (flat: readonly string[]): Readonly<Record<string, string>> => {
  const fields: [string, string][] = []
  for (let i = 0; i + 1 < flat.length; i += 2) fields.push([flat[i] ?? '', flat[i + 1] ?? ''])
  return Object.fromEntries(fields)
}
