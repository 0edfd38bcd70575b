/**
 * What workers and the coordinator say to each other about parts that the coordinator holds.
 *
 * A message is a line of facts as JSON, and bytes behind it. A part travels in pieces: messages stay
 * below what NATS takes (1 MiB by default), however large a part or its chunks are.
 */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { type StreamError, streamError } from '../../errors.js'
import { PartRef } from '../../protocol/manifest.js'

/** Largest piece of a part in one message. */
export const pieceBytesMax = 512 * 1024

/** What a worker asks. */
export const Question = t.union([
  /** Begins to write a part. */
  t.strict({
    type: t.literal('open'),
    job: t.string,
    part: PartRef,
    sizes: t.readonlyArray(t.number),
    ttlMs: t.number,
  }),
  /** The bytes of the part from `at` on. */
  t.strict({ type: t.literal('piece'), job: t.string, part: PartRef, at: t.number }),
  /** All pieces were sent. */
  t.strict({ type: t.literal('close'), job: t.string, part: PartRef }),
  /** How large the chunks of a stored part are. */
  t.strict({ type: t.literal('find'), job: t.string, part: PartRef }),
  /** Bytes of a stored part from `at` on, as many as a piece has. */
  t.strict({ type: t.literal('fetch'), job: t.string, part: PartRef, at: t.number }),
  /** Whether there is a coordinator. */
  t.strict({ type: t.literal('hello') }),
])
export type Question = t.TypeOf<typeof Question>

/** What the coordinator answers. */
export const Reply = t.union([
  t.strict({ type: t.literal('done') }),
  t.strict({ type: t.literal('found'), sizes: t.readonlyArray(t.number) }),
  /** With the bytes behind it. */
  t.strict({ type: t.literal('bytes') }),
  t.strict({
    type: t.literal('failed'),
    kind: t.keyof({ invalid: 0, full: 0, missing: 0, corrupt: 0, conflict: 0, unavailable: 0 }),
    message: t.string,
    next: t.union([t.string, t.undefined]),
  }),
])
export type Reply = t.TypeOf<typeof Reply>

const newline = 10
const noBytes = new Uint8Array(0)

/** A message as bytes. */
export const encodePart = (facts: Question | Reply, bytes: Uint8Array = noBytes): Uint8Array =>
  Buffer.concat([Buffer.from(`${JSON.stringify(facts)}\n`, 'utf8'), bytes])

/** A message read: its facts, and the bytes behind them. */
export const decodePart = <A>(
  codec: t.Type<A, unknown>,
  message: Uint8Array,
): E.Either<StreamError, { readonly facts: A; readonly bytes: Uint8Array }> => {
  const end = message.indexOf(newline)
  const decoded = codec.decode(parsed(Buffer.from(message.subarray(0, Math.max(0, end)))))
  return E.isRight(decoded)
    ? E.right({ facts: decoded.right, bytes: message.subarray(end + 1) })
    : E.left(streamError('corrupt', 'a message about parts of a snapshot cannot be read'))
}

const parsed = (json: Buffer): unknown => {
  try {
    return JSON.parse(json.toString('utf8'))
  } catch {
    return undefined // The codec says that it is none of these messages.
  }
}

/** A snapshot in words. */
export const nameOfPart = (job: string, part: PartRef): string =>
  `the snapshot of ${JSON.stringify(part.subtask)} at checkpoint ${part.epoch} of the job ${JSON.stringify(job)}`

/** A state that is too large for the coordinator's memory; undefined when it is not. */
export const tooLarge = (job: string, part: PartRef, bytesMax: number): StreamError | undefined =>
  part.bytes <= bytesMax
    ? undefined
    : streamError(
        'full',
        `${nameOfPart(job, part)} has ${part.bytes} bytes, and the state backend 'memory' takes ${bytesMax} of a subtask`,
        {
          next: "Raise it with .stateBackend({ type: 'memory', stateBytesMax }), use more subtasks, or keep state in 'fs' or 'redis'.",
        },
      )
