/**
 * The reading end of a subtask's channels: one JetStream stream, many writers, one barrier alignment.
 *
 * A blocked channel's frames wait here; they are bounded, since a writer gets credit only for what was
 * processed. Not so on feedback channels: a loop whose head waits for room further on, where somebody
 * waits for room in the head, would stand still for ever. What comes back is taken in at once, goes first,
 * and has a limit of its own. No alignment waits for it (`lib/state/loop-log.ts`).
 *
 * Frames are accepted in order per channel; duplicates and early ones are dropped, since the
 * writer sends them again.
 */
import * as E from 'fp-ts/lib/Either.js'
import { SluiceError, type StreamError, streamError } from '../lib/errors.js'
import { invariant } from '../lib/invariant.js'
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
import { decodeFrame, type FrameHeader } from '../lib/protocol/frame.js'
import type { ChannelId, Epoch, Generation } from '../lib/protocol/ids.js'
import type { LoopLog, LoopRecords } from '../lib/state/loop-log.js'
import type { Gate } from './gate.js'
import type { Head, PumpOutcome } from './head.js'

/** One channel into a mailbox. */
export interface MailboxInput {
  readonly channel: ChannelId
  readonly subject: string
  /** Whether it leads back to the head of a loop. */
  readonly isFeedback: boolean
  /** Takes one record of this channel. */
  readonly receive: (record: unknown) => void
  readonly sendCredit: (number: number) => void
}

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

interface Waiting {
  readonly header: FrameHeader
  readonly body: Uint8Array
  readonly bytes: number
}

interface Inbound {
  readonly input: MailboxInput
  readonly reader: ChannelReader
  /** Accepted frames, oldest first; `next` is the index of the first not yet processed. */
  queue: Waiting[]
  next: number
  blocked: boolean
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
  private readonly order: Inbound[] = []
  private turn = 0
  private alignment: Alignment
  private cursor: Cursor | undefined
  private reader: LogReader | undefined
  private readonly held: { readonly sequence: number; done: boolean }[] = []
  private readonly slots = new WeakMap<Waiting, { readonly sequence: number; done: boolean }>()
  private purgeableBytes = 0
  private purging = false
  private disposed = false
  /** Frames that came back and have not gone round again. */
  private loopBytes = 0
  private restoredAt = 0

  constructor(private readonly options: MailboxOptions) {
    for (const input of options.inputs) {
      const reader = new ChannelReader({
        windowBytes: options.limits.channelBytesMax,
        stallTimeoutMs: options.limits.channelStallTimeoutMs,
      })
      const inbound: Inbound = { input, reader, queue: [], next: 0, blocked: false }
      this.inbounds.set(input.channel, inbound)
      this.bySubject.set(input.subject, inbound)
      this.order.push(inbound)
    }
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
      if (this.takeRestored()) continue
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
    this.align({ type: 'checkpoint-aborted', epoch }, 0)
  }

  tick(now: number): void {
    for (const { reader, input } of this.order) {
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
    for (const inbound of this.order) inbound.queue = []
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
    const slot = { sequence: message.sequence, done: false }
    this.held.push(slot)
    if (inbound.reader.accept(header.number, this.options.scheduler.now()) !== 'accept') {
      this.settle(slot, message.payload.byteLength)
      return
    }
    const waiting: Waiting = { header, body, bytes: message.payload.byteLength }
    inbound.queue.push(waiting)
    if (inbound.input.isFeedback) this.takeIn(inbound, waiting, slot)
    else this.slots.set(waiting, slot)
    this.options.onArrived()
  }

  /** A frame that came back is in our memory from here on: its writer need not wait for more than that. */
  private takeIn(
    inbound: Inbound,
    frame: Waiting,
    slot: { readonly sequence: number; done: boolean },
  ): void {
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
    this.settle(slot, frame.bytes)
  }

  /**
   * Channels take turns, so that one that is always full does not starve the others' barriers; but what
   * has come back goes first, or a loop would fill up with what is new.
   */
  private nextReadable(): Inbound | undefined {
    const count = this.order.length
    if (this.loopBytes > 0) {
      const back = this.order.find(
        ({ input, queue, next }) => input.isFeedback && next < queue.length,
      )
      if (back !== undefined) return back
    }
    for (let step = 0; step < count; step += 1) {
      const inbound = this.order[(this.turn + step) % count]
      if (inbound !== undefined && !inbound.blocked && inbound.next < inbound.queue.length) {
        this.turn = (this.turn + step + 1) % count
        return inbound
      }
    }
    return undefined
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
      const records = this.options.codec.deserialize(frame.body)
      if (E.isLeft(records)) throw new SluiceError(records.left)
      invariant(Array.isArray(records.right), 'frame-body', typeof records.right)
      this.cursor = { inbound, frame, records: records.right, at: 0 }
      return
    }
    this.finish(inbound, frame)
    if (header.type !== 'barrier') return
    const { epoch, final, triggeredAt } = header
    const now = this.options.scheduler.now()
    const { channel, isFeedback } = inbound.input
    if (isFeedback) {
      const { loop } = this.options
      for (const whole of loop?.log.returned(channel, epoch) ?? []) loop?.onReturned(whole)
      return
    }
    this.align({ type: 'barrier-received', channel, epoch, final, now }, triggeredAt)
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
    const slot = this.slots.get(frame)
    if (slot !== undefined) this.settle(slot, frame.bytes)
  }

  /** Removes from the mailbox what all channels are done with, a good deal at a time. */
  private settle(slot: { readonly sequence: number; done: boolean }, bytes: number): void {
    slot.done = true
    this.purgeableBytes += bytes
    if (this.purgeableBytes < purgeEveryBytes || this.purging) return
    let keep = 0
    while (keep < this.held.length && this.held[keep]?.done === true) keep += 1
    if (keep === 0) return
    const last = this.held[keep - 1]?.sequence ?? 0
    this.held.splice(0, keep)
    this.purgeableBytes = 0
    this.purging = true
    void this.options.log
      .purge(this.options.stream, last + 1)()
      .then(result => {
        this.purging = false
        // A purge that failed is made up for by the next one; a mailbox that fills up says so itself.
        if (E.isLeft(result) && result.left.type === 'missing' && !this.disposed)
          this.options.onFailed(result.left)
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
