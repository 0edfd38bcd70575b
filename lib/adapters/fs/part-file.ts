/**
 * What is in a part's file: one line that says what it is, one line of facts as JSON, then the chunks,
 * one behind the other.
 */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import type { StoredPart } from '../../protocol/manifest.js'

const firstLine = 'sluice part 1\n'

/** Facts of a part's file. `sizes` are those of its chunks, in bytes. */
export const PartHeader = t.readonly(
  t.strict({
    job: t.string,
    subtask: t.string,
    epoch: t.number,
    generation: t.number,
    digest: t.string,
    sizes: t.readonlyArray(t.number),
    /** While no checkpoint names it, the part may be removed so long after it was written. */
    ttlMs: t.number,
  }),
)
export type PartHeader = t.TypeOf<typeof PartHeader>

/** The facts, and how many bytes they take at the beginning of the file. */
export interface ParsedHeader {
  readonly header: PartHeader
  readonly bytes: number
}

/** The first bytes of a part's file. */
export const encodeHeader = (
  job: string,
  part: StoredPart,
  chunks: readonly Uint8Array[],
  ttlMs: number,
): Buffer => {
  const { subtask, epoch, generation, digest } = part
  const sizes = chunks.map(chunk => chunk.byteLength)
  const header: PartHeader = { job, subtask, epoch, generation, digest, sizes, ttlMs }
  return Buffer.from(`${firstLine}${JSON.stringify(header)}\n`, 'utf8')
}

/**
 * Reads the facts from the beginning of a file: `more` when they go on behind what was given,
 * undefined when this is no part.
 */
export const parseHeader = (start: Buffer): ParsedHeader | 'more' | undefined => {
  const known = start.subarray(0, firstLine.length).toString('latin1')
  if (!firstLine.startsWith(known)) return undefined
  const end = start.indexOf('\n', firstLine.length)
  if (known.length < firstLine.length || end < 0) return 'more'
  const decoded = PartHeader.decode(parsedJson(start.toString('utf8', firstLine.length, end)))
  return E.isRight(decoded) ? { header: decoded.right, bytes: end + 1 } : undefined
}

/** What JSON says; undefined when it is none. */
export const parsedJson = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return undefined // Not what this module has written, which the codec says.
  }
}

/** How long the whole file must be. */
export const fileBytes = ({ header, bytes }: ParsedHeader): number =>
  header.sizes.reduce((sum, size) => sum + size, bytes)

/** Whether a file's facts are those of the part. */
export const isOf = (header: PartHeader, job: string, part: StoredPart): boolean =>
  header.job === job &&
  header.subtask === part.subtask &&
  header.epoch === part.epoch &&
  header.generation === part.generation &&
  header.digest === part.digest &&
  header.sizes.length === part.chunks
