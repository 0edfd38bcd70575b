/**
 * Reads a stream of a broker in memory, as `lib/adapters/nats/reader.ts` does: in requests of bounded
 * size, through a consumer that is made again behind the last message whenever it is in doubt.
 *
 *   MR1. What was lost is looked for when a consumer is made, and only then, as NV2 does.
 *   MR2. While the server is down nobody tries; tries that fail otherwise are bounded (NV3).
 */
import * as E from 'fp-ts/lib/Either.js'
import { requestProblem } from '../../lib/adapters/nats/consumer.js'
import { pullTiming } from '../../lib/adapters/nats/pull.js'
import { readerRetry } from '../../lib/adapters/nats/reader.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type { LogMessage, LogReader, ReadRequest } from '../../lib/ports/event-log.js'
import type { Answer, MemoryBroker } from './memory-broker.js'
import type { MemoryStream } from './memory-stream.js'
import type { MemoryWire } from './memory-wire.js'

/** What a reader has asked for and not been given yet. */
interface Pull {
  messages: number
  bytes: number
  untouched: boolean
}

/** A consumer, and the stream as it was when it was made. */
interface Consumer {
  readonly stream: MemoryStream
  readonly start: number
  readonly lastSequence: number
  /** The message that it starts behind. */
  readonly behind: LogMessage | undefined
}

export class MemoryReader implements LogReader {
  /** While there is a consumer. */
  private stream: MemoryStream | undefined
  private pull: Pull | undefined
  /** Where the next consumer starts; undefined until the first one exists. */
  private next: number | undefined
  /** Up to where this consumer has looked. */
  private cursor = 1
  /** The message before `next`. */
  private behind: LogMessage | undefined
  private createdAt: string | undefined
  private lastSeen = 0
  private openings = 0
  private failures = 0
  private begunAt = 0
  private paused = false
  private closed = false
  private awake = false
  private readonly stopListening: () => void
  private readonly watcher = (): void => this.wake()
  private readonly onDropped = (stream: string | undefined): void => {
    if (stream === undefined || stream === this.request.stream)
      this.enter(() => {
        if (this.stream !== undefined) this.tryAgain(doubt(this.request.stream))
      })
  }

  constructor(
    private readonly broker: MemoryBroker,
    private readonly wire: MemoryWire,
    private readonly request: ReadRequest,
  ) {
    this.stopListening = wire.linkTo(broker.server).listen({
      onCut: () => this.endSession(),
      onUp: () => this.open(),
      onGoOn: () => this.wake(),
    })
    broker.consumersDropped.add(this.onDropped)
    const problem = requestProblem(request)
    if (problem === undefined) this.open()
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
    this.stopListening()
    this.broker.consumersDropped.delete(this.onDropped)
    this.endSession()
  }

  /** Does something in the process, unless it is dead: then nothing is left to be done here. */
  private enter(act: () => void): void {
    const { process } = this.wire.options
    if (process.alive) process.enter(act)
    else this.close()
  }

  private endSession(): void {
    this.openings += 1
    this.stream?.watchers.delete(this.watcher)
    this.stream = undefined
    this.pull = undefined
  }

  private open(): void {
    const { request, wire } = this
    if (this.closed) return
    this.endSession()
    const opening = this.openings
    wire.request(
      `read ${request.stream}`,
      () => this.consume(),
      consumer => {
        if (this.closed || opening !== this.openings) return
        if (E.isRight(consumer)) this.begin(consumer.right)
        else this.fail(consumer.left)
      },
      error => {
        if (!this.closed && opening === this.openings) this.tryAgain(error)
      },
    )
  }

  /** What the server does when it makes a consumer. */
  private consume(): Answer<Consumer> {
    const { start } = this.request
    const found = this.broker.find(this.request.stream)
    if (E.isLeft(found)) return found
    const stream = found.right
    const { lastSequence } = stream
    // Nobody can wait for a message beyond the next one.
    const from = (sequence: number): Answer<Consumer> => {
      const first = Math.min(sequence, lastSequence + 1)
      return E.right({ stream, start: first, lastSequence, behind: stream.at(first - 1) })
    }
    if (this.next !== undefined) return from(this.next)
    if (start.at === 'sequence') return from(start.sequence)
    if (start.at === 'new') return from(lastSequence + 1)
    return from(start.at === 'time' ? stream.sequenceAt(Date.parse(start.time)) : 1)
  }

  private begin({ stream, start, lastSequence, behind }: Consumer): void {
    const { createdAt } = stream
    const isOther = (this.createdAt ?? createdAt) !== createdAt
    const isAnew = behind !== undefined && this.behind !== undefined && behind !== this.behind
    if (isOther || isAnew || lastSequence < this.lastSeen) {
      this.fail(lost(`stream ${this.request.stream} was made again, or has lost its tail`))
      return
    }
    this.createdAt = createdAt
    this.behind ??= behind
    this.lastSeen = lastSequence
    this.next = start
    this.cursor = start
    this.stream = stream
    this.begunAt = this.wire.options.time.now
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
    if (!this.wire.options.process.alive) {
      this.close()
      return
    }
    this.awake = true
    this.wire.bring(() => {
      this.awake = false
      this.deliver()
    })
  }

  private deliver(): void {
    const { stream, request } = this
    if (this.closed || stream === undefined || this.broker.server.isHung) return
    if (this.noticeLoss(stream)) return
    // Whatever is called may end the session.
    while (this.stream === stream) {
      const message = stream.next(this.cursor, request.subject)
      if (message === undefined) {
        this.cursor = stream.lastSequence + 1
        return
      }
      if (!this.take(message)) return
      this.behind = message
      this.next = message.sequence + 1
      this.cursor = this.next
      this.lastSeen = Math.max(this.lastSeen, message.sequence)
      this.failures = 0
      request.onMessage(
        request.headersOnly === true ? { ...message, payload: new Uint8Array(0) } : message,
      )
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

  /** The server says when a consumer goes with its stream. */
  private noticeLoss(stream: MemoryStream): boolean {
    const { stream: name } = this.request
    const found = this.broker.streams.get(name)
    if (found === stream && stream.lastSequence >= this.lastSeen) return false
    this.fail(
      found === undefined
        ? streamError('missing', `there is no stream ${name}`)
        : lost(`stream ${name} was made again, or has lost its tail`),
    )
    return true
  }

  private tryAgain(error: StreamError): void {
    const { time } = this.wire.options
    // A heartbeat shows that a consumer works, also when it has nothing to deliver.
    const wasAlive = this.stream !== undefined && time.now >= this.begunAt + pullTiming.heartbeatMs
    if (wasAlive) this.failures = 0
    this.endSession()
    if (this.broker.server.isDown) return
    this.failures += 1
    if (this.failures > readerRetry.attemptsMax) {
      const text = `reading stream ${this.request.stream} failed ${this.failures} times in a row`
      this.fail(streamError('unavailable', `${text}: ${error.message}`))
      return
    }
    const opening = this.openings
    const waitMs = Math.min(readerRetry.waitMs * 2 ** (this.failures - 1), readerRetry.waitMaxMs)
    time.after(waitMs, () =>
      this.enter(() => {
        if (opening === this.openings) this.open()
      }),
    )
  }

  private fail(error: StreamError): void {
    if (this.closed) return
    this.close()
    this.request.onFailed(error)
  }
}

const lost = (message: string): StreamError => streamError('lost', message)

const doubt = (stream: string): StreamError =>
  streamError('unavailable', `reading stream ${stream} is in doubt`)
