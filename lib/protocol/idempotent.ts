/**
 * Decides what one sink subtask publishes at once, without waiting for a checkpoint: exactly once, in order,
 * onto one JetStream subject that it alone writes, whatever crashes; for jobs whose records come in the same
 * order, with the same content, whenever they are replayed. Sans-IO, like `TransactionalOutput`.
 *
 * The records that have come to the output since the job's life began, numbered from 0, form the *chain*.
 *
 * Invariants
 *   IO1. A record's number depends on its input alone: a snapshot holds how many there were, and a restored output
 *        counts on from there. So whoever publishes number n, a leftover of an older generation or we, means the
 *        same record.
 *   IO2. The subject holds a prefix of the chain: a message names the sequence that it must follow, and what is
 *        predicted of that is bounded as in S4. Nobody's message can take another number's place, and the server
 *        takes each number once, from whoever comes first. A number that was refused, and is not there though a
 *        greater one is, was pushed out by a stranger in a stream that was taken for ours alone: a failure by name.
 *   IO3. Only `stored`, and what was read, is believed (S3). A number that is on the subject is not published again.
 *   IO4. What the subject holds of records that are still to come is compared with them when they come: a record
 *        with other content ends the job by name, before anything is published behind it. So does a chain that has
 *        ended without one of them.
 *   IO5. A snapshot holds, by reference, the records that were not known to be published; no replay brings them
 *        again. Restored, they are published before anything new is (`recovered`).
 *   IO6. A message of a newer generation means that this output is a zombie: it never publishes again.
 *   IO7. A stream that has lost what was published there stops the job; so does one that can no longer tell what was
 *        published since the base (S8).
 *   IO8. Nothing is published before the job has completed a checkpoint: without one it may begin elsewhere when it
 *        is restarted (a source that starts at what is new, a stream that has forgotten its beginning). On another
 *        subject than its checkpoint's, only one of its own tells a restart what it has published there.
 *   IO9. Retries are bounded, with growing delays; without progress they end in `failed` (S11).
 *
 * Not covered: what is not covered of `TransactionalOutput`; and a record that differs in a way that its checksum
 * (32 bits) does not show, which is then published once, in one of its two forms.
 */
import { type StreamError, streamError } from '../errors.js'
import { absurd, invariant } from '../invariant.js'
import {
  defaultOutputLimits,
  isUnknown,
  type LastRead,
  type OutputIdentity,
  type OutputLimits,
  type PublishOutcome,
  type Stamp,
  sinkName,
  stampHeaders,
  Window,
} from './commit.js'
import type { Epoch, Generation } from './ids.js'

/** What an idempotent output stores with a checkpoint, by reference. */
export interface IdempotentSnapshot {
  /** Our messages with a sequence up to `sequence` are those below number `published`. */
  readonly base: {
    readonly sequence: number
    readonly published: number
    /** Where our last message was, as far as that is known. */
    readonly own?: number | undefined
  }
  /** The number of the next record that comes. While a replay has not caught up, `published` is above it. */
  readonly next: number
  /** Our messages with a sequence up to this have numbers below `next`. */
  readonly since: number
  /** The records from number `next - records.length` on: not known to be published. */
  readonly records: readonly Uint8Array[]
}

/** A message of ours, as it was read back. */
export interface ReadBack {
  readonly stamp: Stamp
  /** Of its payload, as `checksum` has it. */
  readonly checksum: number
}

/** Answer to `read-since`: our messages in its span, in order. */
export type ReadSince =
  /** `firstSequence` of the stream must have been read after them. */
  | {
      readonly type: 'read'
      readonly messages: readonly ReadBack[]
      readonly firstSequence: number
    }
  | { readonly type: 'failed'; readonly error: StreamError }

/** What the caller is to do, in order. */
export type IdempotentEffect =
  /** Effects of this type must be sent in order. Each is answered by one `outcome`. */
  | {
      readonly type: 'publish'
      readonly token: number
      readonly payload: Uint8Array
      readonly headers: Readonly<Record<string, string>>
      readonly expectedLastSubjectSequence: number
    }
  | { readonly type: 'read-last' }
  /** All of ours with a sequence greater than `after`, up to `until`. */
  | { readonly type: 'read-since'; readonly after: number; readonly until: number }
  /** Everything restored is published. */
  | { readonly type: 'recovered' }
  /** Everything up to this completed epoch is published. */
  | { readonly type: 'committed'; readonly epoch: Epoch }
  /** A newer generation publishes here: this output is closed (IO6). */
  | { readonly type: 'fenced'; readonly generation: Generation; readonly sequence: number }
  /** This output is closed; a new generation must restore it. */
  | { readonly type: 'failed'; readonly error: StreamError }

/** What an output is, where it publishes, and what may be relied on there. */
export interface IdempotentOptions extends OutputIdentity {
  readonly generation: Generation
  readonly subject: string
  /** The stream captures our subject and no other, and nobody else writes there (S4). When in doubt: false. */
  readonly exclusive: boolean
  /** Tells two payloads apart. */
  readonly checksum: (payload: Uint8Array) => number
  readonly limits?: Partial<OutputLimits>
}

interface Sent {
  readonly token: number
  readonly number: number
  readonly bytes: number
  readonly expected: number
  outcome: PublishOutcome | undefined
}

type Phase =
  | { readonly type: 'reading' }
  /** The subject's last message is at `until`: `found` if it is ours. */
  | { readonly type: 'reading-back'; readonly until: number; readonly found: Stamp | undefined }
  | { readonly type: 'publishing' }
  /** Something was not stored: wait for the answers to the rest of the window, then read. */
  | { readonly type: 'draining' }
  | { readonly type: 'waiting'; readonly until: number }
  | { readonly type: 'closed' }

/** Chains of this kind have no epochs; transactional ones begin at 1. */
const noEpoch: Epoch = 0

/** How many records that were published may stay at the front of the queue. */
const slackMax = 1024

/** The records that were taken and are not known to be published, by number. */
class Queue {
  #records: Uint8Array[] = []
  #skip = 0
  #first = 0
  bytes = 0

  get length(): number {
    return this.#records.length - this.#skip
  }

  /** The records from `number` on are added from now. */
  startAt(number: number): void {
    invariant(this.length === 0, 'IO3', 'records are left of which the fate is open')
    this.#first = number
  }

  push(record: Uint8Array): void {
    this.#records.push(record)
    this.bytes += record.byteLength
  }

  at(number: number): Uint8Array | undefined {
    return number < this.#first ? undefined : this.#records[this.#skip + number - this.#first]
  }

  dropBelow(number: number): void {
    while (this.#first < number && this.length > 0) {
      this.bytes -= this.#records[this.#skip]?.byteLength ?? 0
      this.#skip += 1
      this.#first += 1
    }
    if (this.#skip < slackMax && this.length > 0) return
    this.#records = this.#records.slice(this.#skip)
    this.#skip = 0
  }

  content(): readonly Uint8Array[] {
    return this.#records.slice(this.#skip)
  }
}

/** The low-latency output of one sink subtask. The module's comment numbers its invariants. */
export class IdempotentOutput {
  readonly #options: IdempotentOptions
  readonly #limits: OutputLimits
  readonly #window: Window
  readonly #queue = new Queue()
  /** Checksums of what others have published of the records that are still to come (IO4). */
  readonly #ahead = new Map<number, number>()
  #effects: IdempotentEffect[] = []
  #phase: Phase = { type: 'reading' }
  #recovering = true
  /** Nothing that was restored says anything of this subject. */
  readonly #isFirst: boolean
  readonly #restoredEpoch: Epoch
  /** All that was restored, and need not wait for a checkpoint (IO8), has a number below this. */
  readonly #restored: number
  #next: number
  #published: number
  #sent: number
  #baseSequence: number
  #own: number | undefined
  /** As a snapshot has it. */
  #since: number
  /** How far the chain had come when an epoch was closed; the first one is the newest that is committed. */
  #marks: { readonly epoch: Epoch; readonly next: number }[] = []
  #prepared: Epoch
  /** The barrier behind the last record has come. */
  #isWhole = false
  #completed: Epoch
  #committed: Epoch = 0

  /** What the next message must follow; undefined when only the next ack can tell. */
  #expected: number | undefined
  #inFlight: Sent[] = []
  #inFlightBytes = 0
  #nextToken = 0
  /** The outcome of a publish is unknown, and nothing that was read since has settled it. */
  #unknown = false
  /** Nobody else is known to write into the stream. */
  #alone: boolean
  #attempts = 0
  /** The number that was refused in a window that stored a greater one: who has published it? (IO2) */
  #overtaken: number | undefined

  private constructor(
    options: IdempotentOptions,
    restoredEpoch: Epoch,
    { base, next, since, records }: IdempotentSnapshot,
    isFirst: boolean,
  ) {
    this.#options = options
    this.#limits = { ...defaultOutputLimits, ...options.limits }
    this.#window = new Window(this.#limits, options.exclusive)
    this.#alone = options.exclusive
    this.#isFirst = isFirst
    this.#restoredEpoch = restoredEpoch
    this.#prepared = restoredEpoch
    this.#completed = restoredEpoch
    this.#marks.push({ epoch: restoredEpoch, next })
    this.#restored = isFirst ? base.published : next
    this.#next = next
    this.#published = base.published
    this.#sent = base.published
    this.#baseSequence = base.sequence
    this.#own = base.own
    this.#since = since
    const isWhole = records.length === Math.max(0, next - base.published)
    invariant(isWhole, 'IO5', `${records.length} records from ${base.published} to ${next}`)
    this.#queue.startAt(base.published)
    for (const record of records) this.#queue.push(record)
    this.#read()
  }

  /** An output of a job that starts without a checkpoint. */
  static start(options: IdempotentOptions): IdempotentOutput {
    const base = { sequence: 0, published: 0 }
    return new IdempotentOutput(options, 0, { base, next: 0, since: 0, records: [] }, true)
  }

  /**
   * An output that goes on from what it stored with the completed checkpoint `restoredEpoch`; on another
   * subject (`isElsewhere`) with the records that nobody is known to have published, and all that come.
   */
  static restore(
    options: IdempotentOptions,
    restored: IdempotentSnapshot & { readonly restoredEpoch: Epoch; readonly isElsewhere: boolean },
  ): IdempotentOutput {
    const { restoredEpoch, isElsewhere, ...snapshot } = restored
    const published = snapshot.next - snapshot.records.length
    const elsewhere = { ...snapshot, base: { sequence: 0, published }, since: 0 }
    const kept = isElsewhere ? elsewhere : snapshot
    return new IdempotentOutput(options, restoredEpoch, kept, isElsewhere)
  }

  /** Bytes taken and not yet known to be published. */
  get pendingBytes(): number {
    return this.#queue.bytes
  }

  /** Records taken and not yet known to be published. */
  get pendingRecords(): number {
    return this.#queue.length
  }

  /** Everything up to this completed epoch is published; 0 until that is known of any. */
  get committedUpTo(): Epoch {
    return this.#committed
  }

  /** Whether it waits for the job's first own checkpoint (IO8). */
  get isHeld(): boolean {
    return this.#isFirst && this.#completed === this.#restoredEpoch
  }

  /** When `tick` has something to do, in milliseconds of the caller's clock; undefined while nothing waits. */
  get wakeAt(): number | undefined {
    return this.#phase.type === 'waiting' ? this.#phase.until : undefined
  }

  /** The effects queued since the last call, in order. */
  takeEffects(): readonly IdempotentEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** Takes the next record. Its bytes must not change afterwards. */
  add(payload: Uint8Array): void {
    if (this.#phase.type === 'closed') return
    const number = this.#next
    this.#next += 1
    if (number < this.#published) {
      const known = this.#ahead.get(number)
      this.#ahead.delete(number)
      if (known !== undefined && known !== this.#options.checksum(payload))
        this.#failChanged(number)
      else if (this.#next === this.#published) this.#caughtUp()
      return
    }
    if (this.#queue.length === 0) this.#queue.startAt(number)
    this.#queue.push(payload)
    this.#pump()
  }

  /** The barrier of an epoch has come: its records end here; if it is `final`, so does the chain. */
  prepare(epoch: Epoch, final: boolean): void {
    invariant(epoch > this.#prepared, 'S1', `epoch ${epoch} prepared after ${this.#prepared}`)
    this.#prepared = epoch
    this.#marks.push({ epoch, next: this.#next })
    this.#isWhole = final
    if (this.#phase.type !== 'closed') this.#isWithin()
  }

  /** What belongs into the checkpoint of the epoch prepared last: taken in the same turn as `prepare`. */
  snapshot(): IdempotentSnapshot {
    const base = {
      sequence: this.#baseSequence,
      published: this.#published,
      own: this.#own,
    }
    return { base, next: this.#next, since: this.#since, records: this.#queue.content() }
  }

  /** The checkpoint of this epoch has completed, and with it all before. May be repeated, late or lost. */
  completed(epoch: Epoch): void {
    invariant(epoch <= this.#prepared, 'S1', `epoch ${epoch} completed, not prepared`)
    if (epoch <= this.#completed) return
    this.#completed = epoch
    this.#pump()
  }

  /** It is `now`, in milliseconds of the caller's monotonic clock. */
  tick(now: number): void {
    if (this.#phase.type === 'waiting' && now >= this.#phase.until) this.#read()
  }

  /** The answer to a `publish`. One to a message that was given up meanwhile is ignored. */
  outcome(token: number, outcome: PublishOutcome, now: number): void {
    const sent = this.#inFlight[token - (this.#inFlight[0]?.token ?? 0)]
    if (this.#phase.type === 'closed' || sent === undefined || sent.outcome !== undefined) return
    sent.outcome = outcome
    if (this.#phase.type === 'publishing') this.#settle()
    if (this.#phase.type === 'draining') this.#drain(now)
    this.#pump()
  }

  /** The answer to `read-last`. */
  lastRead(last: LastRead, now: number): void {
    if (this.#phase.type === 'closed') return
    invariant(this.#phase.type === 'reading', 'IO3', `lastRead while ${this.#phase.type}`)
    switch (last.type) {
      case 'failed':
        this.#retry(last.error, now)
        break
      case 'found':
        this.#found(last.sequence, last.ours)
        break
      case 'empty':
        this.#foundEmpty(last.firstSequence, last.lastSequence)
        break
      default:
        absurd(last)
    }
  }

  /** The answer to `read-since`. */
  readSince(answer: ReadSince, now: number): void {
    if (this.#phase.type === 'closed') return
    invariant(this.#phase.type === 'reading-back', 'IO3', `readSince while ${this.#phase.type}`)
    const { until, found } = this.#phase
    if (answer.type === 'failed') {
      this.#retry(answer.error, now)
      return
    }
    const { messages, firstSequence } = answer
    const last = found ?? messages.at(-1)?.stamp
    if (last === undefined) {
      if (firstSequence > this.#baseSequence + 1 && this.#isFateUnknown())
        this.#failUnprovable(
          `the subject holds none of ours, its stream starts at ${firstSequence}`,
        )
      else this.#goOn(until, until)
      return
    }
    if (this.#isTaken(last, messages, until)) this.#goOn(until, until)
  }

  #read(): void {
    this.#phase = { type: 'reading' }
    this.#effects.push({ type: 'read-last' })
  }

  #readBack(until: number, found: Stamp | undefined): void {
    this.#phase = { type: 'reading-back', until, found }
    this.#effects.push({ type: 'read-since', after: this.#since, until })
  }

  /** A predecessor may have published more than we know, or we have. */
  #isFateUnknown(): boolean {
    return this.#recovering ? !this.#isFirst : this.#unknown
  }

  #isOnChain(stamp: Stamp): boolean {
    return stamp.epoch === noEpoch
  }

  #foundEmpty(firstSequence: number, lastSequence: number): void {
    const base = this.#baseSequence
    const isCutOff = lastSequence < base || (this.#own !== undefined && firstSequence <= this.#own)
    if (isCutOff && this.#published > 0) {
      this.#failLost(`the subject is empty, its stream holds ${firstSequence}..${lastSequence}`)
      return
    }
    const isProven = lastSequence === base || (lastSequence > base && firstSequence <= base + 1)
    const isOthers = this.#alone && !this.#recovering
    if (!isProven && (isOthers || this.#isFateUnknown())) {
      this.#failUnprovable(
        `the subject is empty, its stream holds ${firstSequence}..${lastSequence}`,
      )
    } else this.#goOn(0, lastSequence)
  }

  #found(sequence: number, ours: Stamp | undefined): void {
    if (ours === undefined || !this.#isOnChain(ours)) {
      // Up to the base we know without looking; and on a used subject nothing is ours if its last message is not.
      const isFresh = this.#recovering && this.#isFirst
      if (this.#own !== undefined && sequence < this.#own) {
        this.#failLost(`the last one there, at ${sequence}, is somebody else's`)
        return
      }
      if (sequence <= this.#baseSequence || isFresh) {
        this.#goOn(sequence, Math.max(sequence, this.#baseSequence))
        return
      }
      if (this.#baseSequence > 0) this.#window.bound(1)
      this.#readBack(sequence, undefined)
      return
    }
    if (this.#isFencedBy(ours, sequence)) return
    this.#own = sequence
    const isKnown = this.#published <= this.#next || this.#ahead.size > 0
    if (ours.index + 1 === this.#published && isKnown) this.#goOn(sequence, sequence)
    else if (ours.index + 1 < this.#published) this.#failLost(`the last one there is ${ours.index}`)
    else this.#readBack(sequence, ours)
  }

  #isFencedBy(stamp: Stamp, sequence: number): boolean {
    if (stamp.generation <= this.#options.generation) return false
    this.#phase = { type: 'closed' }
    this.#effects.push({ type: 'fenced', generation: stamp.generation, sequence })
    return true
  }

  /** Takes everything up to `last` as published, whoever did it. False, and closed: that contradicts what we know. */
  #isTaken(last: Stamp, messages: readonly ReadBack[], until: number): boolean {
    if (this.#isFencedBy(last, until)) return false
    if (last.index + 1 < this.#published) {
      this.#failLost(`the last one there is ${last.index}`)
      return false
    }
    const overtaken = this.#overtaken
    this.#overtaken = undefined
    if (overtaken !== undefined && !messages.some(({ stamp }) => stamp.index === overtaken)) {
      this.#failOvertaken(overtaken, last.index)
      return false
    }
    for (const { stamp, checksum } of messages) {
      const own = this.#queue.at(stamp.index)
      if (own !== undefined && this.#options.checksum(own) !== checksum) {
        this.#failChanged(stamp.index)
        return false
      }
      if (stamp.index >= this.#next) this.#ahead.set(stamp.index, checksum)
    }
    if (last.index + 1 > this.#published) this.#attempts = 0
    this.#published = last.index + 1
    this.#queue.dropBelow(this.#published)
    return this.#isWithin()
  }

  /** False, and closed: the chain has ended before a record that was published (IO4). */
  #isWithin(): boolean {
    if (!this.#isWhole || this.#published <= this.#next) return true
    const ended = `it has ended with ${this.#next} records, of ${this.#published} that were published`
    this.#failUnlike(`${ended} before the restart`)
    return false
  }

  /** The truth is known: the next message must follow `expected` (0: none is there). */
  #goOn(expected: number, base: number): void {
    this.#phase = { type: 'publishing' }
    this.#sent = this.#published
    this.#expected = expected
    this.#baseSequence = base
    if (this.#published <= this.#next) this.#caughtUp()
    this.#unknown = false
    this.#pump()
  }

  #caughtUp(): void {
    this.#since = this.#baseSequence
  }

  #pump(): void {
    if (this.#phase.type !== 'publishing') return
    if (this.#recovering && this.#published >= this.#restored) {
      this.#recovering = false
      this.#effects.push({ type: 'recovered' })
    }
    while (this.#sent < this.#next && !this.isHeld) {
      const payload = this.#queue.at(this.#sent)
      invariant(payload !== undefined, 'IO3', `number ${this.#sent} is not there`)
      const isFull =
        this.#inFlight.length >= this.#window.size ||
        this.#inFlightBytes + payload.byteLength > this.#limits.windowBytesMax
      if (this.#expected === undefined || (isFull && this.#inFlight.length > 0)) break
      this.#send(payload, this.#expected)
    }
    if (this.#inFlight.length === 0) this.#attempts = 0
    if (!this.#recovering) this.#noteCommitted()
  }

  #send(payload: Uint8Array, expected: number): void {
    const number = this.#sent
    const token = this.#nextToken
    const bytes = payload.byteLength
    this.#sent += 1
    this.#nextToken += 1
    this.#inFlight.push({ token, number, bytes, expected, outcome: undefined })
    this.#inFlightBytes += bytes
    // Behind an empty subject the stream's last sequence decides, which only the ack tells.
    this.#expected = expected === 0 ? undefined : expected + 1
    const { generation } = this.#options
    const headers = stampHeaders(this.#options, { generation, epoch: noEpoch, index: number })
    this.#effects.push({
      type: 'publish',
      token,
      payload,
      headers,
      expectedLastSubjectSequence: expected,
    })
  }

  /** Takes the acks in order, up to the first message that was not stored or not answered. */
  #settle(): void {
    for (;;) {
      const first = this.#inFlight[0]
      if (first?.outcome === undefined) return
      if (first.outcome.type !== 'stored') {
        this.#phase = { type: 'draining' }
        return
      }
      const { sequence } = first.outcome
      this.#inFlight.shift()
      this.#inFlightBytes -= first.bytes
      this.#published = first.number + 1
      this.#queue.dropBelow(this.#published)
      this.#baseSequence = sequence
      this.#own = sequence
      this.#caughtUp()
      this.#attempts = 0
      if (first.expected === 0 || sequence === first.expected + 1) this.#window.held()
      else {
        // A prediction failed: others write into the stream, whatever was promised (S4).
        this.#alone = false
        this.#window.bound(2)
      }
      if (this.#inFlight.length === 0) this.#expected = sequence
    }
  }

  /** When every message in flight has its answer: forgets them all, and reads where we are. */
  #drain(now: number): void {
    if (this.#inFlight.some(sent => sent.outcome === undefined)) return
    let reason: StreamError | undefined
    let refused: number | undefined
    for (const { number, expected, outcome } of this.#inFlight) {
      if (outcome?.type === 'stored') this.#overtaken ??= refused
      if (outcome === undefined || outcome.type === 'stored') continue
      if (outcome.type === 'wrong-last-sequence') {
        refused ??= number
        this.#window.narrow()
        const facts = `record ${number} was to follow sequence ${expected}`
        const { actual } = outcome
        // Maybe a leftover has published this very record.
        if (actual > expected) this.#unknown = true
        reason ??= streamError('conflict', `${facts}, the subject's last one was ${actual}`)
      } else reason ??= outcome.error
      if (isUnknown(outcome)) this.#unknown = true
    }
    this.#inFlight = []
    this.#inFlightBytes = 0
    invariant(reason !== undefined, 'IO3', 'a window was given up though all of it was stored')
    this.#retry(reason, now)
  }

  #retry(error: StreamError, now: number): void {
    this.#attempts += 1
    const { attemptsMax, retryDelayMs, retryDelayMsMax } = this.#limits
    if (this.#attempts > attemptsMax) {
      const tries = `no record was published in ${attemptsMax} attempts`
      this.#fail(error.type, `${tries}: ${error.message}`, {
        next: error.next ?? 'Check the server and the stream behind the subject.',
        cause: error,
      })
    } else if (this.#attempts === 1) this.#read()
    else {
      const delay = Math.min(retryDelayMs * 2 ** (this.#attempts - 2), retryDelayMsMax)
      this.#phase = { type: 'waiting', until: now + delay }
    }
  }

  #noteCommitted(): void {
    let committed = this.#committed
    for (let mark = this.#marks[0]; mark !== undefined; mark = this.#marks[0]) {
      if (mark.epoch > this.#completed || mark.next > this.#published) break
      committed = mark.epoch
      this.#marks.shift()
    }
    if (committed <= this.#committed) return
    this.#committed = committed
    this.#effects.push({ type: 'committed', epoch: committed })
  }

  #failLost(fact: string): void {
    const known = `records up to ${this.#published - 1} were published up to ${this.#baseSequence}`
    this.#fail('lost', `the stream lost stored messages: ${fact}, and ${known}`, {
      next: 'Bring the lost messages back, or start a new job on another subject.',
    })
  }

  /** Nothing proves which records were published since the base (IO7). */
  #failUnprovable(fact: string): void {
    const base = `at sequence ${this.#baseSequence} it had the records below ${this.#published}, and more may have followed`
    this.#fail('lost', `the history needed to go on is gone: ${fact}; ${base}`, {
      next: 'Keep messages of the subject for longer than any outage lasts; start a new job to go on.',
    })
  }

  #failOvertaken(refused: number, stored: number): void {
    const order = `record ${refused} was refused and is not there, though record ${stored} is`
    this.#fail('lost', `somebody else writes on its subject or into its stream: ${order}`, {
      next: 'Publish what was refused by hand, and keep everybody else off the stream.',
    })
  }

  /** The replay is not what it was (IO4). */
  #failChanged(number: number): void {
    this.#failUnlike(
      `record ${number} has other content than what was published under that number before the restart`,
    )
  }

  #failUnlike(fact: string): void {
    this.#fail('corrupt', `the job does not replay to the same records: ${fact}`, {
      next: "Make every actor before this sink depend on its records and its state only (no clock, no random numbers, no calls); or give the sink delivery: 'transactional'. If a source's stream was written anew, start afresh.",
    })
  }

  #fail(
    type: StreamError['type'],
    fact: string,
    more: { readonly next: string; readonly cause?: StreamError },
  ): void {
    const subject = JSON.stringify(this.#options.subject)
    this.#phase = { type: 'closed' }
    const error = streamError(type, `sink ${sinkName(this.#options)} on ${subject}: ${fact}`, more)
    this.#effects.push({ type: 'failed', error })
  }
}
