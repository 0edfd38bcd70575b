/**
 * Snapshots that the coordinator holds, as a worker sees them: sent and fetched in pieces, one question
 * after the other.
 *
 * Invariants
 *   MR1. A part above the limit is refused before a byte of it is sent.
 *   MR2. What `read` answers has been verified against the digest, whole, after it has travelled.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'
import type { SnapshotStore } from '../../ports/job-store.js'
import type { Ask } from '../../ports/requests.js'
import type { PartRef } from '../../protocol/manifest.js'
import { partDigest } from '../digest.js'
import {
  decodePart,
  encodePart,
  nameOfPart,
  pieceBytesMax,
  type Question,
  Reply,
  tooLarge,
} from './parts-protocol.js'

type Result<A> = Promise<E.Either<StreamError, A>>

/** A snapshot store at the other end of `ask`. */
export const remoteSnapshotStore = (ask: Ask, stateBytesMax: number): SnapshotStore => ({
  write: (job, given, chunks, ttlMs) => async () => {
    // What it builds on would be in every piece.
    const { bases: _, ...part } = given
    const large = tooLarge(job, part, stateBytesMax)
    if (large !== undefined) return E.left(large)
    const bytes = Buffer.concat(chunks)
    const sizes = chunks.map(chunk => chunk.byteLength)
    const opened = await say(ask, job, { type: 'open', job, part, sizes, ttlMs })
    if (E.isLeft(opened)) return opened
    for (let at = 0; at < bytes.byteLength; at += pieceBytesMax) {
      const piece = bytes.subarray(at, at + pieceBytesMax)
      const sent = await say(ask, job, { type: 'piece', job, part, at }, piece)
      if (E.isLeft(sent)) return sent
    }
    return E.map(() => undefined)(await say(ask, job, { type: 'close', job, part }))
  },
  read: (job, part) => () => read(ask, job, part),
})

const read = async (ask: Ask, job: string, part: PartRef): Result<readonly Uint8Array[]> => {
  const found = await say(ask, job, { type: 'find', job, part })
  if (E.isLeft(found)) return found
  const { reply } = found.right
  if (reply.type !== 'found') return E.left(unexpected(job, part))
  const pieces: Uint8Array[] = []
  const total = reply.sizes.reduce((sum, size) => sum + size, 0)
  for (let at = 0; at < total; at += pieceBytesMax) {
    const fetched = await say(ask, job, { type: 'fetch', job, part, at })
    if (E.isLeft(fetched)) return fetched
    pieces.push(fetched.right.bytes)
  }
  const bytes = Buffer.concat(pieces)
  let at = 0
  const chunks = reply.sizes.map(size => {
    const chunk = bytes.subarray(at, at + size)
    at += size
    return chunk
  })
  return partDigest(chunks) === part.digest
    ? E.right(chunks)
    : E.left(
        streamError('corrupt', `${nameOfPart(job, part)} came damaged from the coordinator`, {
          next: 'Start the job again; if it comes again, start it with --fresh.',
        }),
      )
}

const unexpected = (job: string, part: PartRef): StreamError =>
  streamError('corrupt', `the coordinator's answer about ${nameOfPart(job, part)} is of no use`, {
    next: 'Run one version of sluice in all processes of a job.',
  })

const say = async (
  ask: Ask,
  job: string,
  question: Question,
  bytes?: Uint8Array,
): Result<{ readonly reply: Reply; readonly bytes: Uint8Array }> => {
  const answered = await ask(encodePart(question, bytes))()
  if (E.isLeft(answered)) return E.left(unheard(job, answered.left))
  const decoded = decodePart(Reply, answered.right)
  if (E.isLeft(decoded)) return decoded
  const { facts, bytes: behind } = decoded.right
  if (facts.type !== 'failed') return E.right({ reply: facts, bytes: behind })
  const { kind, message, next } = facts
  return E.left(streamError(kind, message, next === undefined ? {} : { next }))
}

/** Nobody there is no loss: the coordinator may be about to start. */
const unheard = (job: string, error: StreamError): StreamError =>
  error.type === 'missing'
    ? streamError(
        'unavailable',
        `no coordinator of the job ${JSON.stringify(job)} holds snapshots in its memory`,
        { next: 'Start the coordinator; all processes of a job must have the same state backend.' },
      )
    : error
