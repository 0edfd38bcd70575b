/**
 * The coordinator's end of the state backend `memory`: takes parts from workers, and gives them back.
 *
 * Invariants
 *   MP1. What is held is bounded: a part has at most `stateBytesMax` bytes, and of each subtask no more
 *       than `pendingMax` parts that no checkpoint has, uploads included; the oldest makes room, where none
 *       has expired.
 *   MP2. A part is stored whole or not at all, and only if its bytes match its digest.
 *   MP3. Every question may be asked twice.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'
import type { SnapshotStore } from '../../ports/job-store.js'
import type { Answer } from '../../ports/requests.js'
import type { PartRef } from '../../protocol/manifest.js'
import { partDigest } from '../digest.js'
import {
  decodePart,
  encodePart,
  nameOfPart,
  pieceBytesMax,
  Question,
  type Reply,
  tooLarge,
} from './parts-protocol.js'

/** What a server of parts takes. */
export interface PartsServerOptions {
  /** Where whole parts are held. */
  readonly parts: SnapshotStore
  /** Lets go of a part unless a checkpoint has it. */
  readonly drop: (job: string, part: PartRef) => void
  readonly stateBytesMax: number
  /** Whether a part is held that no checkpoint has had. */
  readonly isPending: (job: string, part: PartRef) => boolean
  /** Parts of one subtask that no checkpoint has. */
  readonly pendingMax: number
}

interface Upload {
  readonly part: PartRef
  readonly sizes: readonly number[]
  readonly ttlMs: number
  readonly bytes: Buffer
  /** Pieces that have come, by where they begin. */
  readonly pieces: Set<number>
}

type Told = { readonly reply: Reply; readonly bytes?: Uint8Array }

const done: Told = { reply: { type: 'done' } }

/** Answers the questions of `parts-protocol.ts`. */
export const partsServer = (options: PartsServerOptions): Answer => {
  const server = new PartsServer(options)
  return async question => {
    const decoded = decodePart(Question, question)
    const { reply, bytes } = E.isLeft(decoded)
      ? failed(decoded.left)
      : await server.answer(decoded.right.facts, decoded.right.bytes)
    return encodePart(reply, bytes)
  }
}

class PartsServer {
  private readonly uploads = new Map<string, Upload>()
  /** By job and subtask. */
  private readonly pending = new Map<string, PartRef[]>()

  constructor(private readonly options: PartsServerOptions) {}

  async answer(question: Question, bytes: Uint8Array): Promise<Told> {
    switch (question.type) {
      case 'hello':
        return done
      case 'open':
        return this.open(question)
      case 'piece':
        return this.take(question, bytes)
      case 'close':
        return this.close(question.job, question.part)
      case 'find': {
        const chunks = await this.options.parts.read(question.job, question.part)()
        if (E.isLeft(chunks)) return failed(chunks.left)
        return { reply: { type: 'found', sizes: chunks.right.map(chunk => chunk.byteLength) } }
      }
      case 'fetch': {
        const chunks = await this.options.parts.read(question.job, question.part)()
        if (E.isLeft(chunks)) return failed(chunks.left)
        const { at } = question
        return { reply: { type: 'bytes' }, bytes: slice(chunks.right, at, at + pieceBytesMax) }
      }
    }
  }

  private open({ job, part, sizes, ttlMs }: Extract<Question, { type: 'open' }>): Told {
    const { stateBytesMax } = this.options
    const large = tooLarge(job, part, stateBytesMax)
    if (large !== undefined) return failed(large)
    const total = sizes.reduce((sum, size) => sum + size, 0)
    if (total !== part.bytes || sizes.length !== part.chunks || sizes.some(size => !(size >= 0)))
      return failed(unlike(job, part))
    this.makeRoom(job, part)
    const bytes = Buffer.alloc(part.bytes)
    this.uploads.set(keyOf(job, part), { part, sizes, ttlMs, bytes, pieces: new Set() })
    return done
  }

  private take({ job, part, at }: Extract<Question, { type: 'piece' }>, piece: Uint8Array): Told {
    const upload = this.uploads.get(keyOf(job, part))
    if (upload === undefined) return failed(unknown(job, part))
    const { bytes, pieces } = upload
    const isPiece = Number.isInteger(at) && at >= 0 && at % pieceBytesMax === 0
    const length = Math.min(pieceBytesMax, bytes.byteLength - at)
    if (!isPiece || piece.byteLength !== length) return failed(unlike(job, part))
    bytes.set(piece, at)
    pieces.add(at)
    return done
  }

  private async close(job: string, part: PartRef): Promise<Told> {
    const { parts } = this.options
    const upload = this.uploads.get(keyOf(job, part))
    if (upload === undefined) {
      // Asked a second time, because the first answer was lost: it is stored, or was never here.
      const stored = await parts.read(job, part)()
      return E.isRight(stored) ? done : failed(unknown(job, part))
    }
    const { sizes, bytes, pieces, ttlMs } = upload
    const chunks = cut(bytes, sizes)
    const isWhole = pieces.size === Math.ceil(bytes.byteLength / pieceBytesMax)
    if (!isWhole || partDigest(chunks) !== part.digest) return failed(unlike(job, part))
    const written = await parts.write(job, part, chunks, ttlMs)()
    this.uploads.delete(keyOf(job, part))
    return E.isLeft(written) ? failed(written.left) : done
  }

  /** MP1. What a checkpoint has meanwhile is not let go of. */
  private makeRoom(job: string, part: PartRef): void {
    const subtask = JSON.stringify([job, part.subtask])
    const { isPending } = this.options
    const others = (this.pending.get(subtask) ?? []).filter(other => {
      const key = keyOf(job, other)
      return key !== keyOf(job, part) && (this.uploads.has(key) || isPending(job, other))
    })
    const known = [...others, part]
    for (const old of known.splice(0, Math.max(0, known.length - this.options.pendingMax))) {
      this.uploads.delete(keyOf(job, old))
      this.options.drop(job, old)
    }
    this.pending.set(subtask, known)
  }
}

const unlike = (job: string, part: PartRef): StreamError =>
  streamError('invalid', `${nameOfPart(job, part)} is not what was announced`)

const unknown = (job: string, part: PartRef): StreamError =>
  streamError('unavailable', `${nameOfPart(job, part)} is not being written here`, {
    next: 'Nothing needs to be done: the next checkpoint writes it anew.',
  })

const keyOf = (job: string, { subtask, epoch, generation, digest }: PartRef): string =>
  JSON.stringify([job, generation, epoch, digest, subtask])

const cut = (bytes: Buffer, sizes: readonly number[]): readonly Uint8Array[] => {
  let at = 0
  return sizes.map(size => {
    at += size
    return bytes.subarray(at - size, at)
  })
}

const slice = (chunks: readonly Uint8Array[], from: number, to: number): Uint8Array =>
  Buffer.concat(chunks).subarray(from, to)

const kinds = ['invalid', 'full', 'missing', 'corrupt', 'conflict'] as const

const failed = ({ type, message, next }: StreamError): Told => ({
  reply: {
    type: 'failed',
    kind: kinds.find(kind => kind === type) ?? 'unavailable',
    message,
    next,
  },
})
