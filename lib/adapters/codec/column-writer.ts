/** Columns to bytes. The bytes grow in one buffer that is used again; what is handed out is a copy. */
import { type CellType, kinds } from './column-kinds.js'

/** Kept from one batch to the next. */
const keptBytesMax = 4 * 1024 * 1024
const shortMax = 255

/** Writes one batch after the other. */
export class ColumnWriter {
  private bytes = Buffer.allocUnsafeSlow(64 * 1024)
  private view = new DataView(this.bytes.buffer)
  private at = 0

  begin(): void {
    this.at = 0
  }

  /** What was written since `begin`. */
  end(): Uint8Array {
    const { at } = this
    // Of its own size: from Node's pool it would share memory with others.
    const written = Buffer.allocUnsafeSlow(at)
    this.bytes.copy(written, 0, 0, at)
    if (this.bytes.length > keptBytesMax) this.use(Buffer.allocUnsafeSlow(64 * 1024))
    return written
  }

  byte(value: number): void {
    this.reserve(1)
    this.bytes[this.at++] = value
  }

  /** A text of at most 65 535 bytes, behind its length. */
  text(text: Uint8Array): void {
    this.reserve(2)
    this.view.setUint16(this.at, text.length, true)
    this.at += 2
    this.raw(text)
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.at)
    this.at += bytes.length
  }

  /** One column, of cells that are all of that type. */
  column(cells: readonly unknown[], type: Exclude<CellType, 'other'>): void {
    if (type === 'integer') this.integers(cells)
    else if (type === 'number') this.numbers(cells)
    else if (type === 'boolean') this.booleans(cells)
    else if (type === 'text') this.texts(cells)
    else this.byte(kinds.mixed)
  }

  private integers(cells: readonly unknown[]): void {
    this.reserve(1 + 4 * cells.length)
    this.bytes[this.at++] = kinds.integers
    const { view } = this
    let { at } = this
    for (let i = 0; i < cells.length; i += 1) {
      view.setInt32(at, cells[i] as number, true)
      at += 4
    }
    this.at = at
  }

  private numbers(cells: readonly unknown[]): void {
    this.reserve(1 + 8 * cells.length)
    this.bytes[this.at++] = kinds.numbers
    const { view } = this
    let { at } = this
    for (let i = 0; i < cells.length; i += 1) {
      view.setFloat64(at, cells[i] as number, true)
      at += 8
    }
    this.at = at
  }

  private booleans(cells: readonly unknown[]): void {
    this.reserve(1 + cells.length)
    this.bytes[this.at++] = kinds.booleans
    for (let i = 0; i < cells.length; i += 1) this.bytes[this.at++] = cells[i] === true ? 1 : 0
  }

  /** All texts are written at once: a call for each costs more than joining them. */
  private texts(cells: readonly unknown[]): void {
    let joined = ''
    let longest = 0
    for (let i = 0; i < cells.length; i += 1) {
      const cell = cells[i] as string
      joined += cell
      if (cell.length > longest) longest = cell.length
    }
    const isShort = longest <= shortMax
    const isWide = /[^\0-\xff]/.test(joined)
    const kind = isWide ? kinds.wideShort : kinds.narrowShort
    this.reserve(5 + (isShort ? 1 : 4) * cells.length + (isWide ? 2 : 1) * joined.length)
    this.bytes[this.at] = isShort ? kind : kind + 1
    this.view.setUint32(this.at + 1, joined.length, true)
    this.at += 5
    if (isShort) this.shortLengths(cells)
    else this.longLengths(cells)
    this.at += this.bytes.write(joined, this.at, isWide ? 'utf16le' : 'latin1')
  }

  private shortLengths(cells: readonly unknown[]): void {
    const { bytes } = this
    let { at } = this
    for (let i = 0; i < cells.length; i += 1) bytes[at++] = (cells[i] as string).length
    this.at = at
  }

  private longLengths(cells: readonly unknown[]): void {
    for (let i = 0; i < cells.length; i += 1) {
      this.view.setUint32(this.at, (cells[i] as string).length, true)
      this.at += 4
    }
  }

  private reserve(bytes: number): void {
    if (this.at + bytes <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.bytes.length, this.at + bytes))
    this.bytes.copy(grown, 0, 0, this.at)
    this.use(grown)
  }

  private use(bytes: Buffer<ArrayBuffer>): void {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
  }
}
