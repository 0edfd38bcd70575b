/**
 * Snapshots on Redis: one hash per part, one field per chunk.
 *
 * Invariants
 *   RS1. A part has a TTL from its first instant; only the commit script removes it.
 *   RS2. A part is immutable: a repeated write changes nothing, other bytes never replace committed ones.
 *   RS3. What `read` answers has been verified against the digest, whole.
 *   RS4. Bytes under way are bounded, in both directions, so that no reply holds up the server for long.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'
import type { SnapshotStore } from '../../ports/job-store.js'
import type { PartRef } from '../../protocol/manifest.js'
import { partDigest } from '../digest.js'
import { partName, partProblem } from '../part.js'
import type { RedisConnection } from './connection.js'
import { attempt } from './errors.js'
import { partKey } from './keys.js'
import { runScript, storeChunk } from './scripts.js'

/** Bytes sent without an answer, or asked for in one step. */
const bytesUnderWayMax = 4 * 1024 * 1024

type Result<A> = Promise<E.Either<StreamError, A>>

/** A snapshot store over a connection with the role `snapshots`. */
export const redisSnapshotStore = (connection: RedisConnection): SnapshotStore => ({
  write: (job, part, chunks, ttlMs) =>
    attempt(connection.place, `store ${partName(job, part)}`, async () => {
      const problem = partProblem(part, chunks, ttlMs)
      return problem === undefined
        ? write(connection, job, part, chunks, Math.ceil(ttlMs))
        : E.left(streamError('invalid', `${partName(job, part)} cannot be stored: ${problem}`))
    }),
  read: (job, part) =>
    attempt(connection.place, `read ${partName(job, part)}`, () => read(connection, job, part)),
})

const write = async (
  { redis, place }: RedisConnection,
  job: string,
  part: PartRef,
  chunks: readonly Uint8Array[],
  ttlMs: number,
): Result<void> => {
  const key = partKey(job, part)
  const store = (...chunk: readonly (string | Buffer)[]) =>
    runScript(redis, storeChunk, [key], [ttlMs, part.digest, ...chunk])
  // The first command opens the part, and says whether an earlier try has stored it whole.
  const opened = await store()
  if (opened[0] === 'conflict') return E.left(conflict(place, job, part))
  if (Number(opened[1]) === chunks.length) return E.right(undefined)
  for (const [from, to] of batches(chunks)) {
    const replies = await Promise.all(
      chunks.slice(from, to).map((chunk, i) => store(`c${from + i}`, asBuffer(chunk))),
    )
    if (replies.some(([type]) => type === 'conflict')) return E.left(conflict(place, job, part))
  }
  return E.right(undefined)
}

/** Ranges of chunks that are sent together (RS4). */
const batches = (chunks: readonly Uint8Array[]): readonly (readonly [number, number])[] => {
  const ranges: [number, number][] = []
  let bytes = 0
  chunks.forEach((chunk, i) => {
    const last = ranges.at(-1)
    bytes += chunk.byteLength
    if (last === undefined || bytes > bytesUnderWayMax) {
      ranges.push([i, i + 1])
      bytes = chunk.byteLength
    } else {
      last[1] = i + 1
    }
  })
  return ranges
}

const conflict = (place: string, job: string, part: PartRef): StreamError =>
  streamError(
    'conflict',
    `${partName(job, part)} is committed in Redis at ${place} with other bytes (generation ${part.generation})`,
    { next: 'Stop this worker: it belongs to a generation that is gone.' },
  )

const read = async (
  { redis, place }: RedisConnection,
  job: string,
  part: PartRef,
): Result<readonly Uint8Array[]> => {
  const key = partKey(job, part)
  const broken = (reason: string) => E.left(corrupt(place, job, part, reason))
  const digest = await redis.hget(key, 'digest')
  if (digest === null) return E.left(missing(place, job, part))
  if (digest !== part.digest) return broken('it was stored under another digest')
  const stored = (await redis.hlen(key)) - 1
  if (stored !== part.chunks) return broken(`${stored} of ${part.chunks} chunks are there`)
  const chunks: Uint8Array[] = []
  const stepMax = Math.max(
    1,
    Math.floor((bytesUnderWayMax * part.chunks) / Math.max(1, part.bytes)),
  )
  while (chunks.length < part.chunks) {
    const count = Math.min(stepMax, part.chunks - chunks.length)
    const fields = Array.from({ length: count }, (_, i) => `c${chunks.length + i}`)
    for (const chunk of await redis.hmgetBuffer(key, ...fields)) {
      // Expired or deleted between two steps, or never stored under this name.
      if (chunk === null) {
        return (await redis.exists(key)) === 0
          ? E.left(missing(place, job, part))
          : broken(`chunk ${chunks.length} is not there`)
      }
      chunks.push(chunk)
    }
  }
  return partDigest(chunks) === part.digest
    ? E.right(chunks)
    : broken('its bytes do not match the digest')
}

const missing = (place: string, job: string, part: PartRef): StreamError =>
  streamError('missing', `${partName(job, part)} is not in Redis at ${place}`, {
    next: 'Check that nothing evicts or deletes keys there, and restore from a checkpoint that is whole.',
  })

const corrupt = (place: string, job: string, part: PartRef, reason: string): StreamError =>
  streamError('corrupt', `${partName(job, part)} in Redis at ${place} is damaged: ${reason}`, {
    next: 'Restore the Redis data from its backup, or restore from a checkpoint that is whole.',
  })

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
