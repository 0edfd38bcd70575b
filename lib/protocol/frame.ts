/**
 * The binary frame: what one message on a channel looks like.
 *
 *   all      0 magic · 1 version · 2 type · 3 flags · 4–7 generation · 8–15 number · 16–19 length
 *            of the body
 *   data     20–27 first record · 28–31 records
 *   barrier  20–27 epoch · 28–35 triggered at (flag bit 0: final)
 *   end      nothing more
 *
 * All integers are big-endian; 8-byte ones hold at most 53 bits. The body follows the header.
 *
 * Invariants
 *   F1. What `encodeFrame` wrote, `decodeFrame` reads back, byte for byte.
 *   F2. `decodeFrame` never throws: every other input is an error value. The length of the body is
 *       in the header, so that a frame cut anywhere, or with bytes after its end, is refused.
 *   F3. A decoded body is a view of the input: nothing is copied on the way in.
 */
import { type Either, left, right } from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../errors.js'
import { invariant } from '../invariant.js'
import type { Epoch, Generation } from './ids.js'

interface Numbered {
  readonly generation: Generation
  /** Place in its channel, from 1 in every generation. */
  readonly number: number
}

/** A batch of records; how the body encodes them is not the frame's concern. */
export interface DataHeader extends Numbered {
  readonly type: 'data'
  /** Number of the batch's first record on this channel. */
  readonly firstRecord: number
  readonly records: number
}

/** Separates the records of an epoch from those of the next. */
export interface BarrierHeader extends Numbered {
  readonly type: 'barrier'
  readonly epoch: Epoch
  /** No record follows on this channel. */
  readonly final: boolean
  /** Wall clock of the trigger, ms since 1970: for people, never for decisions. */
  readonly triggeredAt: number
}

/** The channel's last frame. */
export interface EndHeader extends Numbered {
  readonly type: 'end'
}

/** What a frame says about itself. */
export type FrameHeader = DataHeader | BarrierHeader | EndHeader

/** A decoded frame. */
export interface Frame {
  readonly header: FrameHeader
  /** A view of the bytes that were decoded. */
  readonly body: Uint8Array
}

/** Size of each header in bytes. */
export const frameHeaderBytes = { data: 32, barrier: 36, end: 20 } as const

const magic = 0xf5
const version = 2
const commonBytes = 20
const typeCodes = { data: 1, barrier: 2, end: 3 } as const
const finalFlag = 1
const uint32Max = 0xffff_ffff
const highWordMax = 0x1f_ffff // the upper 21 of 53 bits

/** Writes one frame. A header that holds no valid integers is a defect and throws. */
export const encodeFrame = (header: FrameHeader, body: Uint8Array): Uint8Array => {
  const headerBytes = frameHeaderBytes[header.type]
  const bytes = new Uint8Array(headerBytes + body.byteLength)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, magic)
  view.setUint8(1, version)
  view.setUint8(2, typeCodes[header.type])
  writeUint32(view, 4, header.generation)
  writeUint53(view, 8, header.number)
  writeUint32(view, 16, body.byteLength)
  if (header.type === 'data') {
    writeUint53(view, 20, header.firstRecord)
    writeUint32(view, 28, header.records)
  } else if (header.type === 'barrier') {
    view.setUint8(3, header.final ? finalFlag : 0)
    writeUint53(view, 20, header.epoch)
    writeUint53(view, 28, header.triggeredAt)
  }
  bytes.set(body, headerBytes)
  return bytes
}

/** Reads one frame. The error is `corrupt`: cut short, too long, or of a version unknown here. */
export const decodeFrame = (bytes: Uint8Array): Either<StreamError, Frame> => {
  if (bytes.byteLength < commonBytes)
    return corrupt(`${bytes.byteLength} bytes hold no frame header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint8(0) !== magic) return corrupt(`its first byte is ${view.getUint8(0)}`)
  if (view.getUint8(1) !== version) return unknownVersion(view.getUint8(1))
  const type = typeOfCode(view.getUint8(2))
  if (type === undefined) return corrupt(`type ${view.getUint8(2)} is unknown`)
  const headerBytes = frameHeaderBytes[type]
  const expected = headerBytes + view.getUint32(16)
  if (bytes.byteLength !== expected) {
    return corrupt(`it has ${bytes.byteLength} bytes, and its header promises ${expected}`)
  }
  const header = readHeader(view, type)
  if (header === undefined) return corrupt('a number in its header is out of range')
  return right({ header, body: bytes.subarray(headerBytes) })
}

const readHeader = (view: DataView, type: FrameHeader['type']): FrameHeader | undefined => {
  const generation = view.getUint32(4)
  const number = readUint53(view, 8)
  const flags = view.getUint8(3)
  if (number === undefined || flags > (type === 'barrier' ? finalFlag : 0)) return undefined
  if (type === 'end') return { type, generation, number }
  const first = readUint53(view, 20)
  if (first === undefined) return undefined
  if (type === 'data') {
    return { type, generation, number, firstRecord: first, records: view.getUint32(28) }
  }
  const triggeredAt = readUint53(view, 28)
  if (triggeredAt === undefined) return undefined
  return { type, generation, number, epoch: first, final: flags === finalFlag, triggeredAt }
}

const typeOfCode = (code: number): FrameHeader['type'] | undefined => {
  switch (code) {
    case typeCodes.data:
      return 'data'
    case typeCodes.barrier:
      return 'barrier'
    case typeCodes.end:
      return 'end'
    default:
      return undefined
  }
}

const writeUint32 = (view: DataView, at: number, value: number): void => {
  const fits = Number.isInteger(value) && value >= 0 && value <= uint32Max
  invariant(fits, 'F1', `${value} at byte ${at} is no 32-bit integer`)
  view.setUint32(at, value)
}

const writeUint53 = (view: DataView, at: number, value: number): void => {
  const fits = Number.isSafeInteger(value) && value >= 0
  invariant(fits, 'F1', `${value} at byte ${at} is no 53-bit integer`)
  view.setUint32(at, Math.floor(value / 2 ** 32))
  view.setUint32(at + 4, value % 2 ** 32)
}

const readUint53 = (view: DataView, at: number): number | undefined => {
  const high = view.getUint32(at)
  return high > highWordMax ? undefined : high * 2 ** 32 + view.getUint32(at + 4)
}

const corrupt = (fact: string): Either<StreamError, never> =>
  left(streamError('corrupt', `A message on a channel is no valid frame: ${fact}.`))

const unknownVersion = (found: number): Either<StreamError, never> =>
  left(
    streamError('corrupt', `A frame has version ${found}; this process reads version ${version}.`, {
      next: 'Run every process of the job with the same version of sluice.',
    }),
  )
