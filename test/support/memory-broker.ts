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
import { MemoryServer } from './memory-server.js'
import { MemoryStream } from './memory-stream.js'
import { overlap, remember } from './memory-subjects.js'
import type { VirtualTime } from './memory-time.js'

export { overlap }

export type Answer<A> = E.Either<StreamError, A>

const failed = (type: StreamError['type'], message: string): E.Either<StreamError, never> =>
  E.left(streamError(type, message))

/** What a restart takes with it besides the streams in memory. */
export interface RestartOptions {
  /** Above which sequence the tail of a stream was not synced, and is lost, by name of the stream. */
  readonly loseAbove?: ReadonlyMap<string, number>
}

/** All streams of a server. */
export class MemoryBroker {
  readonly streams = new Map<string, MemoryStream>()
  /** Whether it runs, for the wires to it. */
  readonly server = new MemoryServer()
  /** Called with the name of a stream whose consumers are gone, or undefined for all streams. */
  readonly consumersDropped = new Set<(stream: string | undefined) => void>()
  /** Which stream takes a subject, as far as somebody asked since streams were made or removed. */
  readonly #routes = new Map<string, MemoryStream>()
  #created = 0
  #full = false

  constructor(readonly time: VirtualTime) {}

  /**
   * Kills the server and starts it again: streams in memory are not there any more, streams in
   * files are whole but for the tails that are lost, and every connection breaks.
   */
  restart(options: RestartOptions = {}): void {
    this.server.restart(() => {
      for (const [name, { config }] of [...this.streams])
        if (config.storage === 'memory') this.remove(name)
      for (const [name, above] of options.loseAbove ?? []) this.streams.get(name)?.loseTail(above)
    })
  }

  /** While it is down, nothing reaches it: every request has an unknown outcome. */
  setDown(down: boolean): void {
    this.server.setDown(down)
  }

  /** While it hangs, what reaches it waits; it is done when it goes on. */
  setHung(hung: boolean): void {
    this.server.setHung(hung)
  }

  /** While it is full, it has no space for any message. */
  setFull(full: boolean): void {
    this.#full = full
  }

  /** Takes the consumers of a stream, or of all, away, so that their readers must make new ones. */
  dropConsumers(stream?: string): void {
    for (const tell of [...this.consumersDropped]) tell(stream)
  }

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
    const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload.slice()
    const outcome = this.publish(subject, bytes, {})
    if (outcome.type === 'stored') return outcome.sequence
    throw new Error(`not stored on ${subject}: ${outcome.type}`)
  }

  /** The payload must not change afterwards. */
  publish(subject: string, payload: Uint8Array, options: PublishOptions): PublishOutcome {
    const stream = this.streamOf(subject)
    if (stream !== undefined) return stream.store(subject, payload, options, !this.#full)
    const error = streamError('missing', `no stream takes ${subject}`)
    return { type: 'failed', error }
  }

  streamOf(subject: string): MemoryStream | undefined {
    const known = this.#routes.get(subject)
    if (known !== undefined) return known
    for (const stream of this.streams.values()) {
      if (!stream.takes(subject)) continue
      remember(this.#routes, subject, stream)
      return stream
    }
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
    this.#routes.clear()
    return E.right(stream.facts)
  }

  remove(name: string): void {
    const stream = this.streams.get(name)
    this.streams.delete(name)
    this.#routes.clear()
    if (stream !== undefined) for (const watcher of [...stream.watchers]) watcher()
  }

  /** A creation time is unique: servers write nanoseconds. */
  #stamp(): string {
    this.#created += 1
    const iso = new Date(Math.floor(this.time.wallClock)).toISOString()
    return `${iso.slice(0, -1)}${String(this.#created).padStart(6, '0')}Z`
  }
}
