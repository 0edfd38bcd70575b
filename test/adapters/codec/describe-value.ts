/** Values in words, so that two can be compared with the order of their fields and who is who in them. */

/** Everything that a process could tell of a value: two with the same words are alike. */
export const describeValue = (value: unknown, seen = new Map<unknown, number>()): string => {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value !== 'object' || value === null) return `${typeof value} ${String(value)}`
  const met = seen.get(value)
  if (met !== undefined) return `as ${met}`
  seen.set(value, seen.size)
  const kind: unknown = Object.getPrototypeOf(value)?.constructor?.name
  return `${String(kind)}(${contentOf(value, seen)})`
}

const contentOf = (value: object, seen: Map<unknown, number>): string => {
  if (value instanceof Date) return String(value.getTime())
  if (value instanceof RegExp || value instanceof Error) return String(value)
  if (value instanceof Map) return [...value].map(pair => describeValue(pair, seen)).join()
  if (value instanceof Set) return [...value].map(one => describeValue(one, seen)).join()
  if (ArrayBuffer.isView(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')
  }
  const length = Array.isArray(value) ? `${value.length}: ` : ''
  const fields = Object.entries(value).map(([name, of]) => {
    return `${JSON.stringify(name)}=${describeValue(of, seen)}`
  })
  return length + fields.join()
}
