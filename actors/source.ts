/**
 * The head of a source subtask: reads a replayable source, decodes and validates each record once, and
 * knows its position at any barrier. The position lives in checkpoints only.
 *
 * Where a source starts and ends is fixed when its job first starts. A bounded source has ended when no
 * message up to its end is left to be read: the one at its end may be on another subject, or removed.
 */
import * as E from 'fp-ts/lib/Either.js'
import { PathReporter } from 'io-ts/lib/PathReporter.js'
import { messageOf, SluiceError, type StreamError, streamError } from '../lib/errors.js'
import type { IterableSource, JetStreamSource } from '../lib/job/contracts.js'
import type {
  EventLog,
  LogMessage,
  LogReader,
  LogStart,
  StreamFacts,
} from '../lib/ports/event-log.js'
import type { Digests } from '../lib/ports/record-codec.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import {
  type IterablePosition,
  type JetStreamPosition,
  type SourcePosition,
  verifyPosition,
} from '../lib/protocol/source-position.js'
import type { Gate } from './gate.js'
import type { Head, PumpOutcome } from './head.js'
import { firstPosition, lastOf } from './source-bounds.js'

/** A message that the source's codec refused. */
export interface RefusedMessage {
  readonly stream: string
  readonly offset: number
  readonly subject: string
  readonly raw: Uint8Array
  readonly reason: string
}

/** What surrounds a source: where its records go, and whom it tells. */
export interface SourceHost {
  readonly gate: Gate
  readonly log: EventLog
  readonly digests: Digests
  readonly scheduler: Scheduler
  readonly receive: (record: unknown) => void
  readonly onRefused: (message: RefusedMessage) => void
  readonly onArrived: () => void
  readonly onEnded: () => void
  readonly onFailed: (error: StreamError) => void
}

/** A head that knows its position at any moment. */
export interface SourceHead extends Head {
  readonly position: SourcePosition
}

/** The clock is read after every 16th record: it costs, and so does a turn that is too long. */
const clockMask = 15
const messagesMax = 1024
const bytesMax = 4 * 1024 * 1024

/** Checks a JetStream source against its stream, and makes its head. Errors are final: waiting mends none. */
export const openJetStreamSource = async (
  source: JetStreamSource<unknown>,
  restored: JetStreamPosition | undefined,
  host: SourceHost,
): Promise<E.Either<StreamError, JetStreamHead>> => {
  const facts = await host.log.facts(source.stream)()
  if (E.isLeft(facts)) return E.left(explainMissing(source, facts.left))
  if (restored === undefined) {
    const first = await firstPosition(source, facts.right, host.log)
    return E.isLeft(first) ? first : E.right(new JetStreamHead(source, first.right, host))
  }
  const hashAtOffset = await hashAt(restored, facts.right, host)
  if (E.isLeft(hashAtOffset)) return hashAtOffset
  const verdict = verifyPosition(restored, { ...facts.right, hashAtOffset: hashAtOffset.right })
  return E.isLeft(verdict) ? verdict : E.right(new JetStreamHead(source, restored, host))
}

/** Hash of the message that a position has come to; undefined where the stream no longer holds it. */
const hashAt = async (
  { stream, offset }: JetStreamPosition,
  { firstSequence, lastSequence }: StreamFacts,
  { log, digests }: SourceHost,
): Promise<E.Either<StreamError, string | undefined>> => {
  if (offset === undefined || offset < firstSequence || offset > lastSequence)
    return E.right(undefined)
  const message = await log.at(stream, offset)()
  if (E.isLeft(message)) return message
  return E.right(message.right === undefined ? undefined : digests.hash(message.right.payload))
}

const explainMissing = (source: JetStreamSource<unknown>, error: StreamError): StreamError =>
  error.type === 'missing'
    ? streamError(
        'missing',
        `source '${source.id}' reads stream '${source.stream}', which does not exist`,
        {
          next: `Create the stream '${source.stream}', or correct 'stream' in the source.`,
          cause: error,
        },
      )
    : error

/** Silence after which a bounded source asks whether anything is left to come. */
const quietMsMin = 1_000
const quietMsMax = 30_000

class JetStreamHead implements SourceHead {
  private queue: LogMessage[] = []
  private next = 0
  private offset: number | undefined
  private lastPayload: Uint8Array | undefined
  private reader: LogReader | undefined
  private paused = false
  private isEnded = false
  private disposed = false
  /** Up to here no message was cut off the stream's front before it was read. */
  private unbrokenThrough = 0
  private verifying = false
  /**
   * Whether the restored position was verified since reading began. Between the restore and the first
   * message the stream may have lost its tail and grown again; from then on the reader notices.
   */
  private confirmed: boolean
  /** Nothing up to the end is left in the stream. */
  private nothingLeft = false
  private looking = false
  private quietAt: number | undefined
  private quietMs = quietMsMin
  private lookAt = 0
  private readonly decoder = new TextDecoder('utf-8', { fatal: true })

  constructor(
    private readonly source: JetStreamSource<unknown>,
    private readonly from: JetStreamPosition,
    private readonly host: SourceHost,
  ) {
    this.offset = from.offset
    this.confirmed = from.hash === undefined
  }

  get ended(): boolean {
    return this.isEnded
  }

  get position(): JetStreamPosition {
    const hash =
      this.lastPayload === undefined ? this.from.hash : this.host.digests.hash(this.lastPayload)
    return { ...this.from, offset: this.offset, hash }
  }

  start(): void {
    const { source, host, from } = this
    if (from.end !== undefined && (this.offset ?? 0) >= from.end) {
      this.finish()
      return
    }
    this.lookAt = host.scheduler.now() + this.quietMs
    this.reader = host.log.read({
      stream: source.stream,
      ...(source.subject === undefined ? {} : { subject: source.subject }),
      start: this.startAt(),
      messagesMax,
      bytesMax,
      onMessage: message => {
        this.queue.push(message)
        if (!this.paused && this.queue.length - this.next > 2 * messagesMax) this.pause(true)
        host.onArrived()
      },
      onFailed: error => host.onFailed(explainMissing(source, error)),
    })
  }

  pump(until: number): PumpOutcome {
    const outcome = this.work(until)
    this.trim()
    return outcome
  }

  private work(until: number): PumpOutcome {
    const { host } = this
    for (let count = 1; this.next < this.queue.length; count += 1) {
      if (host.gate.closed) return 'blocked'
      const message = this.queue[this.next]
      if (message === undefined || !this.isUnbroken(message.sequence)) return 'idle'
      this.next += 1
      if (!this.take(message)) return 'idle'
      if ((count & clockMask) === 0 && host.scheduler.now() >= until) return 'yield'
    }
    if (this.nothingLeft) this.finish()
    return 'idle'
  }

  /** Lets go of what was processed, and asks for more while less than one request's worth is left. */
  private trim(): void {
    const left = this.queue.length - this.next
    if (left === 0 || this.next > messagesMax) {
      this.queue = left === 0 ? [] : this.queue.slice(this.next)
      this.next = 0
    }
    if (this.paused && left < messagesMax) this.pause(false)
  }

  abort(): void {}

  tick(now: number): void {
    const { end } = this.from
    if (end === undefined || this.isEnded || this.looking || this.reader === undefined) return
    if (this.offset !== this.quietAt) {
      this.quietAt = this.offset
      this.quietMs = quietMsMin
      this.lookAt = now + this.quietMs
    }
    if (now < this.lookAt || this.next < this.queue.length) return
    this.looking = true
    void this.isNothingLeft(end).then(nothingLeft => {
      this.looking = false
      this.quietMs = Math.min(2 * this.quietMs, quietMsMax)
      this.lookAt = this.host.scheduler.now() + this.quietMs
      this.nothingLeft ||= nothingLeft && this.reader !== undefined
      if (this.nothingLeft) this.host.onArrived()
    })
  }

  dispose(): void {
    this.disposed = true
    this.reader?.close()
    this.reader = undefined
    this.queue = []
    this.next = 0
  }

  /**
   * Whether everything up to a message was read or removed one by one. A stream whose limits, or a
   * purge, cut off its front moves an unhurried reader on in silence. Behind a filter nobody can
   * tell what was cut off, so that there it is checked on restore only.
   */
  private isUnbroken(sequence: number): boolean {
    const { offset, source } = this
    if (offset === undefined) return true
    if (this.confirmed) {
      if (source.subject !== undefined) return true
      if (sequence === offset + 1 || sequence <= this.unbrokenThrough) return true
    }
    if (!this.verifying) void this.verify(offset, this.queue.at(-1)?.sequence ?? sequence)
    return false
  }

  /** Asked again with the next message or tick when it was not answered. */
  private async verify(offset: number, through: number): Promise<void> {
    const { source, host } = this
    const { from, confirmed } = this
    this.verifying = true
    const facts = await host.log.facts(source.stream)()
    const hash =
      E.isLeft(facts) || confirmed ? E.right(undefined) : await hashAt(from, facts.right, host)
    this.verifying = false
    if (this.disposed) return
    if (E.isLeft(facts)) {
      if (facts.left.type === 'missing') host.onFailed(explainMissing(source, facts.left))
      return
    }
    if (E.isLeft(hash)) return
    const observed = { ...facts.right, hashAtOffset: hash.right }
    const verdict = verifyPosition({ ...from, offset }, observed)
    if (E.isLeft(verdict)) {
      host.onFailed(verdict.left)
      return
    }
    this.confirmed = true
    this.unbrokenThrough = through
    host.onArrived()
  }

  /** Whether the stream has come to the end and holds nothing up to it that was not read. */
  private async isNothingLeft(end: number): Promise<boolean> {
    const { source, host } = this
    const { offset } = this
    const facts = await host.log.facts(source.stream)()
    // What fails here fails the reader, too, which says so.
    if (E.isLeft(facts) || facts.right.lastSequence < end) return false
    const last = await lastOf(source, end, facts.right, host.log)
    if (E.isLeft(last) || last.right === undefined) return false
    const isRead = last.right === 'none' || last.right <= (offset ?? 0)
    return isRead && this.offset === offset
  }

  /** One message. False when the source has come to its end. */
  private take(message: LogMessage): boolean {
    const { end } = this.from
    if (end !== undefined && message.sequence > end) {
      this.finish()
      return false
    }
    this.offset = message.sequence
    this.lastPayload = message.payload
    this.decode(message)
    if (end === undefined || message.sequence < end) return true
    this.finish()
    return false
  }

  private decode(message: LogMessage): void {
    let value: unknown
    try {
      value = JSON.parse(this.decoder.decode(message.payload))
    } catch (thrown) {
      this.refuse(message, `not JSON: ${messageOf(thrown)}`)
      return
    }
    const decoded = this.source.accepts.decode(value)
    if (E.isRight(decoded)) this.host.receive(decoded.right)
    else this.refuse(message, PathReporter.report(decoded).join('; '))
  }

  private refuse(message: LogMessage, reason: string): void {
    this.host.onRefused({
      stream: this.source.stream,
      offset: message.sequence,
      subject: message.subject,
      raw: message.payload,
      reason,
    })
  }

  private finish(): void {
    if (this.isEnded) return
    this.isEnded = true
    this.reader?.close()
    this.queue = []
    this.next = 0
    this.host.onEnded()
  }

  private startAt(): LogStart {
    if (this.offset !== undefined) return { at: 'sequence', sequence: this.offset + 1 }
    const { start } = this.source
    return start.at === 'time' ? start : { at: 'first' }
  }

  private pause(paused: boolean): void {
    this.paused = paused
    if (paused) this.reader?.pause()
    else this.reader?.resume()
  }
}

/** Reads records made in the process itself; replays by asking for them again from an offset. */
export class IterableHead implements SourceHead {
  private iterator: Iterator<unknown> | undefined
  private offset: number
  private isEnded = false

  constructor(
    private readonly source: IterableSource<unknown>,
    private readonly restored: IterablePosition | undefined,
    private readonly host: SourceHost,
  ) {
    this.offset = restored?.offset ?? 0
  }

  get ended(): boolean {
    return this.isEnded
  }

  get position(): IterablePosition {
    return { type: 'iterable', offset: this.offset, ended: this.isEnded }
  }

  start(): void {
    if (this.restored?.ended === true) {
      this.isEnded = true
      this.host.onEnded()
      return
    }
    try {
      this.iterator = this.source.open(this.offset)[Symbol.iterator]()
    } catch (thrown) {
      throw this.broken(thrown)
    }
    this.host.onArrived()
  }

  pump(until: number): PumpOutcome {
    const { iterator, host } = this
    if (iterator === undefined || this.isEnded) return 'idle'
    for (let count = 1; ; count += 1) {
      if (host.gate.closed) return 'blocked'
      const next = this.step(iterator)
      if (next.done === true) {
        this.isEnded = true
        host.onEnded()
        return 'idle'
      }
      this.offset += 1
      host.receive(next.value)
      if ((count & clockMask) === 0 && host.scheduler.now() >= until) return 'yield'
    }
  }

  abort(): void {}
  tick(): void {}

  dispose(): void {
    const { iterator } = this
    this.iterator = undefined
    try {
      iterator?.return?.()
    } catch (thrown) {
      // What a user's generator throws at its end must not keep the rest from being let go of.
      this.host.onFailed(this.broken(thrown).error)
    }
  }

  private step(iterator: Iterator<unknown>): IteratorResult<unknown> {
    try {
      return iterator.next()
    } catch (thrown) {
      throw this.broken(thrown)
    }
  }

  private broken(thrown: unknown): SluiceError {
    return new SluiceError(
      streamError(
        'user-code',
        `source '${this.source.id}' threw at offset ${this.offset}: ${messageOf(thrown)}`,
        {
          cause: thrown,
        },
      ),
    )
  }
}
