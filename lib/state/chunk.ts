/**
 * Binary layout of a snapshot's chunks. Decides how items are laid into chunks and what a chunk must
 * verify against; what the items mean is `snapshot.ts`'s.
 *
 * A chunk is a preamble of 20 bytes and items, all numbers big-endian:
 *
 *   0  4  magic `SLSN`           12  4  bytes of items
 *   4  2  format version         16  4  CRC-32 of bytes 0 to 15 and of all items
 *   6  2  1: the last chunk      20  …  items
 *   8  4  index, from 0
 *
 * An item is its section (2), its key group (4), its length (4) and its bytes.
 *
 * Invariants
 *   CH1. The preamble keeps this layout in every format version: a corrupt chunk and a chunk of a newer
 *       format are told apart, because the checksum is verified before the version is believed.
 *   CH2. A chunk that is missing, repeated or out of place is noticed: indexes count up from 0 without a
 *       gap, and exactly the final chunk says that it is the last.
 *   CH3. A chunk exceeds its limit only when it holds a single item.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../errors.js'
import type { KeyGroup } from '../protocol/ids.js'
import { crc32 } from './crc32.js'

/** Newest version of the snapshot format; older ones are read, too. */
export const formatVersion = 2

/** What a snapshot is written as that holds everything, and so can be read by every version. */
export const wholeVersion = 1

/** The section of the header's item, which stands outside of the sections that the header lists. */
export const headerSection = 0xffff

/** One indivisible piece of a snapshot. `section` is an index in the header's list of sections. */
export interface ChunkItem {
  readonly section: number
  /** 0 where the section has no key groups. */
  readonly group: KeyGroup
  readonly bytes: Uint8Array
}

const magic = 0x534c534e
const preambleBytes = 20
const itemBytes = 10

/** Bytes of the largest item that fits into a chunk of `chunkBytesMax`. */
export const itemBytesMax = (chunkBytesMax: number): number =>
  chunkBytesMax - preambleBytes - itemBytes

/** Items that will become one chunk. */
export class ChunkBuilder {
  readonly #items: ChunkItem[] = []
  #bytes = preambleBytes

  constructor(
    readonly index: number,
    readonly chunkBytesMax: number,
    readonly version = wholeVersion,
  ) {}

  /** Whether the item may join: it fits, or the chunk is empty (CH3). */
  fits(item: ChunkItem): boolean {
    return (
      this.#items.length === 0 || this.#bytes + itemBytes + item.bytes.length <= this.chunkBytesMax
    )
  }

  add(item: ChunkItem): void {
    this.#items.push(item)
    this.#bytes += itemBytes + item.bytes.length
  }

  /** The chunk's bytes. */
  close(last: boolean): Uint8Array {
    const chunk = new Uint8Array(this.#bytes)
    const view = new DataView(chunk.buffer)
    view.setUint32(0, magic)
    view.setUint16(4, this.version)
    view.setUint16(6, last ? 1 : 0)
    view.setUint32(8, this.index)
    view.setUint32(12, this.#bytes - preambleBytes)
    let at = preambleBytes
    for (const item of this.#items) {
      view.setUint16(at, item.section)
      view.setUint32(at + 2, item.group)
      view.setUint32(at + 6, item.bytes.length)
      chunk.set(item.bytes, at + itemBytes)
      at += itemBytes + item.bytes.length
    }
    view.setUint32(16, checksum(chunk))
    return chunk
  }
}

/** Verifies every chunk (CH1, CH2) and answers their items in order. The items' bytes are views. */
export const openChunks = (
  chunks: readonly Uint8Array[],
): E.Either<StreamError, readonly ChunkItem[]> => {
  if (chunks.length === 0) return E.left(corrupt('it has no chunks'))
  const items: ChunkItem[] = []
  for (const [index, chunk] of chunks.entries()) {
    const problem = verify(chunk, index, chunks.length)
    if (problem !== undefined) return E.left(problem)
    if (!readItems(chunk, items)) {
      return E.left(corrupt(`chunk ${index} has an item beyond its end`))
    }
  }
  return E.right(items)
}

const verify = (chunk: Uint8Array, index: number, count: number): StreamError | undefined => {
  const of = `chunk ${index} of ${count}`
  if (chunk.length < preambleBytes) return corrupt(`${of} is cut off at ${chunk.length} bytes`)
  const view = viewOf(chunk)
  if (view.getUint32(0) !== magic) return corrupt(`${of} does not start like a snapshot`)
  const bytes = view.getUint32(12)
  if (bytes !== chunk.length - preambleBytes) {
    return corrupt(`${of} should hold ${bytes} bytes and holds ${chunk.length - preambleBytes}`)
  }
  if (view.getUint32(16) !== checksum(chunk)) return corrupt(`the checksum of ${of} is wrong`)
  const version = view.getUint16(4)
  if (version < 1 || version > formatVersion) return otherFormat(version)
  if (view.getUint32(8) !== index) {
    return corrupt(`${of} says that it is chunk ${view.getUint32(8)}: one is missing or misplaced`)
  }
  if ((view.getUint16(6) === 1) !== (index === count - 1)) {
    return corrupt(
      index === count - 1 ? `chunks after ${of} are missing` : `${of} says it is the last`,
    )
  }
  return undefined
}

/** The refusal of a snapshot in a format that this code does not read. */
const otherFormat = (version: number): StreamError =>
  streamError(
    'conflict',
    `the snapshot has format version ${version}, and this program reads versions up to ${formatVersion}`,
    { next: 'Run the version of sluice that wrote the snapshot, or a newer one.' },
  )

const readItems = (chunk: Uint8Array, items: ChunkItem[]): boolean => {
  const view = viewOf(chunk)
  let at = preambleBytes
  while (at < chunk.length) {
    if (at + itemBytes > chunk.length) return false
    const from = at + itemBytes
    const to = from + view.getUint32(at + 6)
    if (to > chunk.length) return false
    items.push({
      section: view.getUint16(at),
      group: view.getUint32(at + 2),
      bytes: chunk.subarray(from, to),
    })
    at = to
  }
  return true
}

const checksum = (chunk: Uint8Array): number =>
  crc32(chunk.subarray(preambleBytes), crc32(chunk.subarray(0, preambleBytes - 4)))

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The error for a snapshot whose bytes are not what was written. */
export const corrupt = (fact: string): StreamError =>
  streamError('corrupt', `the snapshot does not verify: ${fact}`)
