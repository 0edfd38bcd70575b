/** The event log of one process on a broker in memory. Mirrors what `lib/adapters/nats` promises. */
import * as E from 'fp-ts/lib/Either.js'
import { requestProblem } from '../../lib/adapters/nats/consumer.js'
import {
  checkHeaderName,
  checkSubject,
  headerValue,
  isPattern,
} from '../../lib/adapters/nats/subjects.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type {
  EventLog,
  LogMessage,
  LogReader,
  PublishOptions,
  PublishOutcome,
  ReadRequest,
} from '../../lib/ports/event-log.js'
import type { Answer, MemoryBroker, MemoryStream } from './memory-broker.js'
import type { MemoryWire } from './memory-wire.js'

const payloadBytesMax = 1024 * 1024

export const memoryEventLog = (broker: MemoryBroker, wire: MemoryWire): EventLog => {
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
  const fail = (type: StreamError['type'], message: string): void =>
    onOutcome({ type: 'failed', error: streamError(type, message) })
  if (payload.byteLength > payloadBytesMax) {
    wire.bring(() => fail('invalid', `${payload.byteLength} bytes exceed the server's limit`))
    return
  }
  const bytes = payload.slice()
  const { expectedLastSubjectSequence } = options
  wire.send(`publish ${subject}`, fault => {
    if (fault !== 'lost') {
      const outcome = broker.publish(subject, bytes, {
        ...(headers === undefined ? {} : { headers }),
        ...(expectedLastSubjectSequence === undefined ? {} : { expectedLastSubjectSequence }),
      })
      if (fault === undefined) {
        wire.bring(() => onOutcome(outcome))
        return
      }
    }
    wire.timeOut(() => fail('timed-out', `the publish to ${subject} was not acknowledged in time`))
  })
}

/** What a reader has asked for and not been given yet. */
interface Pull {
  messages: number
  bytes: number
  untouched: boolean
}

/** Reads in requests of bounded size, one at a time, as a pull consumer does. */
class MemoryReader implements LogReader {
  private stream: MemoryStream | undefined
  private pull: Pull | undefined
  private next = 1
  private lastSeen = 0
  private paused = false
  private closed = false
  private awake = false
  private readonly watcher = (): void => this.wake()

  constructor(
    private readonly broker: MemoryBroker,
    private readonly wire: MemoryWire,
    private readonly request: ReadRequest,
  ) {
    const problem = requestProblem(request)
    if (problem === undefined) wire.send(`read ${request.stream}`, () => this.open())
    else wire.bring(() => this.fail(problem))
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    if (this.stream !== undefined) this.ask()
  }

  close(): void {
    this.closed = true
    this.stream?.watchers.delete(this.watcher)
  }

  private open(): void {
    if (this.closed) return
    const { start } = this.request
    const found = this.broker.find(this.request.stream)
    if (E.isLeft(found)) {
      this.wire.bring(() => this.fail(found.left))
      return
    }
    const stream = found.right
    this.stream = stream
    this.lastSeen = stream.lastSequence
    if (start.at === 'sequence') this.next = start.sequence
    if (start.at === 'new') this.next = stream.lastSequence + 1
    if (start.at === 'time') this.next = stream.sequenceAt(Date.parse(start.time))
    stream.watchers.add(this.watcher)
    this.ask()
  }

  private ask(): void {
    if (this.paused || this.pull !== undefined) return
    const { messagesMax, bytesMax } = this.request
    this.pull = { messages: Math.floor(messagesMax), bytes: bytesMax, untouched: true }
    this.wake()
  }

  /** Brings what there is, in its turn on the wire. */
  private wake(): void {
    if (this.awake || this.closed) return
    this.awake = true
    this.wire.bring(() => {
      this.awake = false
      this.deliver()
    })
  }

  private deliver(): void {
    const { stream, request } = this
    if (this.closed || stream === undefined || this.noticeLoss(stream)) return
    for (;;) {
      const message = stream.next(this.next, request.subject)
      if (message === undefined || !this.take(message)) return
      this.next = message.sequence + 1
      this.lastSeen = Math.max(this.lastSeen, message.sequence)
      request.onMessage(
        request.headersOnly === true ? { ...message, payload: new Uint8Array(0) } : message,
      )
      if (this.closed) return
    }
  }

  /** Whether the message belongs to the current request; too large a one comes alone. */
  private take(message: LogMessage): boolean {
    const { pull } = this
    if (pull === undefined) return false
    const bytes = message.payload.byteLength + message.subject.length
    const fits = pull.messages > 0 && (bytes <= pull.bytes || pull.untouched)
    if (!fits) {
      this.pull = undefined
      this.ask()
      return false
    }
    pull.messages -= 1
    pull.bytes -= bytes
    pull.untouched = false
    return true
  }

  private noticeLoss(stream: MemoryStream): boolean {
    const { stream: name } = this.request
    const found = this.broker.streams.get(name)
    if (found === stream && stream.lastSequence >= this.lastSeen) return false
    this.fail(
      found === undefined
        ? streamError('missing', `there is no stream ${name}`)
        : streamError('lost', `stream ${name} was made again, or has lost its tail`),
    )
    return true
  }

  private fail(error: StreamError): void {
    if (this.closed) return
    this.close()
    this.request.onFailed(error)
  }
}
