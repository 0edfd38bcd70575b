/**
 * Prepared output as items of a snapshot. A sink may hold far more output than one chunk takes, so an
 * output is cut into slices of consecutive records, and put together again on restore.
 *
 * A slice is the length (4) of its head, the head, the number of records (4), each record's length (4),
 * and the records' bytes. The records are opaque and many: laid side by side they cost a copy, where
 * serializing each would cost a call.
 *
 * Invariants
 *   OS1. The slices of one list name their output's place in the list and their first record's place in
 *       the output, both counting up without a gap: nothing is lost, doubled or put elsewhere.
 */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import type { StreamError } from '../errors.js'
import { corrupt } from './chunk.js'
import type { PreparedOutput } from './snapshot-format.js'

const Head = t.tuple([t.number, t.number, t.number, t.boolean, t.unknown])
/** Index of the output, its epoch, index of the slice's first record, whether `meta` is given, `meta`. */
type Head = t.TypeOf<typeof Head>

/** Records of one slice, and its bytes. */
export interface OutputSlice {
  readonly records: number
  readonly bytes: Uint8Array
}

/**
 * Cuts a list of outputs into slices of at most `bytesMax` and `recordsMax`. A slice of one record may
 * be larger; an output without records has one slice.
 */
export function* sliceOutputs(
  outputs: readonly PreparedOutput[],
  serialize: (value: unknown) => Uint8Array,
  bytesMax: number,
  recordsMax: number,
): Generator<OutputSlice> {
  for (const [index, output] of outputs.entries()) {
    let first = 0
    do {
      // The first slice carries `meta` for all.
      const given = first === 0 && output.meta !== undefined
      const head: Head = [index, output.epoch, first, given, given ? output.meta : null]
      const headBytes = serialize(head)
      const records = take(output.records, first, bytesMax - 8 - headBytes.length, recordsMax)
      yield { records: records.length, bytes: writeSlice(headBytes, records) }
      first += records.length
    } while (first < output.records.length)
  }
}

/** As many records from `first` as fit, but at least one where there is one. */
const take = (
  records: readonly Uint8Array[],
  first: number,
  bytesMax: number,
  recordsMax: number,
): readonly Uint8Array[] => {
  let end = first
  let bytes = 0
  while (end < records.length && end - first < recordsMax) {
    bytes += 4 + (records[end]?.length ?? 0)
    if (bytes > bytesMax && end > first) break
    end += 1
  }
  return records.slice(first, end)
}

const writeSlice = (head: Uint8Array, records: readonly Uint8Array[]): Uint8Array => {
  let size = 8 + head.length + 4 * records.length
  for (const record of records) size += record.length
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, head.length)
  bytes.set(head, 4)
  let at = 4 + head.length
  view.setUint32(at, records.length)
  at += 4
  for (const record of records) {
    view.setUint32(at, record.length)
    at += 4
  }
  for (const record of records) {
    bytes.set(record, at)
    at += record.length
  }
  return bytes
}

/** Puts the slices of one list together again. Its records own their memory. */
export class OutputReader {
  readonly #outputs: { epoch: number; records: Uint8Array[]; meta?: unknown }[] = []

  get outputs(): readonly PreparedOutput[] {
    return this.#outputs
  }

  /** Takes the next slice: an error of type `corrupt` if it is not the next (OS1) or does not read. */
  add(
    bytes: Uint8Array,
    deserialize: (bytes: Uint8Array) => E.Either<StreamError, unknown>,
  ): StreamError | undefined {
    const slice = readSlice(bytes)
    if (slice === undefined) return corrupt('a slice of prepared output is cut off')
    const raw = deserialize(slice.head)
    if (E.isLeft(raw)) return raw.left
    const head = Head.decode(raw.right)
    if (E.isLeft(head)) return corrupt('a slice of prepared output has no valid head')
    const [index, epoch, first, given, meta] = head.right
    if (first === 0 && index === this.#outputs.length) {
      this.#outputs.push({ epoch, records: slice.records, ...(given ? { meta } : {}) })
      return undefined
    }
    const last = this.#outputs.at(-1)
    const follows = index === this.#outputs.length - 1 && first > 0
    if (last === undefined || !follows || last.epoch !== epoch || last.records.length !== first) {
      return corrupt(`record ${first} of prepared output ${index} does not follow what precedes it`)
    }
    for (const record of slice.records) last.records.push(record)
    return undefined
  }
}

const readSlice = (
  bytes: Uint8Array,
): { readonly head: Uint8Array; readonly records: Uint8Array[] } | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const headEnd = bytes.length < 8 ? bytes.length : 4 + view.getUint32(0)
  if (headEnd + 4 > bytes.length) return undefined
  const count = view.getUint32(headEnd)
  const lengths = headEnd + 4
  let at = lengths + 4 * count
  if (at > bytes.length) return undefined
  const records: Uint8Array[] = []
  for (let index = 0; index < count; index += 1) {
    const end = at + view.getUint32(lengths + 4 * index)
    if (end > bytes.length) return undefined
    records.push(Uint8Array.prototype.slice.call(bytes, at, end))
    at = end
  }
  return at === bytes.length ? { head: bytes.subarray(4, headEnd), records } : undefined
}
