/**
 * Guards for names on the wire. With `nats` 2.29 a subject that holds CR/LF forges protocol
 * messages, and one that holds a space silently becomes subject and reply.
 *
 *   NN1. No subject with a control character, white space or an empty token is ever written.
 *      Nor is a subject so long that the server, which limits a line to 4 KiB, would disconnect us.
 *   NN2. Only filters and the subjects of a stream may hold the wildcards `*` and `>`, as whole
 *       tokens.
 */
import { invariant } from '../../invariant.js'

const literal = /^[^\s.*>\p{Cc}]+(?:\.[^\s.*>\p{Cc}]+)*$/u
const pattern = /^(?:\*|[^\s.*>\p{Cc}]+)(?:\.(?:\*|[^\s.*>\p{Cc}]+))*(?:\.>)?$/u
const streamName = /^[^\s.*>/\\\p{Cc}]+$/u
const headerName = /^[!-9;-~]+$/
const controls = /\p{Cc}+/gu

const subjectLengthMax = 1_024
const streamNameLengthMax = 255
const checkedMax = 10_000
const checkedSubjects = new Set<string>()
const checkedHeaders = new Set<string>()

const remember = (checked: Set<string>, name: string): void => {
  if (checked.size >= checkedMax) checked.clear()
  checked.add(name)
}

/** Asserts that a subject may be published to (NN1). Subjects are made of tokens long before. */
export const checkSubject = (subject: string): void => {
  if (checkedSubjects.has(subject)) return
  const possible = subject.length <= subjectLengthMax && literal.test(subject)
  invariant(possible, 'NN1', `subject ${JSON.stringify(subject)}`)
  remember(checkedSubjects, subject)
}

/** Asserts that a subject may be subscribed to: like `checkSubject`, wildcards allowed (NN2). */
export const checkPattern = (subject: string): void =>
  invariant(isPattern(subject), 'NN2', `subject ${JSON.stringify(subject)}`)

/** Whether a string is a subject, with wildcards or without. */
export const isPattern = (subject: string): boolean =>
  subject.length <= subjectLengthMax && (subject === '>' || pattern.test(subject))

/** Whether a string can be the name of a stream. */
export const isStreamName = (name: string): boolean =>
  name.length <= streamNameLengthMax && streamName.test(name)

/** Asserts that a header name can be written. */
export const checkHeaderName = (name: string): void => {
  if (checkedHeaders.has(name)) return
  invariant(headerName.test(name), 'NN1', `header ${JSON.stringify(name)}`)
  remember(checkedHeaders, name)
}

/** A header value without control characters: CR/LF in it would forge further headers. */
export const headerValue = (value: string): string => value.replace(controls, ' ')
