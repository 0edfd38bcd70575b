/** What every store of snapshots says of a part. */
import type { PartRef } from '../protocol/manifest.js'

/** Largest chunk that is taken, in bytes. */
export const chunkBytesMax = 1024 * 1024

/** A part in a sentence. */
export const partName = (job: string, part: PartRef): string =>
  `the snapshot of ${JSON.stringify(part.subtask)} at checkpoint ${part.epoch} of the job ${JSON.stringify(job)}`

/** Why a part cannot be stored as it is announced; undefined: it can. */
export const partProblem = (
  part: PartRef,
  chunks: readonly Uint8Array[],
  ttlMs: number,
): string | undefined => {
  if (!(ttlMs > 0)) return `its TTL is ${ttlMs} ms`
  if (chunks.length !== part.chunks) return `${chunks.length} chunks, ${part.chunks} announced`
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  if (bytes !== part.bytes) return `${bytes} bytes, ${part.bytes} announced`
  const large = chunks.find(chunk => chunk.byteLength > chunkBytesMax)
  return large === undefined
    ? undefined
    : `a chunk of ${large.byteLength} bytes, ${chunkBytesMax} are allowed`
}
