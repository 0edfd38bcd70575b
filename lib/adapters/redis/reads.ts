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

/** What a record says of kept checkpoints, as it is written there: a step is refused if it has changed. */
export interface Seen {
  readonly latest: string
  readonly kept: string
}

/** Ids of the kept checkpoints, newest first. A record of an older version names the newest only. */
export const keptEpochs = ({ latest, kept }: Seen): readonly number[] => {
  const epochs = kept === '' ? [] : kept.split(',').map(Number)
  if (latest === '' || epochs[0] === Number(latest)) return epochs
  return [Number(latest)]
}

/** Manifests by id, as far as they are there and can be read. */
export const manifestsOf = async (
  connection: RedisConnection,
  job: string,
  epochs: readonly number[],
): Promise<ReadonlyMap<number, Manifest>> =>
  (await manifestsAndFaults(connection, job, epochs)).found

/** The same, with why those that are there could not be read. */
const manifestsAndFaults = async (
  { redis, place }: RedisConnection,
  job: string,
  epochs: readonly number[],
): Promise<{
  readonly found: ReadonlyMap<number, Manifest>
  readonly faults: readonly StreamError[]
}> => {
  const found = new Map<number, Manifest>()
  const faults: StreamError[] = []
  if (epochs.length === 0) return { found, faults }
  const keys = epochs.map(epoch => manifestKey(job, epoch))
  const texts = await redis.mget(keys)
  epochs.forEach((epoch, i) => {
    const text = texts[i] ?? undefined
    if (text === undefined) return
    const manifest = decodeManifest(place, keys[i] ?? '', text)
    if (E.isRight(manifest)) found.set(epoch, manifest.right)
    else faults.push(manifest.left)
  })
  return { found, faults }
}

/** Keys of the manifests and parts of checkpoints. A manifest that cannot be read names no parts. */
export const keysOf = async (
  connection: RedisConnection,
  job: string,
  epochs: readonly number[],
): Promise<readonly string[]> => {
  const manifests = await manifestsOf(connection, job, epochs)
  const parts = [...manifests.values()].flatMap(manifest =>
    neededParts(manifest).map(part => partKey(job, part)),
  )
  return [...epochs.map(epoch => manifestKey(job, epoch)), ...new Set(parts)]
}

/** The checkpoints that a job keeps, newest first, and those that its earlier lives have left. */
export const checkpoints = async (
  connection: RedisConnection,
  job: string,
  { strict = false }: { readonly strict?: boolean } = {},
): Result<readonly Manifest[]> => {
  const fields = await connection.redis.hmget(metaKey(job), 'latest', 'kept', 'retained')
  const [latest, kept, retained] = fields.map(field => field ?? '')
  const left = keptEpochs({ latest: '', kept: retained ?? '' })
  const epochs = [...keptEpochs({ latest: latest ?? '', kept: kept ?? '' }), ...left]
  const { found, faults } = await manifestsAndFaults(connection, job, epochs)
  const [fault] = faults
  if (strict && fault !== undefined) return E.left(fault)
  return E.right(epochs.flatMap(epoch => found.get(epoch) ?? []))
}
