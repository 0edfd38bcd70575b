/** Reads of the job store: records, lists and manifests, without a claim. */
import * as E from 'fp-ts/lib/Either.js'
import type { StreamError } from '../../errors.js'
import type { JobRecord } from '../../ports/job-store.js'
import { type Manifest, neededParts } from '../../protocol/manifest.js'
import type { RedisConnection } from './connection.js'
import { jobsKey, leaseKey, manifestKey, metaKey, partKey } from './keys.js'
import { decodeManifest, decodeMeta, jobRecord, type Meta } from './records.js'
import { lostPointer } from './refusals.js'

type Result<A> = Promise<E.Either<StreamError, A>>

/**
 * Describes a job without a claim. A commit may swap the pointer between two reads, so that a missing
 * manifest counts only if the pointer still names it.
 */
export const describe = async (
  connection: RedisConnection,
  job: string,
): Result<JobRecord | undefined> => {
  const { redis, place } = connection
  const key = metaKey(job)
  let missed: number | undefined
  for (;;) {
    const fields = await redis.hgetall(key)
    if (Object.keys(fields).length === 0) return E.right(undefined)
    const meta = decodeMeta(place, key, fields)
    if (E.isLeft(meta)) return meta
    const latest = await latestOf(connection, meta.right)
    const heldBy = (await redis.get(leaseKey(job))) ?? undefined
    if (E.isRight(latest)) return E.right(jobRecord(meta.right, latest.right, heldBy))
    if (latest.left.type !== 'lost' || missed === meta.right.latest) return latest
    missed = meta.right.latest
  }
}

/** A job that cannot be described whole is listed with the reason, so that it does not hide the others. */
export const list = async (connection: RedisConnection): Result<readonly JobRecord[]> => {
  await prune(connection)
  const records: JobRecord[] = []
  for (const job of await connection.redis.zrange(jobsKey, '0', '-1')) {
    const described = await describe(connection, job)
    if (E.isRight(described)) {
      if (described.right !== undefined) records.push(described.right)
      continue
    }
    const meta = decodeMeta(
      connection.place,
      metaKey(job),
      await connection.redis.hgetall(metaKey(job)),
    )
    if (E.isLeft(meta)) return described
    records.push(jobRecord({ ...meta.right, reason: described.left.message }, undefined, undefined))
  }
  return E.right(records)
}

/** Forgets the names of jobs whose keys have expired. A job that lives again has no end to its name. */
export const prune = async (connection: RedisConnection): Promise<void> => {
  await connection.redis.zremrangebyscore(jobsKey, '-inf', String(await serverTime(connection)))
}

/** The server's clock, in milliseconds since 1970: the one that its TTLs follow. */
export const serverTime = async ({ redis }: RedisConnection): Promise<number> => {
  const [seconds, microseconds] = await redis.time()
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000)
}

/** The manifest that a record points to. */
export const latestOf = async (
  { redis, place }: RedisConnection,
  { job, latest, completed }: Meta,
): Result<Manifest | undefined> => {
  if (latest === undefined) {
    return completed > 0 ? E.left(lostPointer(place, job, undefined)) : E.right(undefined)
  }
  const key = manifestKey(job, latest)
  const json = await redis.get(key)
  return json === null ? E.left(lostPointer(place, job, latest)) : decodeManifest(place, key, json)
}

/** Keys of a completed checkpoint's parts. None when its manifest cannot be read: nothing is deleted on doubt. */
export const partsOf = async (
  { redis, place }: RedisConnection,
  job: string,
  epoch: number | undefined,
): Promise<readonly string[]> => {
  if (epoch === undefined) return []
  const key = manifestKey(job, epoch)
  const json = await redis.get(key)
  if (json === null) return []
  const manifest = decodeManifest(place, key, json)
  return E.isRight(manifest) ? neededParts(manifest.right).map(part => partKey(job, part)) : []
}
