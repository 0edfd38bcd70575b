/**
 * Bytes of batches of records: columns where the records are alike, V8's structured clone where not.
 *
 *   0     form: 0 a value of V8's, an array, to the end · 1 records · 2 values that are no objects
 *   1     of form 1: length of the shape's text (2 bytes), the text
 *         the columns, one after the other (`column-kinds.ts`)
 *         if any is of mixed values: a value of V8's, an array of these columns, to the end
 *
 * Records are alike when they have the same fields in the same order, in plain objects too, and hold
 * nothing else but texts, numbers, booleans and values that stand alone: dates, arrays of bytes, lists of
 * such. How many there are is in the frame's header.
 *
 * Invariants
 *   CO1. Every record comes back as structured clone would bring it, by itself. An object that two records
 *       share may arrive as two: frames are cut anywhere, so nobody could count on its being one.
 *   CO2. Whatever the bytes, reading answers an error value, and makes no more than a constant times what
 *       was read.
 *   CO3. No more than `shapesMax` shapes are compiled, in the life of a process.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'
import { type CellType, cellTypeOf } from './column-kinds.js'
import { ColumnReader } from './column-reader.js'
import { ColumnWriter } from './column-writer.js'
import {
  type Build,
  type Cells,
  type CompiledShape,
  compileShape,
  interpretShape,
} from './compiled-shape.js'
import { columnsOf, observeShape, parseShape, type Shape, shapeTextMax, textOf } from './shape.js'
import { deserialize, serialize } from './v8.js'

const forms = { value: 0, records: 1, bare: 2 } as const

/** A shape that was compiled, and all that is asked of it for every batch. */
interface Known extends CompiledShape {
  readonly text: Uint8Array
  readonly columns: number
}

/** What shapes are compiled by; tests give others. */
export interface ColumnOptions {
  readonly shapesMax?: number
  readonly compile?: (shape: Shape) => CompiledShape
}

/** Writes and reads batches, and remembers the shapes that it met. */
export class ColumnCodec {
  private readonly known = new Map<string, Known>()
  private readonly writer = new ColumnWriter()
  private readonly shapesMax: number
  private readonly compile: (shape: Shape) => CompiledShape
  /** False from the first refusal on: a process may forbid to compile text. */
  private compiles = true
  /** Most batches are like the one before. */
  private last: Known | undefined

  constructor({ shapesMax = 256, compile = compileShape }: ColumnOptions = {}) {
    this.shapesMax = shapesMax
    this.compile = compile
  }

  /** The bytes of a batch. Throws a `SluiceError` of type `invalid` for what cannot leave a process. */
  serialize(records: readonly unknown[]): Uint8Array {
    return this.inColumns(records) ?? behind(forms.value, serialize(records, 'a record'))
  }

  /** The records that `serialize` wrote, of which there were `count`. Other bytes are `corrupt`. */
  deserialize(bytes: Uint8Array, count: number): E.Either<StreamError, readonly unknown[]> {
    const reader = new ColumnReader(bytes)
    const form = reader.byte()
    if (form === forms.value) return this.readValue(reader.rest(), count)
    const read = this.readForm(reader, form, count)
    return E.isLeft(read) ? corrupt(bytes, count, read.left) : read
  }

  private readForm(
    reader: ColumnReader,
    form: number | undefined,
    count: number,
  ): E.Either<string, readonly unknown[]> {
    if (form === forms.records) return this.readRecords(reader, count)
    if (form !== forms.bare) {
      return E.left(form === undefined ? 'there are none' : `form ${form} is unknown`)
    }
    const columns = readColumns(reader, 1, count)
    return E.isLeft(columns) ? columns : E.right(columns.right[0] ?? [])
  }

  /** Undefined: these records are not alike. */
  private inColumns(records: readonly unknown[]): Uint8Array | undefined {
    const [first] = records
    if (typeof first === 'object' && first !== null) {
      try {
        return this.ofRecords(records)
      } catch {
        // A getter or a detached array: V8 meets it again, and says what is wrong in its own words.
        return undefined
      }
    }
    const type = records.length === 0 ? 'other' : cellTypeOf(records)
    if (type === 'other' || type === 'mixed') return undefined
    this.writer.begin()
    this.writer.byte(forms.bare)
    this.writer.column(records, type)
    return this.writer.end()
  }

  private ofRecords(records: readonly unknown[]): Uint8Array | undefined {
    const { last } = this
    let shape = last
    let columns = last && gathered(last, records)
    if (columns === undefined) {
      const observed = observeShape(records[0])
      shape = observed && this.lookUp(textOf(observed), observed)
      // The first is like the last batch, and some other is not.
      columns = shape === last ? undefined : shape && gathered(shape, records)
    }
    if (shape === undefined || columns === undefined) return undefined
    this.last = shape
    const cellTypes: Exclude<CellType, 'other'>[] = []
    const mixed: Cells[] = []
    for (const cells of columns) {
      const type = cellTypeOf(cells)
      if (type === 'other') return undefined
      if (type === 'mixed') mixed.push(cells)
      cellTypes.push(type)
    }
    // Before anything is written: it may run code of the user's.
    const values = mixed.length === 0 ? undefined : serialize(mixed)
    const { writer } = this
    writer.begin()
    writer.byte(forms.records)
    writer.text(shape.text)
    for (const [k, type] of cellTypes.entries()) writer.column(columns[k] ?? [], type)
    if (values !== undefined) writer.raw(values)
    return writer.end()
  }

  /** The compiled shape of a text, once for all; undefined where no more may be compiled. */
  private lookUp(text: string, shape: Shape): Known | undefined {
    const found = this.known.get(text)
    const compiles = this.compiles && this.known.size < this.shapesMax
    if (found !== undefined || !compiles) return found
    try {
      const known = {
        ...this.compile(shape),
        text: Buffer.from(text),
        columns: columnsOf(shape),
      }
      this.known.set(text, known)
      return known
    } catch {
      this.compiles = false
      return undefined
    }
  }

  private readRecords(reader: ColumnReader, count: number): E.Either<string, readonly unknown[]> {
    const text = reader.text()
    if (text === undefined) return E.left('the text of its shape is cut')
    const builder = this.builderOf(text)
    if (builder === undefined) return E.left(`'${text.slice(0, 60)}' is no shape`)
    const columns = readColumns(reader, builder.columns, count)
    return E.isLeft(columns) ? columns : E.right(builder.build(count, columns.right))
  }

  private builderOf(text: string): Pick<Known, 'build' | 'columns'> | undefined {
    const known = this.known.get(text)
    if (known !== undefined) return known
    const shape = text.length > shapeTextMax ? undefined : parseShape(text)
    // Its own text, so that one shape is not compiled under many.
    if (shape === undefined || textOf(shape) !== text) return undefined
    const build: Build = this.lookUp(text, shape)?.build ?? interpretShape(shape)
    return { build, columns: columnsOf(shape) }
  }

  private readValue(bytes: Uint8Array, count: number): E.Either<StreamError, readonly unknown[]> {
    const value = deserialize(bytes)
    if (E.isLeft(value)) return value
    const records = value.right
    // An array of V8's may have a length of its own without bytes for it.
    return Array.isArray(records) && records.length === count && count <= bytes.length
      ? E.right(records)
      : corrupt(bytes, count, 'its value is no array of as many')
  }
}

const gathered = (
  { gather, columns: width }: Known,
  records: readonly unknown[],
): readonly Cells[] | undefined => {
  const columns: Cells[] = []
  for (let k = 0; k < width; k += 1) columns.push(new Array(records.length))
  return gather(records, columns) ? columns : undefined
}

const readColumns = (
  reader: ColumnReader,
  width: number,
  count: number,
): E.Either<string, readonly (readonly unknown[])[]> => {
  // Every value takes a byte at least, those of V8's too.
  if (width * count > reader.left) {
    return E.left(`${reader.left} bytes hold no ${count} values of ${width} columns`)
  }
  const columns: (readonly unknown[] | undefined)[] = []
  for (let k = 0; k < width; k += 1) {
    const column = reader.column(count)
    if (E.isLeft(column)) return column
    columns.push(column.right)
  }
  const absent = columns.filter(column => column === undefined).length
  if (absent === 0) {
    const whole = columns.filter(column => column !== undefined)
    return reader.left === 0 ? E.right(whole) : E.left(`${reader.left} bytes follow its end`)
  }
  const mixed = deserialize(reader.rest())
  if (E.isLeft(mixed)) return E.left(`its mixed columns: ${mixed.left.message}`)
  return withMixed(columns, mixed.right, absent, count)
}

/** Puts the columns of mixed values in their places. */
const withMixed = (
  columns: readonly (readonly unknown[] | undefined)[],
  mixed: unknown,
  absent: number,
  count: number,
): E.Either<string, readonly (readonly unknown[])[]> => {
  const lists: readonly unknown[] = Array.isArray(mixed) ? mixed : []
  if (lists.length !== absent) return E.left(`it has not the ${absent} mixed columns it promises`)
  const all: (readonly unknown[])[] = []
  let next = 0
  for (const column of columns) {
    const cells = column ?? lists[next++]
    if (!Array.isArray(cells) || cells.length !== count) {
      return E.left(`mixed column ${next} does not have ${count} values`)
    }
    all.push(cells)
  }
  return E.right(all)
}

const behind = (form: number, body: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(1 + body.length)
  bytes[0] = form
  bytes.set(body, 1)
  return bytes
}

const corrupt = (bytes: Uint8Array, count: number, fact: string): E.Either<StreamError, never> =>
  E.left(
    streamError('corrupt', `${bytes.length} bytes do not read as ${count} records: ${fact}`, {
      next: 'Run every process of the job with the same version of sluice.',
    }),
  )
