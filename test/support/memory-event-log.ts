/** The event log of one process on a broker in memory. Mirrors what `lib/adapters/nats` promises. */
import * as E from 'fp-ts/lib/Either.js'
import {
  checkHeaderName,
  checkSubject,
  headerValue,
  isPattern,
} from '../../lib/adapters/nats/subjects.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type { EventLog, PublishOptions, PublishOutcome } from '../../lib/ports/event-log.js'
import type { Answer, MemoryBroker } from './memory-broker.js'
import { MemoryReader } from './memory-reader.js'
import type { MemoryStream } from './memory-stream.js'
import type { MemoryWire } from './memory-wire.js'

const payloadBytesMax = 1024 * 1024

export const memoryEventLog = (broker: MemoryBroker, wire: MemoryWire): EventLog => {
  // The control bus of the process is on the same connection.
  wire.server = broker.server
  // The control bus of the process is on the same connection.
  wire.server = broker.server
  const inStream = <A>(request: string, name: string, look: (stream: MemoryStream) => Answer<A>) =>
    wire.ask(request, (): Answer<A> => {
      const stream = broker.find(name)
      return E.isLeft(stream) ? stream : look(stream.right)
    })
  return {
    payloadBytesMax,
    publish: (subject, payload, options, onOutcome) =>
      publish(broker, wire, subject, payload, options, onOutcome),
    read: request => new MemoryReader(broker, wire, request),
    facts: name => inStream(`facts ${name}`, name, stream => E.right(stream.facts)),
    streamOf: subject =>
      wire.ask(`stream of ${subject}`, () =>
        isPattern(subject)
          ? E.right(broker.streamOf(subject)?.config.name)
          : E.left(streamError('invalid', `${JSON.stringify(subject)} is no subject`)),
      ),
    last: (name, subject) =>
      inStream(`last ${subject}`, name, stream =>
        isPattern(subject)
          ? E.right(stream.last(subject))
          : E.left(streamError('invalid', `${JSON.stringify(subject)} is no subject`)),
      ),
    at: (name, sequence) =>
      inStream(`at ${name} ${sequence}`, name, stream => E.right(stream.at(sequence))),
    create: config => wire.ask(`create ${config.name}`, () => broker.create(config)),
    remove: name =>
      wire.ask(`remove ${name}`, () => {
        const found = broker.find(name)
        if (E.isLeft(found) && found.left.type !== 'missing') return found
        broker.remove(name)
        return E.right(undefined)
      }),
    list: prefix =>
      wire.ask(`list ${prefix}`, () =>
        E.right([...broker.streams.keys()].filter(name => name.startsWith(prefix))),
      ),
    purge: (name, below) => inStream(`purge ${name}`, name, stream => E.right(stream.purge(below))),
  }
}

const cleaned = (headers: PublishOptions['headers']): PublishOptions['headers'] => {
  if (headers === undefined) return undefined
  for (const name of Object.keys(headers)) checkHeaderName(name)
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, headerValue(value)]),
  )
}

const publish = (
  broker: MemoryBroker,
  wire: MemoryWire,
  subject: string,
  payload: Uint8Array,
  options: PublishOptions,
  onOutcome: (outcome: PublishOutcome) => void,
): void => {
  checkSubject(subject)
  const headers = cleaned(options.headers)
  const fail = (error: StreamError): void => onOutcome({ type: 'failed', error })
  if (payload.byteLength > payloadBytesMax) {
    const text = `${payload.byteLength} bytes exceed the server's limit`
    wire.bring(() => fail(streamError('invalid', text)))
    return
  }
  // The caller may use its buffer again at once.
  const bytes = payload.slice()
  const { expectedLastSubjectSequence } = options
  const demands: PublishOptions = {
    ...(headers === undefined ? {} : { headers }),
    ...(expectedLastSubjectSequence === undefined ? {} : { expectedLastSubjectSequence }),
  }
  const send = (): PublishOutcome => broker.publish(subject, bytes, demands)
  wire.request(`publish ${subject}`, send, onOutcome, fail)
}
