/**
 * Bytes to columns.
 *
 * Invariants
 *   CR1. Nothing is made before the bytes for it are seen to be there: a column of `n` values takes at
 *       least `n` bytes.
 *   CR2. A text owns its characters. V8 copies a slice of less than 13; a longer one would be a view that
 *       keeps the whole column alive for as long as somebody keeps that one text.
 */
import { type Either, left, right } from 'fp-ts/lib/Either.js'
import { kinds } from './column-kinds.js'

// Node's own, and left out of its types: `toString` finds out the encoding at every call.
declare global {
  interface Buffer {
    latin1Slice(start: number, end: number): string
  }
}

/** A column; undefined stands for one of mixed values, which follow later. Left: what is wrong. */
export type ColumnRead = Either<string, readonly unknown[] | undefined>

/** The longest slice that V8 copies. */
const copiedMax = 12
/** Up to this, two copies joined cost half of what a call of Node's costs. */
const joinedMax = 2 * copiedMax

/** Reads one batch. */
export class ColumnReader {
  private readonly bytes: Buffer
  private readonly view: DataView
  private at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get left(): number {
    return this.bytes.length - this.at
  }

  /** The next byte; undefined at the end. */
  byte(): number | undefined {
    return this.bytes[this.at++]
  }

  /** A text behind its length; undefined when it is cut. */
  text(): string | undefined {
    if (this.left < 2) return undefined
    const length = this.view.getUint16(this.at, true)
    this.at += 2
    if (this.left < length) return undefined
    this.at += length
    return this.bytes.toString('utf8', this.at - length, this.at)
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.bytes.subarray(this.at)
  }

  /** The next column, of `count` values. */
  column(count: number): ColumnRead {
    const kind = this.byte()
    switch (kind) {
      case kinds.mixed:
        return right(undefined)
      case kinds.integers:
        return this.left < 4 * count ? this.cut(4 * count) : right(this.integers(count))
      case kinds.numbers:
        return this.left < 8 * count ? this.cut(8 * count) : right(this.numbers(count))
      case kinds.booleans:
        return this.left < count ? this.cut(count) : right(this.booleans(count))
      case kinds.narrowShort:
      case kinds.narrowLong:
      case kinds.wideShort:
      case kinds.wideLong:
        return this.texts(count, kind)
      default:
        return left(kind === undefined ? 'it ends before a column' : `kind ${kind} is unknown`)
    }
  }

  private integers(count: number): readonly number[] {
    const cells = new Array<number>(count)
    const { view } = this
    let { at } = this
    for (let i = 0; i < count; i += 1) {
      cells[i] = view.getInt32(at, true)
      at += 4
    }
    this.at = at
    return cells
  }

  private numbers(count: number): readonly number[] {
    const cells = new Array<number>(count)
    const { view } = this
    let { at } = this
    for (let i = 0; i < count; i += 1) {
      cells[i] = view.getFloat64(at, true)
      at += 8
    }
    this.at = at
    return cells
  }

  private booleans(count: number): readonly boolean[] {
    const cells = new Array<boolean>(count)
    for (let i = 0; i < count; i += 1) cells[i] = this.bytes[this.at++] !== 0
    return cells
  }

  private texts(count: number, kind: number): ColumnRead {
    const lengthBytes = kind === kinds.narrowShort || kind === kinds.wideShort ? 1 : 4
    const isWide = kind === kinds.wideShort || kind === kinds.wideLong
    const head = 4 + lengthBytes * count
    if (this.left < head) return this.cut(head)
    const units = this.view.getUint32(this.at, true)
    const need = head + (isWide ? 2 : 1) * units
    if (this.left < need) return this.cut(need)
    const lengths = this.at + 4
    const from = this.at + head
    const { bytes, view } = this
    let sum = 0
    for (let i = 0; i < count; i += 1) {
      sum += lengthBytes === 1 ? (bytes[lengths + i] ?? 0) : view.getUint32(lengths + 4 * i, true)
    }
    if (sum !== units) return left(`its texts have ${sum} characters where it promises ${units}`)
    this.at += need
    const cells = new Array<string>(count)
    if (isWide) this.wide(cells, lengths, lengthBytes, from, units)
    else this.narrow(cells, lengths, lengthBytes, from, units)
    return right(cells)
  }

  private narrow(
    cells: string[],
    lengths: number,
    lengthBytes: number,
    from: number,
    units: number,
  ): void {
    const { bytes, view } = this
    const whole = bytes.latin1Slice(from, from + units)
    let at = 0
    for (let i = 0; i < cells.length; i += 1) {
      const length =
        lengthBytes === 1 ? (bytes[lengths + i] ?? 0) : view.getUint32(lengths + 4 * i, true)
      const end = at + length
      if (length <= copiedMax) cells[i] = whole.slice(at, end)
      else if (length <= joinedMax) {
        cells[i] = whole.slice(at, at + copiedMax) + whole.slice(at + copiedMax, end)
      } else cells[i] = bytes.latin1Slice(from + at, from + end)
      at = end
    }
  }

  private wide(
    cells: string[],
    lengths: number,
    lengthBytes: number,
    from: number,
    units: number,
  ): void {
    const { bytes, view } = this
    const whole = bytes.toString('utf16le', from, from + 2 * units)
    let at = 0
    for (let i = 0; i < cells.length; i += 1) {
      const length =
        lengthBytes === 1 ? (bytes[lengths + i] ?? 0) : view.getUint32(lengths + 4 * i, true)
      const end = at + length
      if (length <= copiedMax) cells[i] = whole.slice(at, end)
      else cells[i] = bytes.toString('utf16le', from + 2 * at, from + 2 * end)
      at = end
    }
  }

  private cut(need: number): ColumnRead {
    return left(`a column of ${need} bytes does not fit into the ${this.left} that are left`)
  }
}
