/** Messages of the client as messages of the event log. */
import type { MsgHdrs, StoredMsg } from 'nats'
import type { LogMessage } from '../../ports/event-log.js'

/**
 * Headers by name; of several with one name, the first. A name may be `__proto__` like any other.
 */
export const messageHeaders = (headers: MsgHdrs | undefined): LogMessage['headers'] => {
  if (headers === undefined) return undefined
  const entries: Array<[string, string]> = []
  for (const [name, values] of headers) entries.push([name, values[0] ?? ''])
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

/** A message that was asked for by sequence or subject. */
export const storedMessage = (message: StoredMsg): LogMessage => ({
  sequence: message.seq,
  subject: message.subject,
  payload: message.data,
  headers: messageHeaders(message.header),
})
