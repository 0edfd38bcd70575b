/**
 * The reading end of a subtask's channels: one JetStream stream, many writers, one barrier alignment.
 *
 * A blocked channel's frames wait here; they are bounded, since a writer gets credit only for what was
 * processed. Not so on feedback channels: a loop whose head waits for room further on, where somebody
 * waits for room in the head, would stand still for ever. What comes back is taken in at once, and has a
 * limit of its own (`lib/protocol/loop-share.ts`). No alignment waits for it (`lib/state/loop-log.ts`).
 *
 * Frames are accepted in order per channel; duplicates and early ones are dropped, since the
 * writer sends them again. The stream only carries them: what has arrived is removed from it, whether it
 * waits or not, so that nothing that waits takes another channel's room in it.
 */
import * as E from 'fp-ts/lib/Either.js'
import { SluiceError, type StreamError, streamError } from '../lib/errors.js'
import type { Limits } from '../lib/job/limits.js'
import type { EventLog, LogMessage, LogReader } from '../lib/ports/event-log.js'
import type { RecordCodec } from '../lib/ports/record-codec.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import {
  type Alignment,
  type AlignmentEffect,
  type AlignmentEvent,
  initialAlignment,
  step as stepAlignment,
} from '../lib/protocol/alignment.js'
import { ChannelReader } from '../lib/protocol/channel.js'
import { decodeFrame } from '../lib/protocol/frame.js'
import type { ChannelId, Epoch, Generation } from '../lib/protocol/ids.js'
import { framesBeforeNew } from '../lib/protocol/loop-share.js'
import type { LoopLog, LoopRecords } from '../lib/state/loop-log.js'
import type { Gate } from './gate.js'
import type { Head, PumpOutcome } from './head.js'
import { type Inbound, type MailboxInput, Turns, type Waiting } from './inbound.js'

/** What a mailbox reads, and whom it tells. */
export interface MailboxOptions {
  readonly stream: string
  readonly generation: Generation
  readonly inputs: readonly MailboxInput[]
  readonly mode: 'exactly-once' | 'at-least-once'
  readonly restored: Epoch
  readonly limits: Limits
  readonly log: EventLog
  readonly codec: RecordCodec
  readonly scheduler: Scheduler
  readonly gate: Gate
  readonly onSnapshot: (
    epoch: Epoch,
    final: boolean,
    triggeredAt: number,
    alignmentMs: number,
  ) => void
  /** A loop's head: what comes back, and what it remembers of that. */
  readonly loop: MailboxLoop | undefined
  readonly onArrived: () => void
  readonly onFailed: (error: StreamError) => void
}

/** The part of a mailbox that is the head of a loop. */
export interface MailboxLoop {
  readonly log: LoopLog
  /** What had yet to come back when the restored checkpoint was taken. */
  readonly restored: readonly unknown[]
  readonly receive: (record: unknown) => void
  /** A barrier has gone round. */
  readonly onReturned: (whole: LoopRecords) => void
}

/** A frame in the middle of its records, when an output ran out of room. */
interface Cursor {
  readonly inbound: Inbound
  readonly frame: Waiting
  readonly records: readonly unknown[]
  at: number
}

const purgeEveryBytes = 512 * 1024
/** The clock is read after every 16th record: it costs, and so does a turn that is too long. */
const clockMask = 15

/** The head of a subtask that other subtasks write to. */
export class Mailbox implements Head {
  readonly ended = false
  private readonly inbounds = new Map<ChannelId, Inbound>()
  private readonly bySubject = new Map<string, Inbound>()
  private readonly ordinary = new Turns()
  private readonly feedback = new Turns()
  /** Frames that have come back and were taken since one that is new. */
  private sinceNew = 0
  private alignment: Alignment
  private cursor: Cursor | undefined
  private reader: LogReader | undefined
  /** Every message of the stream up to it has arrived. */
  private arrivedThrough = 0
  private purgeableBytes = 0
  private purging = false
  private disposed = false
  /** Frames that came back and have not gone round again. */
  private loopBytes = 0
  private restoredAt = 0
  /** The newest epoch whose barrier has left here. */
  private begun: Epoch
  /** Newer ones that were given up. */
  private readonly aborted = new Set<Epoch>()

  constructor(private readonly options: MailboxOptions) {
    for (const input of options.inputs) {
      const reader = new ChannelReader({
        windowBytes: options.limits.channelBytesMax,
        stallTimeoutMs: options.limits.channelStallTimeoutMs,
      })
      const inbound: Inbound = {
        input,
        reader,
        queue: [],
        next: 0,
        blocked: false,
        early: undefined,
      }
      this.inbounds.set(input.channel, inbound)
      this.bySubject.set(input.subject, inbound)
      const turns = input.isFeedback ? this.feedback : this.ordinary
      turns.inbounds.push(inbound)
    }
    this.begun = options.restored
    this.alignment = initialAlignment({
      mode: options.mode,
      channels: options.inputs.filter(i => !i.isFeedback).map(i => i.channel),
      closedThrough: options.restored,
    })
  }

  start(): void {
    const { limits, inputs, stream, log } = this.options
    this.reader = log.read({
      stream,
      start: { at: 'first' },
      messagesMax: 512,
      bytesMax: Math.max(1024 * 1024, limits.channelBytesMax * inputs.length),
      onMessage: message => this.onMessage(message),
      onFailed: error => {
        if (!this.disposed) this.options.onFailed(error)
      },
    })
  }

  pump(until: number): PumpOutcome {
    const { gate, scheduler } = this.options
    for (;;) {
      if (gate.closed) return 'blocked'
      if (this.takeRestored()) {
        if ((this.restoredAt & clockMask) === 0 && scheduler.now() >= until) return 'yield'
        continue
      }
      const stopped = this.resumeCursor(until)
      if (stopped !== undefined) return stopped
      const inbound = this.nextReadable()
      if (inbound === undefined) return 'idle'
      this.take(inbound)
      if (scheduler.now() >= until) return 'yield'
    }
  }

  /** One record that was in the loop when the restored checkpoint was taken; they go before all others. */
  private takeRestored(): boolean {
    const { loop } = this.options
    if (loop === undefined || this.restoredAt >= loop.restored.length) return false
    const record = loop.restored[this.restoredAt]
    this.restoredAt += 1
    loop.receive(record)
    return true
  }

  abort(epoch: Epoch): void {
    this.options.loop?.log.abort(epoch)
    if (epoch > this.begun) this.aborted.add(epoch)
    for (const inbound of this.feedback.inbounds) if (inbound.early === epoch) this.letOn(inbound)
    this.align({ type: 'checkpoint-aborted', epoch }, 0)
  }

  tick(now: number): void {
    for (const { reader, input } of this.inbounds.values()) {
      // A slow reader's writer has a small window, of which it must hear before a quarter of ours is done.
      const credit = reader.pendingCredit()
      if (credit !== undefined) input.sendCredit(credit)
      const { stalled } = reader.tick(now)
      if (stalled !== undefined) {
        this.options.onFailed(
          streamError(
            'lost',
            `channel ${input.channel} has a gap that nobody fills: ${JSON.stringify(stalled)}`,
          ),
        )
        return
      }
    }
    this.purge()
  }

  answerCreditRequest(channel: ChannelId): void {
    const inbound = this.inbounds.get(channel)
    if (inbound !== undefined)
      inbound.input.sendCredit(inbound.reader.pendingCredit() ?? inbound.reader.credited)
  }

  dispose(): void {
    this.disposed = true
    this.reader?.close()
    this.cursor = undefined
    for (const inbound of this.inbounds.values()) inbound.queue = []
  }

  private onMessage(message: LogMessage): void {
    if (this.disposed) return
    const inbound = this.bySubject.get(message.subject)
    const decoded = decodeFrame(message.payload)
    if (inbound === undefined || E.isLeft(decoded)) {
      const why = E.isLeft(decoded)
        ? decoded.left.message
        : 'no channel of this plan has that subject'
      this.options.onFailed(
        streamError(
          'corrupt',
          `message ${message.sequence} of mailbox ${this.options.stream} on ${message.subject}: ${why}`,
        ),
      )
      return
    }
    const { header, body } = decoded.right
    if (header.generation !== this.options.generation) {
      // P8: whoever meets another generation's data touches nothing and goes.
      const facts = `a frame of generation ${header.generation} came to one of ${this.options.generation}`
      this.options.onFailed(streamError('fenced', `${facts} on ${message.subject}`))
      return
    }
    const bytes = message.payload.byteLength
    this.arrivedThrough = message.sequence
    this.purgeableBytes += bytes
    this.purge()
    if (inbound.reader.accept(header.number, this.options.scheduler.now()) !== 'accept') return
    const waiting: Waiting = { header, body, bytes }
    inbound.queue.push(waiting)
    if (inbound.input.isFeedback) this.takeIn(inbound, waiting)
    this.options.onArrived()
  }

  /** A frame that came back is in our memory from here on: its writer need not wait for more than that. */
  private takeIn(inbound: Inbound, frame: Waiting): void {
    const { loopBytesMax } = this.options.limits
    this.loopBytes += frame.bytes
    if (this.loopBytes > loopBytesMax) {
      const facts = `more than loopBytesMax (${loopBytesMax} bytes) of records wait at the head of a loop`
      const next = 'Let fewer records go round, or raise the limit in the options of the job.'
      this.options.onFailed(
        streamError('full', `mailbox ${this.options.stream}: ${facts}`, { next }),
      )
      return
    }
    const credit = inbound.reader.processed(frame.header.number, frame.bytes)
    if (credit !== undefined) inbound.input.sendCredit(credit)
  }

  /** What is new gets less of the time the more waits to go round, but always some. */
  private nextReadable(): Inbound | undefined {
    if (this.loopBytes === 0) return this.ordinary.next()
    const { channelBytesMax } = this.options.limits
    if (this.sinceNew >= framesBeforeNew(this.loopBytes, channelBytesMax)) {
      const fresh = this.ordinary.next()
      if (fresh !== undefined) {
        this.sinceNew = 0
        return fresh
      }
    }
    const back = this.feedback.next()
    if (back === undefined) return this.ordinary.next()
    this.sinceNew += 1
    return back
  }

  private take(inbound: Inbound): void {
    const frame = inbound.queue[inbound.next]
    if (frame === undefined) return
    inbound.next += 1
    if (inbound.next > 64 && inbound.next * 2 > inbound.queue.length) {
      inbound.queue = inbound.queue.slice(inbound.next)
      inbound.next = 0
    }
    const { header } = frame
    if (header.type === 'data') {
      const records = this.options.codec.deserializeBatch(frame.body, header.records)
      if (E.isLeft(records)) throw new SluiceError(records.left)
      this.cursor = { inbound, frame, records: records.right, at: 0 }
      return
    }
    this.finish(inbound, frame)
    if (header.type !== 'barrier') return
    const { epoch, final, triggeredAt } = header
    const now = this.options.scheduler.now()
    const { channel, isFeedback } = inbound.input
    if (isFeedback) {
      this.takeReturned(inbound, epoch)
      return
    }
    this.align({ type: 'barrier-received', channel, epoch, final, now }, triggeredAt)
  }

  /**
   * A barrier that another head of the loop has sent may be here before our own: what follows it comes
   * after our snapshot, and must not enter what goes into it (LL4).
   */
  private takeReturned(inbound: Inbound, epoch: Epoch): void {
    if (epoch > this.begun && !this.aborted.has(epoch)) {
      inbound.early = epoch
      inbound.blocked = this.options.mode === 'exactly-once'
    } else this.returned(inbound, epoch)
  }

  /** Our own barrier has left: those that were here before it count as back. */
  private begin(epoch: Epoch): void {
    this.begun = Math.max(this.begun, epoch)
    for (const old of this.aborted) if (old <= this.begun) this.aborted.delete(old)
    for (const inbound of this.feedback.inbounds) {
      const { early } = inbound
      if (early === undefined) continue
      this.returned(inbound, Math.min(early, epoch))
      if (early <= epoch) this.letOn(inbound)
    }
  }

  private letOn(inbound: Inbound): void {
    inbound.early = undefined
    inbound.blocked = false
    this.options.onArrived()
  }

  private returned({ input }: Inbound, epoch: Epoch): void {
    const { loop } = this.options
    for (const whole of loop?.log.returned(input.channel, epoch) ?? []) loop?.onReturned(whole)
  }

  /**
   * Goes on with the frame that was begun. Answers why it stopped in the middle of it: an output closed
   * the gate, or the time is up. A frame may hold thousands of records, and each may take long.
   */
  private resumeCursor(until: number): 'blocked' | 'yield' | undefined {
    const { cursor } = this
    if (cursor === undefined) return undefined
    const { records, inbound } = cursor
    const { receive, isFeedback, channel } = inbound.input
    const log = isFeedback ? this.options.loop?.log : undefined
    const { gate, scheduler } = this.options
    while (cursor.at < records.length) {
      if (gate.closed || this.disposed) return 'blocked'
      const record = records[cursor.at]
      cursor.at += 1
      if (log?.isOpen === true) log.take(channel, record)
      receive(record)
      if ((cursor.at & clockMask) === 0 && scheduler.now() >= until) return 'yield'
    }
    this.cursor = undefined
    this.finish(inbound, cursor.frame)
    return undefined
  }

  private finish(inbound: Inbound, frame: Waiting): void {
    if (inbound.input.isFeedback) {
      this.loopBytes -= frame.bytes
      return
    }
    const credit = inbound.reader.processed(frame.header.number, frame.bytes)
    if (credit !== undefined) inbound.input.sendCredit(credit)
  }

  /**
   * Removes what has arrived from the stream, a good deal at a time. Always all of it: nats-server 2.9.10
   * does not cut a stream in memory where a message was removed before.
   */
  private purge(): void {
    if (this.purgeableBytes < purgeEveryBytes || this.purging) return
    const bytes = this.purgeableBytes
    this.purgeableBytes = 0
    this.purging = true
    void this.options.log
      .purge(this.options.stream, this.arrivedThrough + 1)()
      .then(result => {
        this.purging = false
        if (E.isRight(result) || this.disposed) return
        if (result.left.type === 'missing') this.options.onFailed(result.left)
        // In a full stream nothing arrives any more that would ask for another.
        else this.purgeableBytes += bytes
      })
  }

  private align(event: AlignmentEvent, triggeredAt: number): void {
    const [next, effects] = stepAlignment(this.alignment, event)
    this.alignment = next
    for (const effect of effects) this.performAlignment(effect, triggeredAt)
  }

  private performAlignment(effect: AlignmentEffect, triggeredAt: number): void {
    switch (effect.type) {
      case 'block-channel':
        this.setBlocked(effect.channel, true)
        return
      case 'unblock-channels':
        for (const channel of effect.channels) this.setBlocked(channel, false)
        this.options.onArrived()
        return
      case 'take-snapshot':
        this.options.onSnapshot(effect.epoch, effect.final, triggeredAt, effect.alignmentMs)
        this.begin(effect.epoch)
        return
      case 'alignment-dropped':
      case 'barrier-ignored':
        return
    }
  }

  private setBlocked(channel: ChannelId, blocked: boolean): void {
    const inbound = this.inbounds.get(channel)
    if (inbound !== undefined) inbound.blocked = blocked
  }
}
