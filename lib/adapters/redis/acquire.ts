/** How a run comes to own a job in Redis: where it was, afresh, or from a checkpoint of another. */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'
import type { AcquireOutcome, JobStatus, JobStore } from '../../ports/job-store.js'
import { type Manifest, neededParts } from '../../protocol/manifest.js'
import type { RedisConnection } from './connection.js'
import {
  completedKey,
  historyKey,
  jobsKey,
  leaseKey,
  manifestKey,
  metaKey,
  partKey,
} from './keys.js'
import { keptEpochs, keysOf, latestOf, prune } from './reads.js'
import { decodeMeta, jobRecord, manifestJson } from './records.js'
import { lostJob, quoted } from './refusals.js'
import * as scripts from './scripts.js'
import { changing, factsOf, milliseconds, see, send, staleTriesMax } from './steps.js'

type Result<A> = Promise<E.Either<StreamError, A>>

type AcquireRequest = Parameters<JobStore['acquire']>[0]

/** Takes the job's lease for a run. */
export const acquire = async (
  connection: RedisConnection,
  request: AcquireRequest,
  newJobId: string,
): Result<AcquireOutcome> => {
  const { redis, place } = connection
  const { job, run, from } = request
  await prune(connection)
  // A job whose keys live for ever is listed without an end: if its record is gone, it was lost.
  const known = (await redis.zscore(jobsKey, job)) === 'inf'
  const [outcome, ...rest] =
    from === undefined
      ? await takeJob(connection, request, newJobId, known)
      : await takeFrom(connection, request, from, newJobId, known)
  switch (outcome) {
    case 'acquired':
      return acquired(connection, job, run, rest)
    case 'held': {
      const [holder = '', left = '0'] = rest
      return E.right({ type: 'held', run: holder, leaseMs: Math.max(0, Number(left)) })
    }
    case 'unknown':
      return E.right({ type: 'unknown' })
    case 'resumable':
      return E.right({ type: 'resumable', status: statusOf(rest[0]) })
    case 'parts-missing':
      return E.left(partsGone(place, job, rest))
    case 'stale':
      return E.left(changing(place, job))
    default:
      return E.left(lostJob(place, job))
  }
}

const acquired = async (
  connection: RedisConnection,
  job: string,
  run: string,
  fields: readonly string[],
): Result<AcquireOutcome> => {
  const meta = decodeMeta(connection.place, metaKey(job), pairs(fields))
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

/** One that may go on as long as it is there gives its TTLs up, those of its checkpoints included. */
const takeJob = async (
  connection: RedisConnection,
  { job, run, leaseMs, graph, mustExist, now }: AcquireRequest,
  newJobId: string,
  known: boolean,
): Promise<readonly string[]> => {
  for (let tries = 1; ; tries += 1) {
    const ended = await connection.redis.hget(metaKey(job), 'ended')
    const seen = await see(connection, job)
    const expiring = ended === 'kept-expires'
    const kept = expiring ? await keysOf(connection, job, keptEpochs(seen)) : []
    const keys = [metaKey(job), leaseKey(job), completedKey(job), historyKey(job), ...kept]
    const args = [
      run,
      milliseconds(leaseMs),
      graph,
      flag(mustExist),
      Math.floor(now),
      newJobId,
      job,
      flag(known),
      expiring ? seen.latest : 'none',
      seen.kept,
    ]
    const reply = await send(connection, scripts.acquire, keys, args)
    if (reply[0] !== 'stale' || tries >= staleTriesMax) return reply
  }
}

const takeFrom = (
  connection: RedisConnection,
  { job, run, leaseMs, graph, now, partsElsewhere = false }: AcquireRequest,
  from: Manifest,
  newJobId: string,
  known: boolean,
): Promise<readonly string[]> => {
  const parts = partsElsewhere ? [] : neededParts(from)
  const keys = [metaKey(job), leaseKey(job), completedKey(job), historyKey(job)]
  return send(
    connection,
    scripts.acquireFrom,
    [...keys, manifestKey(job, from.epoch), ...parts.map(part => partKey(job, part))],
    [
      run,
      milliseconds(leaseMs),
      graph,
      Math.floor(now),
      newJobId,
      job,
      flag(known),
      from.epoch,
      manifestJson({ ...from, jobId: newJobId }),
      ...factsOf(parts),
    ],
  )
}

const statusOf = (text: string | undefined): JobStatus =>
  text === 'restarting' || text === 'finished' || text === 'canceled' || text === 'failed'
    ? text
    : 'running'

const partsGone = (place: string, job: string, subtasks: readonly string[]): StreamError =>
  streamError(
    'missing',
    `Redis at ${place} does not hold the parts of ${subtasks.join(', ')} that the job ${quoted(job)} is to start from`,
    { next: 'Start it again: they are copied once more.' },
  )

const flag = (value: boolean): '1' | '0' => (value ? '1' : '0')

const pairs = (flat: readonly string[]): Readonly<Record<string, string>> => {
  const fields: [string, string][] = []
  for (let i = 0; i + 1 < flat.length; i += 2) fields.push([flat[i] ?? '', flat[i + 1] ?? ''])
  return Object.fromEntries(fields)
}
