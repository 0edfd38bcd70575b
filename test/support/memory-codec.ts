/**
 * A record codec whose bytes depend on the value alone. V8's own do not: it writes a number as an
 * integer or as a double depending on how it optimized the code that made it, and frames of another
 * size make another run.
 */
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../../lib/errors.js'
import type { RecordCodec } from '../../lib/ports/record-codec.js'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

/** Marks what JSON has no words for; a text that begins with it is marked as well. */
const mark = '\u0001'
const mapKey = `${mark}map`

const toJson = (value: unknown): unknown => {
  switch (typeof value) {
    case 'undefined':
      return `${mark}u`
    case 'bigint':
      return `${mark}i${value}`
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : `${mark}n${value}`
    case 'string':
      return value.startsWith(mark) ? `${mark}s${value}` : value
    case 'function':
    case 'symbol':
      throw new TypeError(`a ${typeof value} cannot leave a process`)
    default:
      return objectToJson(value)
  }
}

const objectToJson = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(toJson)
  if (value instanceof Uint8Array) return `${mark}b${Buffer.from(value).toString('base64')}`
  if (value instanceof Date) return `${mark}d${value.getTime()}`
  if (value instanceof Map) return { [mapKey]: toJson([...value]) }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, toJson(of)]))
}

const fromText = (text: string): unknown => {
  if (!text.startsWith(mark)) return text
  const rest = text.slice(2)
  switch (text[1]) {
    case 'u':
      return undefined
    case 'i':
      return BigInt(rest)
    case 'n':
      return rest === '0' ? -0 : Number(rest)
    case 's':
      return rest
    case 'b':
      return new Uint8Array(Buffer.from(rest, 'base64'))
    default:
      return new Date(Number(rest))
  }
}

const fromJson = (value: unknown): unknown => {
  if (typeof value === 'string') return fromText(value)
  if (Array.isArray(value)) return value.map(fromJson)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, of]): [string, unknown] => [key, fromJson(of)])
  const [first] = entries
  if (first?.[0] === mapKey && Array.isArray(first[1])) return new Map(first[1])
  return Object.fromEntries(entries)
}

const serialize = (value: unknown): E.Either<StreamError, Uint8Array> => {
  try {
    return E.right(encoder.encode(JSON.stringify(toJson(value))))
  } catch (cause) {
    return E.left(streamError('invalid', `a value cannot be serialized: ${messageOf(cause)}`))
  }
}

const deserialize = (bytes: Uint8Array): E.Either<StreamError, unknown> => {
  try {
    return E.right(fromJson(JSON.parse(decoder.decode(bytes))))
  } catch (cause) {
    return E.left(streamError('corrupt', `bytes do not read: ${messageOf(cause)}`))
  }
}

export const memoryCodec: RecordCodec = {
  serialize,
  deserialize,
  serializeBatch: serialize,
  deserializeBatch: (bytes, count) => {
    const records = deserialize(bytes)
    if (E.isLeft(records)) return records
    return Array.isArray(records.right) && records.right.length === count
      ? E.right(records.right)
      : E.left(streamError('corrupt', `${bytes.length} bytes are no ${count} records`))
  },
}
