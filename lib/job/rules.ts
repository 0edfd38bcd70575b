/**
 * Rules for single values of a job definition.
 *
 * A rule takes a value of any type and answers the problems that it has. `fields` applies rules to
 * the fields of an object and reports every field that no rule knows: a misspelt option must not be
 * dropped in silence.
 */
import { bytesOf, isWellFormed } from '../protocol/names.js'
import { describe, type Problem, quote } from './problem.js'

/** Answers the problems of the value at a path; none if it is right. */
export type Rule = (path: string, value: unknown) => readonly Problem[]

/** A rule for each field that an object may have. */
export type FieldRules = Readonly<Record<string, Rule>>

/** Longest name of a job, actor, source or sink, in bytes of UTF-8. */
export const nameBytesMax = 128

// Node fires a longer timer at once.
const timeMsMax = 2_147_483_647

/** Whether a value is an object with fields. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** One problem with a value, as a list. */
export const problem = (
  path: string,
  expected: string,
  value: unknown,
  next: string,
): readonly Problem[] => [{ path, expected, found: describe(value), next }]

/** The fields of an object, each by its rule; a field without a rule is a problem. */
export const fields =
  (rules: FieldRules): Rule =>
  (path, value) => {
    if (!isRecord(value))
      return problem(path, 'an object', value, 'Pass the options by name, in braces.')
    const names = Object.keys(rules)
    return [
      ...Object.entries(rules).flatMap(([name, rule]) => rule(`${path}.${name}`, value[name])),
      ...unknownOptions(path, value, names),
    ]
  }

/** A problem for every field of an object whose name is not known. */
export const unknownOptions = (
  path: string,
  value: object,
  known: readonly string[],
): readonly Problem[] =>
  Object.keys(value)
    .filter(name => !known.includes(name))
    .map(name => {
      const meant = meantBy(name, known)
      return {
        path: `${path}.${plainName.test(name) ? name : quote(name)}`,
        expected: `one of ${known.join(', ')}`,
        found: `the unknown option ${quote(name)}`,
        next: meant === undefined ? 'Remove it.' : `Did you mean ${meant}?`,
      }
    })

/** The known name that a misspelt one may stand for. */
export const meantBy = (name: string, known: readonly string[]): string | undefined =>
  known.find(other => alike(other, name))

const plainName = /^[A-Za-z][A-Za-z0-9]{0,40}$/

const typosMax = 2

/** Whether one name may be the other misspelt: in another case, or off by a typo or two. */
const alike = (left: string, right: string): boolean => {
  const [from, to] = [left.toLowerCase(), right.toLowerCase()]
  if (Math.abs(from.length - to.length) > typosMax) return false
  // Levenshtein's distance, one row at a time.
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [index, char] of [...from].entries()) {
    const next = [index + 1]
    for (let at = 1; at <= to.length; at += 1) {
      const change = (row[at - 1] ?? 0) + (char === to[at - 1] ? 0 : 1)
      next.push(Math.min(change, (row[at] ?? 0) + 1, (next[at - 1] ?? 0) + 1))
    }
    row = next
  }
  // In a short name two letters are most of it.
  return (row[to.length] ?? 0) <= Math.min(typosMax, from.length / 3)
}

/** Any value. */
export const anything: Rule = () => []

/** A value that may be left out. */
export const optional =
  (rule: Rule): Rule =>
  (path, value) =>
    value === undefined ? [] : rule(path, value)

/**
 * A name: any well-formed text that is neither empty nor too long. Weird characters are just data.
 */
export const name: Rule = (path, value) => {
  const expected = `a text of 1 to ${nameBytesMax} bytes`
  if (typeof value !== 'string') return problem(path, expected, value, 'Give it a name.')
  if (value === '') return problem(path, expected, value, 'Give it a name.')
  if (!isWellFormed(value))
    return problem(path, 'well-formed Unicode text', value, 'Remove the half surrogate pair.')
  const bytes = bytesOf(value)
  if (bytes <= nameBytesMax) return []
  const found = `${quote(value)} of ${bytes} bytes`
  return [{ path, expected, found, next: 'Choose a shorter name.' }]
}

/** A whole number within bounds, both included. */
export const integer =
  (min: number, max: number = Number.MAX_SAFE_INTEGER, next = 'Correct the number.'): Rule =>
  (path, value) => {
    const expected =
      max === Number.MAX_SAFE_INTEGER
        ? `a whole number of at least ${min}`
        : `a whole number from ${min} to ${max}`
    const right =
      typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
    return right ? [] : problem(path, expected, value, next)
  }

/** A number that a check finds right. */
export const number =
  (expected: string, isRight: (value: number) => boolean): Rule =>
  (path, value) =>
    typeof value === 'number' && isRight(value)
      ? []
      : problem(path, expected, value, 'Correct the number.')

/** A text with something in it. */
export const nonEmptyText =
  (expected: string, next: string): Rule =>
  (path, value) =>
    typeof value === 'string' && value !== '' ? [] : problem(path, expected, value, next)

/** A yes or no. */
export const trueOrFalse: Rule = (path, value) =>
  typeof value === 'boolean' ? [] : problem(path, 'true or false', value, 'Choose one of these.')

/** A time in milliseconds that a timer can keep. */
export const milliseconds = (min: number, next?: string): Rule => integer(min, timeMsMax, next)

/** One of a few texts. */
export const oneOf =
  (...values: readonly string[]): Rule =>
  (path, value) =>
    typeof value === 'string' && values.includes(value)
      ? []
      : problem(path, `one of ${values.map(quote).join(', ')}`, value, 'Choose one of these.')

/** A function that is called and not awaited. */
export const synchronous =
  (does: string): Rule =>
  (path, value) => {
    if (typeof value !== 'function')
      return problem(path, `a function that ${does}`, value, 'Pass a function.')
    const kind = Object.prototype.toString.call(value)
    if (kind === '[object Function]') return []
    const next = 'Remove `async` (or the `*`): what it did later would belong to no checkpoint.'
    return [
      { path, expected: `a plain function that ${does}`, found: `${kind.slice(8, -1)}`, next },
    ]
  }

/** A function that returns an iterable, a generator function for example. */
export const opener: Rule = (path, value) => {
  const expected = 'a function that returns an iterable'
  if (typeof value !== 'function') return problem(path, expected, value, 'Pass a function.')
  const kind = Object.prototype.toString.call(value)
  return kind.startsWith('[object Async')
    ? [{ path, expected, found: kind.slice(8, -1), next: 'Remove `async`.' }]
    : []
}

/** An io-ts codec. */
export const codec: Rule = (path, value) => {
  const right =
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    ['decode', 'encode', 'is'].every(
      method => method in value && typeof Reflect.get(value, method) === 'function',
    ) &&
    'name' in value
  return right
    ? []
    : problem(path, 'an io-ts codec', value, 'Pass a codec such as t.type({ ... }).')
}

/** A text that a check finds no fault with. `faultOf` answers words that follow "it". */
export const text =
  (what: string, faultOf: (value: string) => string | undefined, next: string): Rule =>
  (path, value) => {
    if (typeof value !== 'string') return problem(path, what, value, next)
    const fault = faultOf(value)
    return fault === undefined
      ? []
      : [{ path, expected: what, found: `${quote(value)}, which ${fault}`, next }]
  }
