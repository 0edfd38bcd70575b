/**
 * Names from users on the wire.
 *
 * Names of jobs and vertices are data: `token` turns each into something that is safe wherever it
 * goes. Names of streams and subjects belong to the user's own servers and cannot be escaped: they
 * are refused, with the reason, when a server would refuse them or they would reach too far.
 * With `nats` 2.29, CR/LF in a subject forges protocol messages; nats-server 2.9 ends stream names at
 * 255 characters.
 *
 * Invariants
 *   N1. `token` is injective: two names never share a token.
 *   N2. A token holds only `[A-Za-z0-9-]` and `=xx`, and so none of the `_` and `.` that join names.
 *       With `_` as the escape, job `a` in generation 20 and job `a ` would share stream names, and
 *       clearing away `SLUICE_a_*` would reach into job `a b`.
 */

/** The longest stream name that a server takes, in characters. */
export const streamNameCharsMax = 255

/** The longest subject that we publish on or read from, in bytes. */
export const subjectBytesMax = 1024

const encoder = new TextEncoder()
const tokensMax = 10_000
const tokens = new Map<string, string>()

/** A name as one token that is safe in a subject, a stream name and a Redis key. */
export const token = (name: string): string => {
  const known = tokens.get(name)
  if (known !== undefined) return known
  // Names are few and asked for with every message; all are forgotten before they are too many.
  if (tokens.size >= tokensMax) tokens.clear()
  const fresh = made(name)
  tokens.set(name, fresh)
  return fresh
}

const made = (name: string): string => {
  let out = ''
  for (const byte of encoder.encode(name)) {
    const plain =
      (byte >= 48 && byte <= 57) ||
      (byte >= 65 && byte <= 90) ||
      (byte >= 97 && byte <= 122) ||
      byte === 45
    out += plain ? String.fromCharCode(byte) : `=${byte.toString(16).padStart(2, '0')}`
  }
  return out
}

/** Length of a text in UTF-8. */
export const bytesOf = (text: string): number => encoder.encode(text).length

/** Whether a text survives UTF-8: one with half a surrogate pair would be changed by it. */
export const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text)

// Controls end a protocol line or a header, and a space ends an argument.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const spacesAndControls = /[\s\u0000-\u001f\u007f-\u009f]/u

/** Why a text is no stream name, in words that follow "it"; undefined when it is one. */
export const streamNameFault = (name: string): string | undefined => {
  if (name === '') return 'is empty'
  if (!isWellFormed(name)) return 'is not well-formed Unicode text'
  if (spacesAndControls.test(name)) return 'holds a space or a control character'
  const taken = [...'.*>/\\'].find(char => name.includes(char))
  if (taken !== undefined) return `holds ${JSON.stringify(taken)}`
  return bytesOf(name) > streamNameCharsMax
    ? `is longer than ${streamNameCharsMax} bytes`
    : undefined
}

/** Why a text is no subject filter (wildcards allowed); undefined when it is one. */
export const filterFault = (filter: string): string | undefined => {
  if (filter === '') return 'is empty'
  if (!isWellFormed(filter)) return 'is not well-formed Unicode text'
  if (spacesAndControls.test(filter)) return 'holds a space or a control character'
  const tokens = filter.split('.')
  if (tokens.includes('')) return 'has an empty token (two dots in a row, or one at an end)'
  if (tokens.slice(0, -1).includes('>')) return 'has ">" before its last token'
  return bytesOf(filter) > subjectBytesMax ? `is longer than ${subjectBytesMax} bytes` : undefined
}

// Publishing there would speak to the server itself, to somebody's pending request, or to our own
// mailboxes.
const reserved: readonly string[] = ['$JS', '$SYS', '_INBOX', 'sluice']

/** Why a text is no subject to publish on; undefined when it is one. */
export const subjectFault = (subject: string): string | undefined => {
  const fault = filterFault(subject)
  if (fault !== undefined) return fault
  if (/[*>]/.test(subject)) return 'holds a wildcard (* or >), and a message goes to one subject'
  const first = subject.split('.')[0] ?? ''
  return reserved.includes(first) ? `starts with the reserved token ${first}` : undefined
}
