/**
 * Problems of a job definition, as text that a person can act on.
 *
 * A job is judged as a whole: every check answers a list of problems, never the first one only, and
 * nothing here throws. Whatever the user wrote is quoted before it is shown, because a name may
 * hold line breaks or terminal escapes.
 */

/** One thing that is wrong with a job, in plain text. */
export interface Problem {
  /** Where: `checkpoint.intervalMs`, `sink "delays-out".subject`. */
  readonly path: string
  /** What would have been right. */
  readonly expected: string
  /** What was there instead. */
  readonly found: string
  /** One sentence: what to do about it. */
  readonly next: string
}

/** A problem as one line of text. */
export const problemText = (problem: Problem): string =>
  `${problem.path}: expected ${problem.expected}, found ${problem.found}. ${problem.next}`

const quotedCharsMax = 80

// What JSON leaves as it is although a terminal would act on it: DEL and C1 controls, line
// separators, and the marks that reverse the direction of writing.
const unsafe = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`

/** Text in double quotes, escaped so that it can be shown anywhere, and cut when it is long. */
export const quote = (text: string): string => {
  const long = text.length > quotedCharsMax
  const json = JSON.stringify(long ? text.slice(0, quotedCharsMax) : text).replace(unsafe, escaped)
  return long ? `${json}… (${text.length} characters)` : json
}

/** A few words that say what a value is. */
export const describe = (value: unknown): string => {
  switch (typeof value) {
    case 'string':
      return quote(value)
    case 'function':
      return 'a function'
    case 'bigint':
      return `${value}n`
    case 'undefined':
      return 'nothing'
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : describeObject(value)
    default:
      return String(value)
  }
}

const describeObject = (value: object): string =>
  'type' in value && typeof value.type === 'string'
    ? `an object of type ${quote(value.type)}`
    : 'an object'
