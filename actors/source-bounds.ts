/**
 * Where a source of a stream starts and ends: fixed when its job first starts, not when it restarts.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { StreamError } from '../lib/errors.js'
import type { JetStreamSource } from '../lib/job/contracts.js'
import type { EventLog, StreamFacts } from '../lib/ports/event-log.js'
import type { JetStreamPosition } from '../lib/protocol/source-position.js'

/** Where a source stands before it has read anything, as its stream is now. */
export const firstPosition = async (
  source: JetStreamSource<unknown>,
  facts: StreamFacts,
  log: EventLog,
): Promise<E.Either<StreamError, JetStreamPosition>> => {
  const { start, end, stream } = source
  const { createdAt, firstSequence, lastSequence } = facts
  const needsLast = start.at === 'last' || end?.at === 'last'
  const last = needsLast ? await lastOf(source, lastSequence, facts, log) : E.right(undefined)
  if (E.isLeft(last)) return last
  const before = (): number | undefined => {
    switch (start.at) {
      case 'first':
        return Math.max(0, firstSequence - 1)
      case 'sequence':
        return Math.max(start.sequence, firstSequence) - 1
      case 'last':
        return last.right === 'none' ? lastSequence : (last.right ?? lastSequence) - 1
      case 'new':
        return lastSequence
      case 'time':
        return undefined
    }
  }
  const endOf = (): number | undefined => {
    if (end === undefined) return undefined
    if (end.at === 'sequence') return end.sequence
    return last.right === 'none' ? 0 : (last.right ?? lastSequence)
  }
  const offset = before()
  return E.right({ type: 'jetstream', stream, createdAt, offset, hash: undefined, end: endOf() })
}

/** How many messages are looked at, one by one, where the server does not know the last of a subject. */
const lookedAtMax = 1_000

/**
 * The last message up to a sequence that the source would read. Undefined: there may be one, but it is
 * not known which. A server (2.9) that had a subject's last message deleted may have forgotten the ones
 * before it, so that its "none" is believed only once the messages themselves say so.
 */
export const lastOf = async (
  { stream, subject = '>' }: JetStreamSource<unknown>,
  through: number,
  { firstSequence, lastSequence, messages }: StreamFacts,
  log: EventLog,
): Promise<E.Either<StreamError, number | 'none' | undefined>> => {
  const last = await log.last(stream, subject)()
  if (E.isLeft(last)) return last
  const found = last.right?.sequence
  if (found !== undefined) return E.right(found <= through ? found : undefined)
  if (messages === 0) return E.right('none')
  const from = Math.min(through, lastSequence)
  for (let sequence = from; sequence >= firstSequence && sequence > 0; sequence -= 1) {
    if (from - sequence >= lookedAtMax) return E.right(undefined)
    const message = await log.at(stream, sequence)()
    if (E.isLeft(message)) return message
    if (message.right !== undefined && letsThrough(subject, message.right.subject))
      return E.right(sequence)
  }
  return E.right('none')
}

/** Whether a filter, wildcards allowed, lets a message's subject through. */
const letsThrough = (filter: string, subject: string): boolean => {
  const wanted = filter.split('.')
  const tokens = subject.split('.')
  const open = wanted.at(-1) === '>'
  if (open ? tokens.length < wanted.length : tokens.length !== wanted.length) return false
  return wanted.every((token, i) => token === '*' || token === '>' || token === tokens[i])
}
