/**
 * What a column may be, and which kind its values ask for.
 *
 *   mixed      nothing here: its values are in the batch's one value of V8's, behind the columns
 *   integers   4 bytes each · numbers 8 bytes each, little-endian both · booleans 1 byte each
 *   texts      4 bytes: units of all texts · a length each, of 1 byte or of 4 · the units of all, one
 *              after the other: 1 byte each (Latin-1) or 2 (UTF-16)
 */
import { types } from 'node:util'

/** The first byte of a column. */
export const kinds = {
  mixed: 0,
  integers: 1,
  numbers: 2,
  booleans: 3,
  /** Latin-1, lengths of 1 byte. */
  narrowShort: 4,
  /** Latin-1, lengths of 4 bytes. */
  narrowLong: 5,
  /** UTF-16, lengths of 1 byte. */
  wideShort: 6,
  /** UTF-16, lengths of 4 bytes. */
  wideLong: 7,
} as const

/** What all values of a column are. `text` leaves the width to the writer; `other`: V8 takes the batch. */
export type CellType = 'integer' | 'number' | 'boolean' | 'text' | 'mixed' | 'other'

/** What the values of a column have in common. */
export const cellTypeOf = (cells: readonly unknown[]): CellType => {
  switch (typeof cells[0]) {
    case 'number':
      return numberType(cells)
    case 'string':
      return areTexts(cells) ? 'text' : mixedType(cells)
    case 'boolean':
      return areBooleans(cells) ? 'boolean' : mixedType(cells)
    default:
      return mixedType(cells)
  }
}

const numberType = (cells: readonly unknown[]): CellType => {
  let whole = true
  for (let i = 0; i < cells.length; i += 1) {
    const cell = cells[i]
    if (typeof cell !== 'number') return mixedType(cells)
    // -0 is no integer here: it would come back as 0.
    if ((cell | 0) !== cell || (cell === 0 && 1 / cell < 0)) whole = false
  }
  return whole ? 'integer' : 'number'
}

const areTexts = (cells: readonly unknown[]): boolean => {
  for (let i = 0; i < cells.length; i += 1) if (typeof cells[i] !== 'string') return false
  return true
}

const areBooleans = (cells: readonly unknown[]): boolean => {
  for (let i = 0; i < cells.length; i += 1) if (typeof cells[i] !== 'boolean') return false
  return true
}

/**
 * Values that have nothing to do with the record around them go by V8. An object that may refer to it
 * must not be torn from it: structured clone keeps who is who within a record.
 */
const mixedType = (cells: readonly unknown[]): CellType => {
  for (const cell of cells) if (!isAlone(cell)) return 'other'
  return 'mixed'
}

const isAlone = (value: unknown): boolean => {
  if (typeof value === 'function' || typeof value === 'symbol') return false
  if (typeof value !== 'object' || value === null) return true
  if (types.isProxy(value)) return false
  if (Array.isArray(value)) return isListOfPrimitives(value)
  return types.isDate(value) || ArrayBuffer.isView(value)
}

/** An array may have fields as well, and they hold anything. */
const isListOfPrimitives = (list: readonly unknown[]): boolean => {
  const { length } = list
  const names = Object.keys(list)
  const isDense =
    names.length === length && names.at(-1) === (length === 0 ? undefined : `${length - 1}`)
  if (!isDense) return false
  for (const one of list) {
    const isObject = typeof one === 'object' && one !== null
    if (isObject || typeof one === 'function' || typeof one === 'symbol') return false
  }
  return true
}
