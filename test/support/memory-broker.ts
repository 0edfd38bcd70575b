/** What a JetStream server keeps: streams of messages, for the event log in memory. */
import * as E from 'fp-ts/lib/Either.js'
import { isPattern, isStreamName } from '../../lib/adapters/nats/subjects.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type {
  LogMessage,
  PublishOptions,
  PublishOutcome,
  StreamConfig,
  StreamFacts,
} from '../../lib/ports/event-log.js'
import type { VirtualTime } from './memory-time.js'

export type Answer<A> = E.Either<StreamError, A>

/** What a message takes besides its payload. */
const overheadBytes = 40

const failed = (type: StreamError['type'], message: string): E.Either<StreamError, never> =>
  E.left(streamError(type, message))

/** Whether two subjects, wildcards allowed, have a subject in common. */
export const overlap = (left: string, right: string): boolean => {
  const a = left.split('.')
  const b = right.split('.')
  for (let i = 0; i < Math.max(a.length, b.length); i += 1) {
    if ((a[i] === '>' && b[i] !== undefined) || (b[i] === '>' && a[i] !== undefined)) return true
    if (a[i] === undefined || b[i] === undefined) return false
    if (a[i] !== '*' && b[i] !== '*' && a[i] !== b[i]) return false
  }
  return true
}

interface Stored {
  readonly message: LogMessage
  readonly storedAt: number
  readonly bytes: number
}

/** One stream of messages. */
export class MemoryStream {
  /** By sequence, ascending. */
  readonly #stored = new Map<number, Stored>()
  #last = 0
  #first = 0
  #bytes = 0
  /** Called whenever something changed. */
  readonly watchers = new Set<() => void>()

  constructor(
    readonly config: StreamConfig,
    readonly createdAt: string,
    private readonly time: VirtualTime,
  ) {}

  get facts(): StreamFacts {
    return {
      name: this.config.name,
      subjects: [...this.config.subjects],
      createdAt: this.createdAt,
      firstSequence: this.#first,
      lastSequence: this.#last,
      messages: this.#stored.size,
      retention: 'limits',
      storage: this.config.storage,
      maxAgeMs: 0,
      duplicateWindowMs: this.config.duplicateWindowMs ?? 120_000,
    }
  }

  get lastSequence(): number {
    return this.#last
  }

  takes(subject: string): boolean {
    return this.config.subjects.some(pattern => overlap(pattern, subject))
  }

  at(sequence: number): LogMessage | undefined {
    return this.#stored.get(sequence)?.message
  }

  last(subject: string): LogMessage | undefined {
    for (let sequence = this.#last; sequence >= this.#first; sequence -= 1) {
      const message = this.at(sequence)
      if (message !== undefined && overlap(subject, message.subject)) return message
    }
    return undefined
  }

  /** First sequence that was stored at a time (ms since 1970) or later. */
  sequenceAt(time: number): number {
    for (const [sequence, { storedAt }] of this.#stored) if (storedAt >= time) return sequence
    return this.#last + 1
  }

  /** The first message from a sequence on that a filter lets through. */
  next(from: number, subject: string | undefined): LogMessage | undefined {
    for (let sequence = Math.max(from, this.#first); sequence <= this.#last; sequence += 1) {
      const message = this.at(sequence)
      if (message === undefined) continue
      if (subject === undefined || overlap(subject, message.subject)) return message
    }
    return undefined
  }

  store(subject: string, payload: Uint8Array, options: PublishOptions): PublishOutcome {
    const { expectedLastSubjectSequence: expected, headers } = options
    const actual = this.last(subject)?.sequence ?? 0
    if (expected !== undefined && expected !== actual)
      return { type: 'wrong-last-sequence', actual }
    const bytes = payload.byteLength + subject.length + overheadBytes
    const { bytesMax, messagesPerSubjectMax } = this.config
    if (bytesMax !== undefined && this.#bytes + bytes > bytesMax) {
      const error = streamError(
        'full',
        `stream ${this.config.name} is full: maximum bytes exceeded`,
      )
      return { type: 'failed', error }
    }
    this.#last += 1
    const sequence = this.#last
    const message = { sequence, subject, payload: payload.slice(), headers }
    if (this.#stored.size === 0) this.#first = sequence
    this.#stored.set(sequence, { message, storedAt: this.time.wallClock, bytes })
    this.#bytes += bytes
    if (messagesPerSubjectMax !== undefined) this.#thin(subject, messagesPerSubjectMax)
    this.#changed()
    return { type: 'stored', sequence }
  }

  /** Removes one message, as an operator of the server may. */
  delete(sequence: number): void {
    const stored = this.#stored.get(sequence)
    if (stored === undefined) return
    this.#stored.delete(sequence)
    this.#bytes -= stored.bytes
    const [first] = this.#stored.keys()
    this.#first = first ?? this.#last + 1
  }

  purge(below: number): void {
    for (const sequence of [...this.#stored.keys()]) {
      if (sequence < below) this.delete(sequence)
    }
    if (this.#stored.size === 0 && below > this.#first) this.#first = this.#last + 1
  }

  /** Forgets the newest messages, as a server does that lost its unsynced writes. */
  loseTail(above: number): void {
    for (const sequence of [...this.#stored.keys()]) if (sequence > above) this.delete(sequence)
    this.#last = Math.min(this.#last, above)
    if (this.#stored.size === 0) this.#first = this.#last + 1
    this.#changed()
  }

  #thin(subject: string, max: number): void {
    const same = [...this.#stored.values()].filter(({ message }) => message.subject === subject)
    for (const { message } of same.slice(0, -max)) this.delete(message.sequence)
  }

  #changed(): void {
    for (const watcher of [...this.watchers]) watcher()
  }
}

/** All streams of a server. */
export class MemoryBroker {
  readonly streams = new Map<string, MemoryStream>()
  #created = 0

  constructor(readonly time: VirtualTime) {}

  /** The content of a stream, for checks. */
  content(name: string): readonly LogMessage[] {
    const stream = this.streams.get(name)
    const messages: LogMessage[] = []
    for (
      let message = stream?.next(0, undefined);
      message !== undefined;
      message = stream?.next(message.sequence + 1, undefined)
    ) {
      messages.push(message)
    }
    return messages
  }

  /** Stores a message at once, as a producer outside of the world would. */
  put(subject: string, payload: Uint8Array | string): number {
    const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload
    const outcome = this.publish(subject, bytes, {})
    if (outcome.type === 'stored') return outcome.sequence
    throw new Error(`not stored on ${subject}: ${outcome.type}`)
  }

  publish(subject: string, payload: Uint8Array, options: PublishOptions): PublishOutcome {
    const stream = this.streamOf(subject)
    if (stream !== undefined) return stream.store(subject, payload, options)
    const error = streamError('missing', `no stream takes ${subject}`)
    return { type: 'failed', error }
  }

  streamOf(subject: string): MemoryStream | undefined {
    for (const stream of this.streams.values()) if (stream.takes(subject)) return stream
    return undefined
  }

  find(name: string): Answer<MemoryStream> {
    if (!isStreamName(name)) return failed('invalid', `${JSON.stringify(name)} is no stream name`)
    const stream = this.streams.get(name)
    return stream === undefined ? failed('missing', `there is no stream ${name}`) : E.right(stream)
  }

  create(config: StreamConfig): Answer<StreamFacts> {
    const { name, subjects, storage } = config
    if (!isStreamName(name)) return failed('invalid', `${JSON.stringify(name)} is no stream name`)
    const bad = subjects.find(subject => !isPattern(subject))
    if (bad !== undefined) return failed('invalid', `${JSON.stringify(bad)} is no subject`)
    const known = this.streams.get(name)
    if (known !== undefined) {
      const same =
        known.config.storage === storage &&
        known.config.subjects.length === subjects.length &&
        known.config.subjects.every(subject => subjects.includes(subject))
      if (same) return E.right(known.facts)
      return failed('conflict', `stream ${name} exists with ${known.config.subjects.join(', ')}`)
    }
    for (const other of this.streams.values()) {
      if (subjects.some(subject => other.takes(subject)))
        return failed('conflict', `stream ${other.config.name} takes subjects of ${name}`)
    }
    const stream = new MemoryStream({ ...config }, this.#stamp(), this.time)
    this.streams.set(name, stream)
    return E.right(stream.facts)
  }

  remove(name: string): void {
    const stream = this.streams.get(name)
    this.streams.delete(name)
    if (stream !== undefined) for (const watcher of [...stream.watchers]) watcher()
  }

  /** A creation time is unique: servers write nanoseconds. */
  #stamp(): string {
    this.#created += 1
    const iso = new Date(Math.floor(this.time.wallClock)).toISOString()
    return `${iso.slice(0, -1)}${String(this.#created).padStart(6, '0')}Z`
  }
}
