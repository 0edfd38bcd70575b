/**
 * Where a source stands, and whether it may go on from there.
 *
 * Invariants
 *   SP1. A restored source goes on at offset + 1 or not at all: never past a hole, never before it (P12).
 *   SP2. A stream is the same one only if its creation time is; a message is, only if its hash is: a broker
 *       that lost its tail hands out the same sequence numbers again.
 */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { type StreamError, streamError } from '../errors.js'

/** Where a source stands in a stream, and which stream that was. */
export const JetStreamPosition = t.readonly(
  t.strict({
    type: t.literal('jetstream'),
    stream: t.string,
    createdAt: t.string,
    /** Last sequence that was read; undefined: none, start as configured. */
    offset: t.union([t.undefined, t.number]),
    /** Hash of the message at the offset; undefined: no message was read yet. */
    hash: t.union([t.undefined, t.string]),
    /** Last sequence that a bounded source reads. */
    end: t.union([t.undefined, t.number]),
  }),
)
export type JetStreamPosition = t.TypeOf<typeof JetStreamPosition>

/** How many records were taken from an iterable, and whether that was all: it is not opened again. */
export const IterablePosition = t.readonly(
  t.strict({
    type: t.literal('iterable'),
    offset: t.number,
    ended: t.union([t.undefined, t.boolean]),
  }),
)
export type IterablePosition = t.TypeOf<typeof IterablePosition>

/** Where any source stands. */
export const SourcePosition = t.union([JetStreamPosition, IterablePosition])
export type SourcePosition = t.TypeOf<typeof SourcePosition>

/** What was observed of a stream when its source was restored. */
export interface ObservedStream {
  readonly createdAt: string
  readonly firstSequence: number
  readonly lastSequence: number
  /** Hash of the message at the position's offset; undefined when it is no longer stored. */
  readonly hashAtOffset: string | undefined
}

const startAfresh =
  'Restore the stream from a backup; or, to give up the state and start from nothing, run the job with --fresh.'

/** Whether the stream is still the one that the position was taken on, with everything after it. */
export const verifyPosition = (
  position: JetStreamPosition,
  observed: ObservedStream,
): E.Either<StreamError, void> => {
  const { stream, offset } = position
  const lost = (what: string): E.Either<StreamError, void> =>
    E.left(streamError('lost', `stream '${stream}' ${what}`, { next: startAfresh }))
  if (observed.createdAt !== position.createdAt) {
    return lost(
      `was created at ${observed.createdAt}, but the checkpoint was taken on one created at ${position.createdAt}: it was made again`,
    )
  }
  if (offset === undefined) return E.right(undefined)
  if (observed.lastSequence < offset) {
    return lost(
      `ends at ${observed.lastSequence}, below the checkpoint's offset ${offset}: the server lost data`,
    )
  }
  if (observed.firstSequence > offset + 1) {
    return lost(
      `begins at ${observed.firstSequence}, but the checkpoint goes on at ${offset + 1}: messages were removed before they were processed`,
    )
  }
  const { hashAtOffset } = observed
  if (position.hash !== undefined && hashAtOffset !== undefined && hashAtOffset !== position.hash) {
    return lost(
      `holds another message at ${offset} than the one that was processed: the server lost its tail`,
    )
  }
  return E.right(undefined)
}
