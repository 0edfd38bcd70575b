/**
 * The writing end of one channel: batches records into frames and drives them through the log.
 *
 * Owns the open frame and the timers' meaning; `ChannelWriter` decides what is sent, and sent again.
 */
import * as E from 'fp-ts/lib/Either.js'
import { SluiceError, type StreamError, streamError } from '../lib/errors.js'
import type { Limits } from '../lib/job/limits.js'
import type { EventLog, PublishOutcome } from '../lib/ports/event-log.js'
import type { RecordCodec } from '../lib/ports/record-codec.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import { ChannelWriter, type SendFrame } from '../lib/protocol/channel.js'
import { CreditWindow } from '../lib/protocol/credit-window.js'
import { encodeFrame } from '../lib/protocol/frame.js'
import type { ChannelId, Epoch, Generation } from '../lib/protocol/ids.js'
import type { Gate } from './gate.js'

/** What one channel is, and what it works with. */
export interface ChannelOutOptions {
  readonly channel: ChannelId
  readonly subject: string
  readonly generation: Generation
  readonly limits: Limits
  readonly log: EventLog
  readonly codec: RecordCodec
  readonly scheduler: Scheduler
  readonly gate: Gate
  readonly onFailed: (error: StreamError) => void
  /** Asks the reader how far it has come: its last credit may be lost. */
  readonly requestCredit: () => void
}

const emptyBody = new Uint8Array(0)
/** What a first frame guesses of its records' size; corrected by every frame sent. */
const firstGuessBytes = 128
const recordsPerFrameMax = 4096
/** Several frames fit into a window, so that credit flows while the next ones are under way. */
const framesPerWindow = 4
const creditRequestAfterMs = 250

/** The writing end of one channel. */
export class ChannelOut {
  readonly channel: ChannelId
  private readonly writer: ChannelWriter
  private readonly window: CreditWindow
  private records: unknown[] = []
  private firstRecord = 0
  private target: number
  private bytesPerRecord = firstGuessBytes
  private closed = false
  private blockedSince: number | undefined
  private disposed = false

  constructor(private readonly options: ChannelOutOptions) {
    const { limits } = options
    this.channel = options.channel
    this.window = new CreditWindow({
      bytesMax: limits.channelBytesMax,
      targetMs: limits.channelBacklogMs,
    })
    this.target = this.recordsPerFrame()
    this.writer = new ChannelWriter({
      bytesMax: limits.channelBytesMax,
      ackTimeoutMs: limits.ackTimeoutMs,
      stallTimeoutMs: limits.channelStallTimeoutMs,
    })
  }

  /** Hot path. The record must not be changed afterwards: it is encoded when its frame is flushed. */
  add(record: unknown): void {
    this.records.push(record)
    if (this.records.length >= this.target) this.flush()
  }

  get hasOpenFrame(): boolean {
    return this.records.length > 0
  }

  /** Every frame is stored. */
  get settled(): boolean {
    return this.records.length === 0 && this.writer.idle
  }

  flush(): void {
    if (this.records.length === 0) return
    const records = this.records
    this.records = []
    this.seal(records)
  }

  /** Flushes, whatever the credit: what comes before a barrier must not wait behind back-pressure. */
  barrier(epoch: Epoch, final: boolean, triggeredAt: number): void {
    this.flush()
    const { generation } = this.options
    const number = this.writer.nextNumber
    const frame = encodeFrame(
      { type: 'barrier', generation, number, epoch, final, triggeredAt },
      emptyBody,
    )
    this.push(frame, 0)
  }

  credit(number: number): void {
    const now = this.options.scheduler.now()
    const before = this.writer.outstandingBytes
    this.writer.credit(number, now)
    this.window.credited(before - this.writer.outstandingBytes, now)
    this.target = this.recordsPerFrame()
    this.updateGate()
  }

  tick(now: number): void {
    const { sends, stalled } = this.writer.tick(now)
    for (const send of sends) this.publish(send)
    if (stalled !== undefined) {
      const { firstUnacked, frames } = stalled
      this.fail(
        streamError(
          'timed-out',
          `channel ${this.channel}: frame ${firstUnacked} and ${frames - 1} after it were not stored within ${this.options.limits.channelStallTimeoutMs} ms`,
        ),
      )
    }
    if (this.blockedSince !== undefined && now - this.blockedSince > creditRequestAfterMs) {
      this.blockedSince = now
      this.options.requestCredit()
    }
  }

  dispose(): void {
    this.disposed = true
    this.records = []
  }

  private seal(records: readonly unknown[]): void {
    const { codec, generation, log } = this.options
    const body = codec.serializeBatch(records)
    if (E.isLeft(body)) throw new SluiceError(body.left)
    const bytes = body.right.byteLength
    if (bytes + 64 > log.payloadBytesMax) {
      this.split(records, bytes)
      return
    }
    const number = this.writer.nextNumber
    const header = {
      type: 'data',
      generation,
      number,
      firstRecord: this.firstRecord,
      records: records.length,
    } as const
    this.firstRecord += records.length
    this.bytesPerRecord = 0.7 * this.bytesPerRecord + 0.3 * (bytes / records.length)
    this.target = this.recordsPerFrame()
    this.push(encodeFrame(header, body.right), records.length)
  }

  private recordsPerFrame(): number {
    const { frameBytesMax } = this.options.limits
    const bytes = Math.min(frameBytesMax, this.window.bytes / framesPerWindow)
    return Math.min(recordsPerFrameMax, Math.max(1, Math.floor(bytes / this.bytesPerRecord)))
  }

  private split(records: readonly unknown[], bytes: number): void {
    if (records.length === 1) {
      throw new SluiceError(
        streamError(
          'full',
          `a record of ${bytes} bytes on channel ${this.channel} is larger than a message of this NATS server may be (${this.options.log.payloadBytesMax} bytes)`,
          {
            next: "Make the record smaller, or raise 'max_payload' in the server's configuration.",
          },
        ),
      )
    }
    const middle = records.length >> 1
    this.seal(records.slice(0, middle))
    this.seal(records.slice(middle))
  }

  private push(frame: Uint8Array, records: number): void {
    const send = this.writer.push(frame, records, this.options.scheduler.now())
    if (send !== undefined) this.publish(send)
    this.updateGate()
  }

  private publish({ number, attempt, frame }: SendFrame): void {
    this.options.log.publish(this.options.subject, frame, {}, outcome =>
      this.onOutcome(number, attempt, outcome),
    )
  }

  private onOutcome(number: number, attempt: number, outcome: PublishOutcome): void {
    if (this.disposed) return
    const now = this.options.scheduler.now()
    if (outcome.type === 'stored') {
      this.writer.stored(number, attempt, now)
      return
    }
    // The mailbox itself is gone: no repetition brings back what was in it.
    if (outcome.type === 'failed' && outcome.error.type === 'missing') this.fail(outcome.error)
    else this.writer.refused(number, attempt, now)
  }

  private updateGate(): void {
    const closed = this.writer.outstandingBytes >= this.window.bytes
    if (closed) this.window.heldBack()
    if (closed === this.closed) return
    this.closed = closed
    this.blockedSince = closed ? this.options.scheduler.now() : undefined
    this.options.gate.change(closed)
  }

  private fail(error: StreamError): void {
    if (!this.disposed) this.options.onFailed(error)
  }
}
