/**
 * One channel: the writer's window of frames that are not known to be stored, the reader's order,
 * and the credit between them. No I/O and no clock: time enters as `now`, monotonic milliseconds.
 *
 * The log between the two ends may refuse a frame, lose it, store it and lose the answer, or take
 * it twice. A frame is of use only behind its predecessor, since the reader drops what is out of
 * order. So the writer goes back: after any doubt it sends everything again from the first frame
 * that is not known to be stored, in order, as a new *attempt*. Within an attempt the log keeps the
 * order of sending, hence an unbroken run of acks of one attempt proves an unbroken run in the log.
 *
 * Invariants
 *   C1.  Frames are numbered 1, 2, 3 … in order of `push`.
 *   C2.  A re-drive sends every frame from the first unacked one, in order, as one new attempt;
 *        however many frames of an attempt fail, one re-drive follows.
 *   C3.  Only answers to the current attempt count. An older copy may lie in the log before its
 *        predecessor's good copy, where the reader has dropped it.
 *   C4.  A frame is kept until it and all before it are known to be stored: by acks, or by the
 *        reader's credit, which proves as much when acks are lost or late.
 *   C5.  Between a failure and its re-drive nothing is sent: it could not be in order.
 *   C6.  Credit is cumulative: lower or equal ones change nothing, one beyond what was sent is
 *        counted and ignored.
 *   C7.  `blocked` means that bytes pushed and not credited reach `bytesMax`. It is advice: a
 *        barrier is pushed all the same, so that checkpoints complete under back-pressure.
 *   C8.  A writer stalls when it has unacked frames and none of them was proven stored for
 *        `stallTimeoutMs`. A slow reader is back-pressure, never a stall.
 *   C9.  The reader accepts 1, 2, 3 … and nothing else.
 *   C10. A reader that has processed all it accepted withholds less than a quarter of the window.
 *   C11. A gap in front of the reader without an accepted frame for `stallTimeoutMs` is a stall.
 *   C12. Re-drives without progress come at growing distances, and so do ack timeouts: a full log
 *        is not hammered, and a server slower than `ackTimeoutMs` is given time to answer.
 */
import { invariant } from '../invariant.js'

/** What the writer's owner must publish now, in the order given. */
export interface SendFrame {
  readonly number: number
  /** To be handed back with the outcome. */
  readonly attempt: number
  readonly frame: Uint8Array
}

/** Why a writer gave up waiting. */
export interface WriterStall {
  readonly firstUnacked: number
  readonly frames: number
  readonly records: number
  readonly attempt: number
  /** Time without progress. */
  readonly stalledMs: number
}

/** Why a reader gave up waiting. */
export interface ReaderStall {
  readonly expected: number
  /** Highest frame number seen so far. */
  readonly seen: number
  readonly stalledMs: number
}

/** Limits of a writer. */
export interface WriterOptions {
  /** Bytes pushed and not credited at which the writer is blocked. */
  readonly bytesMax: number
  readonly ackTimeoutMs: number
  readonly stallTimeoutMs: number
}

/** Limits of a reader. */
export interface ReaderOptions {
  /** The writer's `bytesMax`. */
  readonly windowBytes: number
  readonly stallTimeoutMs: number
}

/** What a credit did. `impossible`: it names a frame that was never sent. */
export type CreditOutcome = 'advanced' | 'stale' | 'impossible'

const redriveDelayMsMin = 10
const redriveDelayMsMax = 500
const ackTimeoutGrowthMax = 8

interface Unacked {
  readonly frame: Uint8Array
  readonly records: number
  /** Attempt of its last sending; 0: not sent yet. */
  attempt: number
  sentAt: number
  acked: boolean
}

/**
 * The writing end of a channel. Its owner publishes what `push` and `tick` return, in that order.
 */
export class ChannelWriter {
  readonly #options: WriterOptions
  /** By number, ascending: exactly the frames from the first unacked one. */
  readonly #unacked = new Map<number, Unacked>()
  /** Bytes of each frame after the last credited one. */
  readonly #uncredited = new Map<number, number>()
  #next = 1
  #sentThrough = 0
  #credited = 0
  #outstandingBytes = 0
  #attempt = 1
  #connected = true
  #redriveAt: number | undefined
  /** Re-drives since the last progress. */
  #fruitless = 0
  #progressAt = 0
  #stallReported = false
  #impossibleCredits = 0

  constructor(options: WriterOptions) {
    this.#options = options
  }

  /** Number that the next pushed frame gets; the frame's header must carry it. */
  get nextNumber(): number {
    return this.#next
  }

  /** Whether the owner should stop taking records (C7). */
  get blocked(): boolean {
    return this.#outstandingBytes >= this.#options.bytesMax
  }

  /** Bytes pushed and not credited. */
  get outstandingBytes(): number {
    return this.#outstandingBytes
  }

  /** Frames not known to be stored. */
  get unacked(): number {
    return this.#unacked.size
  }

  /** Whether every pushed frame is known to be stored. */
  get idle(): boolean {
    return this.#unacked.size === 0
  }

  /** Highest frame that the reader is known to have processed. */
  get credited(): number {
    return this.#credited
  }

  /** Credits ignored because they named a frame that was never sent. */
  get impossibleCredits(): number {
    return this.#impossibleCredits
  }

  /**
   * Registers a frame under `nextNumber` and returns what to publish at once. Undefined while a
   * re-drive is due or the log is out of reach: the frame then goes out in its turn, from `tick`
   * (C5).
   */
  push(frame: Uint8Array, records: number, now: number): SendFrame | undefined {
    const number = this.#next
    this.#next += 1
    if (this.#unacked.size === 0) this.#noteProgress(now)
    const entry: Unacked = { frame, records, attempt: 0, sentAt: now, acked: false }
    this.#unacked.set(number, entry)
    this.#uncredited.set(number, frame.byteLength)
    this.#outstandingBytes += frame.byteLength
    const held = !this.#connected || this.#redriveAt !== undefined
    return held ? undefined : this.#send(number, entry, now)
  }

  /** The log answered that it stored the frame. */
  stored(number: number, attempt: number, now: number): void {
    const entry = this.#answered(number, attempt)
    if (entry === undefined) return
    entry.acked = true
    for (const [first, unacked] of this.#unacked) {
      if (!unacked.acked) break
      this.#unacked.delete(first)
      this.#noteProgress(now)
    }
    this.#settleIfIdle()
  }

  /** The log refused the frame, or its outcome is unknown: a re-drive becomes due (C2). */
  refused(number: number, attempt: number, now: number): void {
    const entry = this.#answered(number, attempt)
    if (entry === undefined || this.#redriveAt !== undefined) return
    this.#redriveAt = now + this.#redriveDelayMs()
  }

  /** The reader has processed every frame up to this one. */
  credit(number: number, now: number): CreditOutcome {
    if (number > this.#sentThrough || !Number.isSafeInteger(number)) {
      this.#impossibleCredits += 1
      return 'impossible'
    }
    if (number <= this.#credited) return 'stale'
    for (let credited = this.#credited + 1; credited <= number; credited += 1) {
      this.#outstandingBytes -= this.#uncredited.get(credited) ?? 0
      this.#uncredited.delete(credited)
      if (this.#unacked.delete(credited)) this.#noteProgress(now)
    }
    this.#credited = number
    this.#settleIfIdle()
    return 'advanced'
  }

  /**
   * The connection broke: whatever is in flight may be lost. Nothing is sent until `reconnected`.
   */
  disconnected(): void {
    this.#connected = false
    this.#redriveAt = undefined
  }

  /** The connection is back: everything that is not known to be stored is due at once. */
  reconnected(now: number): void {
    this.#connected = true
    if (this.#unacked.size > 0) this.#redriveAt = now
  }

  /**
   * What is due: a re-drive to publish in order, and a stall, reported once until there is
   * progress.
   */
  tick(now: number): {
    readonly sends: readonly SendFrame[]
    readonly stalled: WriterStall | undefined
  } {
    const due = this.#sendDueAt()
    const sends = due !== undefined && due <= now ? this.#redrive(now) : []
    return { sends, stalled: this.#stall(now) }
  }

  /** When `tick` has something to do next; undefined: not before another event. */
  nextWakeAt(): number | undefined {
    const send = this.#sendDueAt()
    const stall = this.#stallDueAt()
    if (send === undefined || stall === undefined) return send ?? stall
    return Math.min(send, stall)
  }

  /** The frame that an answer is about; undefined when the answer no longer counts (C3). */
  #answered(number: number, attempt: number): Unacked | undefined {
    invariant(number <= this.#sentThrough, 'C3', `answer to frame ${number}, which was not sent`)
    const entry = this.#unacked.get(number)
    return entry?.attempt === attempt ? entry : undefined
  }

  #send(number: number, entry: Unacked, now: number): SendFrame {
    entry.attempt = this.#attempt
    entry.sentAt = now
    entry.acked = false
    this.#sentThrough = Math.max(this.#sentThrough, number)
    return { number, attempt: this.#attempt, frame: entry.frame }
  }

  #redrive(now: number): readonly SendFrame[] {
    this.#redriveAt = undefined
    this.#attempt += 1
    this.#fruitless += 1
    return Array.from(this.#unacked, ([number, entry]) => this.#send(number, entry, now))
  }

  #redriveDelayMs(): number {
    return Math.min(redriveDelayMsMax, redriveDelayMsMin * 2 ** this.#fruitless)
  }

  /** The first unacked frame was sent before all others, so it is the first to time out. */
  #sendDueAt(): number | undefined {
    if (!this.#connected) return undefined
    if (this.#redriveAt !== undefined) return this.#redriveAt
    const first = this.#first()
    const growth = Math.min(ackTimeoutGrowthMax, 2 ** this.#fruitless)
    return first === undefined ? undefined : first[1].sentAt + this.#options.ackTimeoutMs * growth
  }

  #stallDueAt(): number | undefined {
    if (this.#unacked.size === 0 || this.#stallReported) return undefined
    return this.#progressAt + this.#options.stallTimeoutMs
  }

  #stall(now: number): WriterStall | undefined {
    const due = this.#stallDueAt()
    const first = this.#first()
    if (due === undefined || first === undefined || now < due) return undefined
    this.#stallReported = true
    let records = 0
    for (const entry of this.#unacked.values()) records += entry.records
    return {
      firstUnacked: first[0],
      frames: this.#unacked.size,
      records,
      attempt: this.#attempt,
      stalledMs: now - this.#progressAt,
    }
  }

  #first(): readonly [number, Unacked] | undefined {
    for (const entry of this.#unacked) return entry
    return undefined
  }

  #noteProgress(now: number): void {
    this.#progressAt = now
    this.#fruitless = 0
    this.#stallReported = false
  }

  #settleIfIdle(): void {
    if (this.#unacked.size === 0) this.#redriveAt = undefined
  }
}

/** The reading end of a channel. */
export class ChannelReader {
  readonly #options: ReaderOptions
  #expected = 1
  #seen = 0
  #processed = 0
  #credited = 0
  #uncreditedBytes = 0
  /** When the gap opened, or the last frame was accepted since. */
  #gapSince: number | undefined
  #stallReported = false

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  /** Number of the only frame that would be accepted now. */
  get expected(): number {
    return this.#expected
  }

  /** The last credit that was given. To be repeated at leisure: a credit may be lost on its way. */
  get credited(): number {
    return this.#credited
  }

  /** Judges a frame that arrived. Only an accepted one may be looked at any further (C9). */
  accept(number: number, now: number): 'accept' | 'duplicate' | 'gap' {
    this.#seen = Math.max(this.#seen, number)
    if (number < this.#expected) return 'duplicate'
    if (number > this.#expected) {
      this.#gapSince ??= now
      return 'gap'
    }
    this.#expected += 1
    this.#gapSince = this.#seen >= this.#expected ? now : undefined
    this.#stallReported = false
    return 'accept'
  }

  /**
   * The subtask has processed an accepted frame of so many bytes, in order. Returns the credit to
   * send once a quarter of the window has been processed since the last one.
   */
  processed(number: number, bytes: number): number | undefined {
    const next = number === this.#processed + 1 && number < this.#expected
    invariant(next, 'C9', `processed ${number} after ${this.#processed} of ${this.#expected - 1}`)
    this.#processed = number
    this.#uncreditedBytes += bytes
    return this.#uncreditedBytes * 4 >= this.#options.windowBytes ? this.pendingCredit() : undefined
  }

  /** Takes the credit for what was processed since the last one; undefined when there is none. */
  pendingCredit(): number | undefined {
    if (this.#credited === this.#processed) return undefined
    this.#credited = this.#processed
    this.#uncreditedBytes = 0
    return this.#credited
  }

  /** Whether a gap has lasted too long (C11); reported once until there is progress. */
  tick(now: number): { readonly stalled: ReaderStall | undefined } {
    const due = this.nextWakeAt()
    if (due === undefined || now < due) return { stalled: undefined }
    this.#stallReported = true
    const stalledMs = now - due + this.#options.stallTimeoutMs
    return { stalled: { expected: this.#expected, seen: this.#seen, stalledMs } }
  }

  /** When `tick` has something to say next; undefined: not before another event. */
  nextWakeAt(): number | undefined {
    if (this.#gapSince === undefined || this.#stallReported) return undefined
    return this.#gapSince + this.#options.stallTimeoutMs
  }
}
