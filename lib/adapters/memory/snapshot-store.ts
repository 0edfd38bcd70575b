/** Snapshots in memory. Mirrors what `lib/adapters/redis/snapshot-store.ts` promises. */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamErrorType, streamError } from '../../errors.js'
import type { SnapshotStore } from '../../ports/job-store.js'
import type { PartRef } from '../../protocol/manifest.js'
import { partDigest } from '../digest.js'
import type { Answer, AskData, JobData } from './job-data.js'

const chunkBytesMax = 1024 * 1024

/** A snapshot store on data in memory. */
export const memorySnapshotStore = (data: JobData, ask: AskData): SnapshotStore => ({
  write: (job, part, chunks, ttlMs) => {
    const request = `write ${part.subtask} ${part.epoch}`
    if (isUnlike(part, chunks, ttlMs))
      return async () => failed('invalid', job, part, 'is not what was announced')
    const copies = chunks.map(chunk => chunk.slice())
    return ask(request, 'memory', torn => write(data, job, part, copies, ttlMs, torn))
  },
  read: (job, part) =>
    ask(`read ${part.subtask} ${part.epoch}`, 'data', () => read(data, job, part)),
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

const isUnlike = (part: PartRef, chunks: readonly Uint8Array[], ttlMs: number): boolean =>
  !(ttlMs > 0) ||
  chunks.length !== part.chunks ||
  chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0) !== part.bytes ||
  chunks.some(chunk => chunk.byteLength > chunkBytesMax)

/** Opens the part, then adds its chunks: only some of them when the write is torn. */
const write = (
  data: JobData,
  job: string,
  part: PartRef,
  chunks: readonly Uint8Array[],
  ttlMs: number,
  torn: boolean,
): Answer<void> => {
  const key = data.names.part(job, part)
  const there = data.parts.get(key)
  const isSame = there?.digest === part.digest
  if (there !== undefined && !isSame && data.parts.ttl(key) === undefined)
    return failed('conflict', job, part, 'is committed with other bytes')
  const stored = isSame ? there : { digest: part.digest, chunks: new Map<number, Uint8Array>() }
  // The TTL of a part counts from its first instant.
  if (!isSame) data.parts.set(key, stored, Math.ceil(ttlMs))
  const count = torn ? chunks.length >> 1 : chunks.length
  for (const [i, chunk] of chunks.slice(0, count).entries()) stored.chunks.set(i, chunk)
  return E.right(undefined)
}

const read = (data: JobData, job: string, part: PartRef): Answer<readonly Uint8Array[]> => {
  const stored = data.parts.get(data.names.part(job, part))
  if (stored === undefined) return failed('missing', job, part, 'is not there')
  const chunks = [...stored.chunks.values()].map(chunk => chunk.slice())
  const whole =
    stored.digest === part.digest &&
    chunks.length === part.chunks &&
    partDigest(chunks) === part.digest
  return whole ? E.right(chunks) : failed('corrupt', job, part, 'does not match its digest')
}
