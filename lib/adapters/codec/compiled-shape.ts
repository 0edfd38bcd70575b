/**
 * From records of one shape to columns and back, by functions compiled for the shape.
 *
 * A loop over the names would look every field up by its text; what is compiled here names them in its
 * source, so that V8 reads and writes them by place.
 */
import { types } from 'node:util'
import { columnsOf, type Shape } from './shape.js'

/** The values of one field, record by record. */
export type Cells = unknown[]

/** What was compiled for one shape. */
export interface CompiledShape {
  /** Moves the records' values into the columns. False: some record has another shape. */
  readonly gather: (records: readonly unknown[], columns: readonly Cells[]) => boolean
  /** Makes `count` records of columns. */
  readonly build: Build
}

/** Makes records of columns. */
export type Build = (count: number, columns: readonly ArrayLike<unknown>[]) => unknown[]

type Make<A> = (getPrototypeOf: (of: unknown) => unknown, base: object, isProxy: IsProxy) => A
type IsProxy = (value: unknown) => boolean

/** Compiles for a shape. Throws an `EvalError` in a process that may not compile text. */
export const compileShape = (shape: Shape): CompiledShape => {
  const columns = Array.from({ length: columnsOf(shape) }, (_, k) => k)
  const parameters = ['getPrototypeOf', 'base', 'isProxy'] as const
  const open = columns.map(k => `const c${k} = columns[${k}];`).join('\n')
  const gather = new Function(...parameters, gatherSource(shape, open)) as Make<
    CompiledShape['gather']
  >
  const build = new Function(...parameters, buildSource(shape, open)) as Make<Build>
  const tools = [Object.getPrototypeOf, Object.prototype, types.isProxy] as const
  return { gather: gather(...tools), build: build(...tools) }
}

const gatherSource = (shape: Shape, open: string): string => {
  const parts: Parts = { names: [], lines: [], objects: 0, columns: 0 }
  addObject(shape, 'records[i]', parts)
  return `'use strict'
    ${parts.names.join('\n')}
    return (records, columns) => {
      ${open}
      for (let i = 0; i < records.length; i += 1) {
        ${parts.lines.join('\n')}
      }
      return true
    }`
}

interface Parts {
  readonly names: string[]
  readonly lines: string[]
  objects: number
  columns: number
}

/** Every object is checked whole before its values are taken: its kind, its names and their order. */
const addObject = (shape: Shape, place: string, parts: Parts): void => {
  const k = parts.objects
  parts.objects += 1
  parts.names.push(`const n${k} = ${JSON.stringify(shape.map(({ name }) => name))}`)
  parts.lines.push(
    `const o${k} = ${place}`,
    `if (typeof o${k} !== 'object' || o${k} === null || getPrototypeOf(o${k}) !== base || isProxy(o${k})) return false`,
    `let k${k} = 0`,
    `for (const name in o${k}) if (name !== n${k}[k${k}++]) return false`,
    `if (k${k} !== ${shape.length}) return false`,
  )
  // One object in two places of a record arrives as one object: that is for V8's own format to say.
  for (let other = 1; other < k; other += 1)
    parts.lines.push(`if (o${other} === o${k}) return false`)
  for (const { name, fields } of shape) {
    const value = `o${k}[${JSON.stringify(name)}]`
    if (fields !== undefined) addObject(fields, value, parts)
    else parts.lines.push(`c${parts.columns++}[i] = ${value}`)
  }
}

const buildSource = (shape: Shape, open: string): string => {
  let at = 0
  const literal = (fields: Shape): string => {
    const each = fields.map(
      field =>
        `${JSON.stringify(field.name)}: ${field.fields === undefined ? `c${at++}[i]` : literal(field.fields)}`,
    )
    return `{ ${each.join(', ')} }`
  }
  return `'use strict'
    return (count, columns) => {
      ${open}
      const records = new Array(count)
      for (let i = 0; i < count; i += 1) records[i] = ${literal(shape)}
      return records
    }`
}

/** The same as a compiled `build`, slower: for shapes that are not compiled. */
export const interpretShape =
  (shape: Shape): Build =>
  (count, columns) => {
    let column = 0
    const make = (fields: Shape, row: number): object => {
      const made: Record<string, unknown> = {}
      for (const { name, fields: inner } of fields) {
        if (inner === undefined) made[name] = columns[column++]?.[row]
        else made[name] = make(inner, row)
      }
      return made
    }
    const records: unknown[] = []
    for (let row = 0; row < count; row += 1) {
      column = 0
      records.push(make(shape, row))
    }
    return records
  }
