/**
 * The bytes that leave a job: what a sink publishes and what a dead letter keeps.
 *
 * Everything is checked here, before it is part of a checkpoint: behind a record that can never be
 * published, an output would be stuck for ever.
 */
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, SluiceError, streamError } from '../lib/errors.js'
import type { Vertex } from '../lib/job/graph.js'
import type { EventLog } from '../lib/ports/event-log.js'
import type { RecordCodec } from '../lib/ports/record-codec.js'

type SinkCodec = Extract<Vertex, { type: 'sink' }>['codec']

const encoder = new TextEncoder()
/** Room for our headers in a message, and for a section's own bytes in a chunk. */
const envelopeBytesMax = 4 * 1024
const chunkBytesMax = 1024 * 1024
const reasonCharsMax = 4 * 1024

/** The largest record that both a message and a snapshot's chunk can hold. */
export const recordBytesMaxOf = ({ payloadBytesMax }: EventLog): number =>
  Math.min(payloadBytesMax, chunkBytesMax) - envelopeBytesMax

/** A record as a sink publishes it. Throws a `SluiceError` for what JSON or a message cannot hold. */
export const sinkPayload = (
  sink: string,
  codec: SinkCodec,
  record: unknown,
  bytesMax: number,
): Uint8Array => {
  const payload = encoder.encode(sinkText(sink, codec, record))
  if (payload.byteLength > bytesMax) throw tooLarge(sink, payload.byteLength, bytesMax)
  return payload
}

const sinkText = (sink: string, codec: SinkCodec, record: unknown): string => {
  let text: string | undefined
  try {
    text = JSON.stringify(codec === undefined ? record : codec.encode(record))
  } catch (thrown) {
    throw notJson(sink, `a record that JSON cannot hold: ${messageOf(thrown)}`)
  }
  if (text === undefined) throw notJson(sink, `a ${typeof record}, which JSON cannot hold`)
  return text
}

/** What is known of a record that was set aside. */
export interface DeadLetter {
  readonly operator: string
  readonly reason: string
  /** Base64, where the record came as bytes. */
  readonly raw?: string
  readonly record?: unknown
  readonly [fact: string]: unknown
}

/**
 * A dead letter's bytes. Bad input must not stop the job by being large, or by being nothing that JSON
 * can hold: the record is then kept as the bytes it would have on a channel, or left out with the
 * reason, and its place in the source stays known.
 */
export const deadLetterPayload = (
  letter: DeadLetter,
  codec: RecordCodec,
  bytesMax: number,
): Uint8Array => {
  const { record, raw, ...facts } = letter
  const known = { ...facts, reason: letter.reason.slice(0, reasonCharsMax) }
  const whole = E.tryCatch(() => JSON.stringify({ ...known, raw, record }), messageOf)
  const bytes = E.isRight(whole) ? undefined : codec.serialize(record)
  const text = E.isRight(whole)
    ? whole.right
    : bytes !== undefined && E.isRight(bytes)
      ? JSON.stringify({
          ...known,
          raw: Buffer.from(bytes.right).toString('base64'),
          encoding: 'v8',
        })
      : JSON.stringify({ ...known, omitted: E.isLeft(whole) ? whole.left : '' })
  const payload = encoder.encode(text)
  if (payload.byteLength <= bytesMax) return payload
  return encoder.encode(
    JSON.stringify({ ...known, omitted: `${payload.byteLength} bytes are too many` }),
  )
}

/** An output holds more than it may while it waits for a checkpoint to complete. */
export const tooMuchPending = (output: string, bytesMax: number): SluiceError =>
  new SluiceError(
    streamError(
      'full',
      `sink '${output}' holds more than ${bytesMax} bytes that wait for a checkpoint to complete`,
      { next: "Checkpoint more often, or raise the job's limit 'sinkPendingBytesMax'." },
    ),
  )

const tooLarge = (sink: string, bytes: number, bytesMax: number): SluiceError =>
  new SluiceError(
    streamError('full', `sink '${sink}' got a record of ${bytes} bytes, ${bytesMax} are possible`, {
      next: 'Make the records smaller.',
    }),
  )

const notJson = (sink: string, what: string): SluiceError =>
  new SluiceError(
    streamError('invalid', `sink '${sink}' got ${what}`, {
      next: 'Emit an object, an array, a string, a number, a boolean or null.',
    }),
  )
