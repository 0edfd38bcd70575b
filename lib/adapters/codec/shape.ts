/**
 * The shape of records: the names of their fields, in order, and of the fields of plain objects in them.
 *
 * A shape is observed, never declared: what an actor emits may have more fields than its codec names.
 *
 * Invariants
 *   CS1. An object built of a shape has its fields in the shape's order. Names that a literal treats
 *       in another way (`__proto__`, and integers, which come first) make no shape.
 *   CS2. What a shape describes is finite: no deeper than `depthMax`, with at most `fieldsMax` fields.
 */
import { types } from 'node:util'

/** One field. A field with fields of its own holds a plain object; every other one is a column. */
export interface Field {
  readonly name: string
  readonly fields: Shape | undefined
}

/** Fields in order. */
export type Shape = readonly Field[]

const depthMax = 4
const fieldsMax = 64
/** Longest text of a shape, in characters. */
export const shapeTextMax = 4096

/** An object that a literal could have made. Proxies look like one, and cannot leave a process. */
export const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  Object.getPrototypeOf(value) === Object.prototype &&
  !types.isProxy(value)

/** The shape of a record; undefined for one that has none. */
export const observeShape = (record: unknown): Shape | undefined => {
  const shape = observe(record, depthMax)
  return shape !== undefined && isBounded(shape) ? shape : undefined
}

const observe = (value: unknown, depth: number): Shape | undefined => {
  if (depth === 0 || !isPlain(value)) return undefined
  const shape: Field[] = []
  for (const [name, of] of Object.entries(value)) {
    if (!isName(name) || shape.length === fieldsMax) return undefined
    const fields = isPlain(of) ? observe(of, depth - 1) : undefined
    if (fields === undefined && isPlain(of)) return undefined
    shape.push({ name, fields })
  }
  return shape
}

/** A shape without columns takes no bytes, so that a count of its records could not be checked. */
const isBounded = (shape: Shape): boolean =>
  columnsOf(shape) > 0 && fieldsOf(shape) <= fieldsMax && textOf(shape).length <= shapeTextMax

const isName = (name: string): boolean => name !== '__proto__' && !/^\d+$/.test(name)

/** How many columns a shape has. */
export const columnsOf = (shape: Shape): number =>
  shape.reduce((sum, { fields }) => sum + (fields === undefined ? 1 : columnsOf(fields)), 0)

const fieldsOf = (shape: Shape): number =>
  shape.reduce((sum, { fields }) => sum + 1 + (fields === undefined ? 0 : fieldsOf(fields)), 0)

/** A shape as text: JSON, in which every character survives, half surrogate pairs too. */
export const textOf = (shape: Shape): string => JSON.stringify(toJson(shape))

const toJson = (shape: Shape): unknown[] =>
  shape.map(({ name, fields }) => (fields === undefined ? name : [name, toJson(fields)]))

/** The shape that a text describes; undefined for any other text. */
export const parseShape = (text: string): Shape | undefined => {
  try {
    const shape = fromJson(JSON.parse(text), depthMax)
    return shape !== undefined && isBounded(shape) ? shape : undefined
  } catch {
    return undefined // no JSON
  }
}

const fromJson = (json: unknown, depth: number): Shape | undefined => {
  if (!Array.isArray(json) || json.length > fieldsMax || depth === 0) return undefined
  const names = new Set<string>()
  const shape: Field[] = []
  for (const one of json) {
    const [name, of]: readonly unknown[] = Array.isArray(one) ? one : [one]
    if (typeof name !== 'string' || !isName(name) || names.has(name)) return undefined
    const fields = Array.isArray(one) ? fromJson(of, depth - 1) : undefined
    if (Array.isArray(one) && fields === undefined) return undefined
    names.add(name)
    shape.push({ name, fields })
  }
  return shape
}
