/** Snapshots of one process on a Redis in memory. Mirrors what `lib/adapters/redis` promises. */
import * as E from 'fp-ts/lib/Either.js'
import { partDigest } from '../../lib/adapters/digest.js'
import { type StreamErrorType, streamError } from '../../lib/errors.js'
import type { SnapshotStore } from '../../lib/ports/job-store.js'
import type { PartRef } from '../../lib/protocol/manifest.js'
import type { Answer } from './memory-broker.js'
import { type MemoryRedis, partKey } from './memory-redis.js'
import type { MemoryWire } from './memory-wire.js'

const chunkBytesMax = 1024 * 1024

export const memorySnapshotStore = (redis: MemoryRedis, wire: MemoryWire): SnapshotStore => ({
  write: (job, part, chunks, ttlMs) => {
    const copies = chunks.map(chunk => chunk.slice())
    return redis.ask(wire, `write ${part.subtask} ${part.epoch}`, 'memory', () =>
      write(redis, job, part, copies, ttlMs),
    )
  },
  read: (job, part) =>
    redis.ask(wire, `read ${part.subtask} ${part.epoch}`, 'data', () => read(redis, job, part)),
})

const failed = (
  type: StreamErrorType,
  job: string,
  part: PartRef,
  what: string,
): E.Either<ReturnType<typeof streamError>, never> =>
  E.left(
    streamError(
      type,
      `the snapshot of ${JSON.stringify(part.subtask)} at checkpoint ${part.epoch} of the job ${JSON.stringify(job)} ${what}`,
    ),
  )

const write = (
  redis: MemoryRedis,
  job: string,
  part: PartRef,
  chunks: readonly Uint8Array[],
  ttlMs: number,
): Answer<void> => {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  const invalid =
    !(ttlMs > 0) ||
    chunks.length !== part.chunks ||
    bytes !== part.bytes ||
    chunks.some(chunk => chunk.byteLength > chunkBytesMax)
  if (invalid) return failed('invalid', job, part, 'is not what was announced')
  const key = partKey(job, part)
  const there = redis.parts.get(key)
  if (there !== undefined && there.digest !== part.digest && redis.parts.ttl(key) === undefined)
    return failed('conflict', job, part, 'is committed with other bytes')
  if (there?.digest === part.digest) return E.right(undefined)
  const stored = { digest: part.digest, chunks: new Map([...chunks.entries()]) }
  redis.parts.set(key, stored, Math.ceil(ttlMs))
  return E.right(undefined)
}

const read = (redis: MemoryRedis, job: string, part: PartRef): Answer<readonly Uint8Array[]> => {
  const stored = redis.parts.get(partKey(job, part))
  if (stored === undefined) return failed('missing', job, part, 'is not there')
  const chunks = [...stored.chunks.values()].map(chunk => chunk.slice())
  const whole =
    stored.digest === part.digest &&
    chunks.length === part.chunks &&
    partDigest(chunks) === part.digest
  return whole ? E.right(chunks) : failed('corrupt', job, part, 'does not match its digest')
}
