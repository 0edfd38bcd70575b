/**
 * Decides what one sink subtask publishes, when, and what it knows to be published: exactly once, in order,
 * onto one JetStream subject that it alone writes, whatever crashes. Sans-IO: methods queue effects, which
 * `takeEffects` drains; the caller performs them and hands every answer back, one answer for each.
 *
 * The records of epoch e, numbered from 0, and then those of the next epoch, form the *chain*. A message
 * carries its place in the chain as headers and names the sequence of the message that it must follow
 * (`Nats-Expected-Last-Subject-Sequence`), so that the server itself refuses it anywhere else.
 *
 * Invariants
 *   S1.  A record is published only after its epoch has completed. What a restored checkpoint had prepared has
 *        completed by definition (P7); `aborted` drops nothing, the next checkpoint covers it (P6).
 *   S2.  The subject holds a prefix of the chain: our last message there says that all before it is published.
 *   S3.  Only `stored` is believed. After any other outcome nothing is sent until the subject's last message is read.
 *   S4.  A message may be sent before its predecessor's ack only if the sequence predicted for the predecessor
 *        can be held by nothing else on the subject. In an exclusive stream, that is true for a whole window. In
 *        a shared one it is true for one message only: with `m1 m2 m3` predicted at 11 12 13 and 11 taken by
 *        another subject, m1 lands at 12, m2 is refused, and *m3 is accepted behind m1*. So there a window is 2
 *        at most, and 1 while predictions fail; and it is 1 for ever once somebody else wrote on our subject.
 *   S5.  A message of a newer generation means that this output is a zombie: it never publishes again. One of an older
 *        generation is a predecessor's, maybe still at work on the same restored chain: go on after it.
 *   S6.  A message of a later epoch than the restored one means that the store lost a completed checkpoint.
 *   S7.  Nothing that was not restored is published before everything restored is (`recovered`).
 *   S8.  Base: our messages with a sequence up to `base.sequence` end with `base.published`. When the subject is empty
 *        and records of unknown fate are left, they are proven unpublished only by a stream that stored nothing since
 *        its base, or removed nothing since. Records whose fate is known go on, expecting an empty subject.
 *        A stream that ends below its base has lost messages of ours, and stops the job; so has one whose subject is
 *        empty though it begins before our last message, or ends with a stranger's older one: what retention removes,
 *        it removes from the front.
 *   S9.  Up to `#contested`, others may publish the same records: predecessors what was restored, late packets of a
 *        broken connection what was sent on it. Behind that, no message can be stored when one before it was refused:
 *        if one was, a stranger holds the refused one's place, and that is a failure which names the record.
 *   S10. Filed records are never changed, so that a snapshot takes them by reference.
 *   S11. Retries are bounded, with growing delays; without progress they end in `failed`.
 *
 * Not covered: a stranger's message on our own subject between two messages of one contested window (S9 cannot tell it
 * from a predecessor's); retention that empties a subject faster than a message on its way arrives; and a zombie in a
 * shared stream that slept until retention had emptied its subject.
 */
import { type StreamError, streamError } from '../errors.js'
import { absurd, invariant } from '../invariant.js'
import type { Epoch, Generation } from './ids.js'
import { token as escaped } from './names.js'

/** Whose output this is. `job` must differ between two jobs of one name (the job's id, not its name). */
export interface OutputIdentity {
  readonly job: string
  readonly sink: string
  readonly subtask: number
  /**
   * Jobs that may have published what was restored of it, up to that epoch: the checkpoint was theirs.
   * What they published later is a stranger's; but chains without epochs have no later.
   */
  readonly before?: { readonly epoch: Epoch; readonly jobs: readonly string[] }
}

/** A place in the chain. */
export interface Position {
  readonly epoch: Epoch
  /** From 0 within the epoch. */
  readonly index: number
}

/** What a message of ours says about itself. */
export interface Stamp extends Position {
  readonly generation: Generation
}

/** Prepared records of one epoch that were not known to be published. */
export interface Transaction {
  readonly epoch: Epoch
  /** Index of `records[0]`: those before it were published. */
  readonly firstIndex: number
  readonly records: readonly Uint8Array[]
}

/** Our messages with a sequence up to `sequence` end with `published` (S8). */
export interface Base {
  readonly sequence: number
  readonly published: Position | undefined
  /** Where our last message was, as far as that is known. */
  readonly own?: number | undefined
}

/** What an output stores with a checkpoint, by reference. */
export interface OutputSnapshot {
  readonly base: Base
  readonly transactions: readonly Transaction[]
}

/** What became of one publish; structurally the event log's own type. */
export type PublishOutcome =
  | { readonly type: 'stored'; readonly sequence: number }
  | { readonly type: 'wrong-last-sequence'; readonly actual: number }
  | { readonly type: 'failed'; readonly error: StreamError }

/** Answer to `read-last`: the subject's last message. */
export type LastRead =
  /** Both sequences are the stream's, read after the subject was found empty. */
  | { readonly type: 'empty'; readonly firstSequence: number; readonly lastSequence: number }
  /** `ours` is the message's `stampOf`, undefined when somebody else wrote it. */
  | { readonly type: 'found'; readonly sequence: number; readonly ours: Stamp | undefined }
  | { readonly type: 'failed'; readonly error: StreamError }

/** Answer to `scan-back`: our latest message with a greater sequence than the one asked for. */
export type Scanned =
  | { readonly type: 'found'; readonly sequence: number; readonly ours: Stamp }
  /** `firstSequence` of the stream must have been read after the scan. */
  | { readonly type: 'none'; readonly firstSequence: number }
  | { readonly type: 'failed'; readonly error: StreamError }

/** What the caller is to do, in order. */
export type OutputEffect =
  /** Effects of this type must be sent in order. Each is answered by one `outcome`. */
  | {
      readonly type: 'publish'
      readonly token: number
      readonly payload: Uint8Array
      readonly headers: Readonly<Record<string, string>>
      readonly expectedLastSubjectSequence: number
    }
  | { readonly type: 'read-last' }
  | { readonly type: 'scan-back'; readonly after: number }
  /** Everything restored is published. */
  | { readonly type: 'recovered' }
  /** Everything up to this completed epoch is published. */
  | { readonly type: 'committed'; readonly epoch: Epoch }
  /** A newer generation publishes here: this output is closed (S5). */
  | { readonly type: 'fenced'; readonly generation: Generation; readonly sequence: number }
  /** This output is closed; a new generation must restore it. */
  | { readonly type: 'failed'; readonly error: StreamError }

/** Bounds of what one output has under way and tries. */
export interface OutputLimits {
  /** Messages sent and not yet answered. */
  readonly windowRecordsMax: number
  /** Bytes sent and not yet answered. A larger single record is still sent, alone. */
  readonly windowBytesMax: number
  /** Predictions that must hold in a row before a narrowed window doubles. */
  readonly holdsBeforeGrowth: number
  /** Attempts in a row without any record published. */
  readonly attemptsMax: number
  /** Delay before the second attempt; it doubles from there. The first is made at once. */
  readonly retryDelayMs: number
  readonly retryDelayMsMax: number
}

/** The limits of an output that names none. */
export const defaultOutputLimits: OutputLimits = {
  windowRecordsMax: 256,
  windowBytesMax: 1024 * 1024,
  holdsBeforeGrowth: 64,
  attemptsMax: 12,
  retryDelayMs: 100,
  retryDelayMsMax: 5_000,
}

/** What an output is, where it publishes, and what may be relied on there. */
export interface OutputOptions extends OutputIdentity {
  readonly generation: Generation
  readonly subject: string
  /** `direct`: no checkpoints, every record is published at once under epoch 0, at least once at best. */
  readonly mode: 'transactional' | 'direct'
  /** The stream captures our subject and no other, and nobody else writes there (S4). When in doubt: false. */
  readonly exclusive: boolean
  /** People take single messages out once they have dealt with them: an empty subject is no loss. */
  readonly mayBeCleared?: boolean
  readonly limits?: Partial<OutputLimits>
}

const header = {
  job: 'Sluice-Job',
  sink: 'Sluice-Sink',
  generation: 'Sluice-Generation',
  epoch: 'Sluice-Epoch',
  index: 'Sluice-Index',
} as const

/** How an output's messages and errors name it. */
export const sinkName = (of: OutputIdentity): string => `${escaped(of.sink)}/${of.subtask}`

/** What a message of an output says about itself, as headers. */
export const stampHeaders = (
  of: OutputIdentity,
  { generation, epoch, index }: Stamp,
): Readonly<Record<string, string>> => ({
  [header.job]: escaped(of.job),
  [header.sink]: sinkName(of),
  [header.generation]: String(generation),
  [header.epoch]: String(epoch),
  [header.index]: String(index),
})

/** What a message's headers say if it is a message of this output, of any generation; undefined if it is not. */
export const stampOf = (
  headers: Readonly<Record<string, string>> | undefined,
  of: OutputIdentity,
): Stamp | undefined => {
  if (headers === undefined || headers[header.sink] !== sinkName(of)) return
  const isOwn = headers[header.job] === escaped(of.job)
  if (!isOwn && !of.before?.jobs.some(job => headers[header.job] === escaped(job))) return
  const [generation, epoch, index] = [header.generation, header.epoch, header.index].map(name => {
    const text = headers[name] ?? ''
    return /^\d{1,15}$/.test(text) ? Number(text) : undefined
  })
  if (generation === undefined || epoch === undefined || index === undefined) return
  if (isOwn) return { generation, epoch, index }
  // Generations of another job say nothing about ours; all of them were before.
  return of.before !== undefined && epoch <= of.before.epoch
    ? { generation: 0, epoch, index }
    : undefined
}

interface Segment extends Transaction {
  /** Records that are known to be published: a prefix, as is `sent`. */
  published: number
  sent: number
}

interface Sent extends Position {
  readonly token: number
  readonly bytes: number
  readonly expected: number
  outcome: PublishOutcome | undefined
}

type Phase =
  | { readonly type: 'reading' }
  /** The subject's last message, at `foreign`, does not say where we are. */
  | { readonly type: 'scanning'; readonly foreign: number }
  | { readonly type: 'publishing' }
  /** Something was not stored: wait for the answers to the rest of the window, then read. */
  | { readonly type: 'draining' }
  | { readonly type: 'waiting'; readonly until: number }
  | { readonly type: 'closed' }

const isBefore = (a: Position, b: Position): boolean =>
  a.epoch < b.epoch || (a.epoch === b.epoch && a.index < b.index)

const show = (at: Position): string => `record ${at.index} of epoch ${at.epoch}`

/** Neither stored nor refused, for all that is known: the message may even arrive later. */
export const isUnknown = (outcome: PublishOutcome): boolean =>
  outcome.type === 'failed' &&
  (outcome.error.type === 'timed-out' || outcome.error.type === 'unavailable')

const reasonOf = (
  sent: Sent,
  outcome: Exclude<PublishOutcome, { type: 'stored' }>,
): StreamError => {
  if (outcome.type === 'failed') return outcome.error
  const facts = `to follow sequence ${sent.expected}, the subject's last one was ${outcome.actual}`
  return streamError('conflict', `${show(sent)} was ${facts}`)
}

/** The filed records in order, how far they were sent, and how far they are published (S2). */
class Chain {
  /** Not wholly published. */
  readonly #segments: Segment[] = []
  /** The segment that holds the next record to send. */
  #cursor = 0
  published: Position | undefined
  /** The last epoch that was published wholly from here. */
  finished: Epoch = 0
  bytes = 0
  records = 0

  get head(): Segment | undefined {
    return this.#segments[0]
  }

  file(epoch: Epoch, firstIndex: number, records: readonly Uint8Array[]): void {
    if (records.length === 0) return
    this.#segments.push({ epoch, firstIndex, records, published: 0, sent: 0 })
    this.records += records.length
    for (const record of records) this.bytes += record.byteLength
  }

  /** The segment of the next record to send, undefined when everything filed was sent. */
  next(): Segment | undefined {
    const segment = this.#segments[this.#cursor]
    if (segment === undefined || segment.sent < segment.records.length) return segment
    this.#cursor += 1
    return this.#segments[this.#cursor]
  }

  /** Forgets what was sent and is not known to be published. */
  rewind(): void {
    for (const segment of this.#segments) segment.sent = segment.published
    this.#cursor = 0
  }

  /** Marks the first record that was not published as published. */
  advance(): void {
    const head = this.#segments[0]
    const record = head?.records[head.published]
    invariant(head !== undefined && record !== undefined, 'S2', 'nothing is left to be published')
    this.published = { epoch: head.epoch, index: head.firstIndex + head.published }
    head.published += 1
    head.sent = Math.max(head.sent, head.published)
    this.bytes -= record.byteLength
    this.records -= 1
    if (head.published < head.records.length) return
    this.finished = head.epoch
    this.#segments.shift()
    this.#cursor = Math.max(0, this.#cursor - 1)
  }

  /** Marks everything up to `at` as published. False: no chain that holds our records can have come to `at`. */
  reach(at: Position): boolean {
    const target = this.#segments.find(
      segment =>
        segment.epoch === at.epoch && at.index < segment.firstIndex + segment.records.length,
    )
    if (target === undefined) {
      const isPast = this.head === undefined || at.epoch < this.head.epoch
      if (!isPast || (this.published !== undefined && isBefore(this.published, at))) return false
      this.published = { epoch: at.epoch, index: at.index }
      return true
    }
    let left = at.index + 1 - target.firstIndex - target.published
    if (left < 0) return false
    while (this.head !== target) this.advance()
    for (; left > 0; left -= 1) this.advance()
    return true
  }

  /** What is not known to be published, by reference (S10). */
  unpublished(): readonly Transaction[] {
    return this.#segments.map(({ epoch, firstIndex, records, published }) => ({
      epoch,
      firstIndex: firstIndex + published,
      records: published === 0 ? records : records.slice(published),
    }))
  }
}

/** How many messages may be in flight: what S4 allows, narrowed while predictions fail. */
export class Window {
  readonly #limits: OutputLimits
  #max: number
  #holds = 0
  size: number

  constructor(limits: OutputLimits, exclusive: boolean) {
    this.#limits = limits
    this.#max = exclusive ? limits.windowRecordsMax : Math.min(2, limits.windowRecordsMax)
    this.size = exclusive ? this.#max : 1
  }

  held(): void {
    this.#holds += 1
    if (this.#holds < this.#limits.holdsBeforeGrowth || this.size >= this.#max) return
    this.#holds = 0
    this.size = Math.min(this.size * 2, this.#max)
  }

  narrow(): void {
    this.#holds = 0
    this.size = 1
  }

  /** Narrows for good. */
  bound(max: number): void {
    this.#max = Math.min(this.#max, max)
    this.narrow()
  }
}

/** The exactly-once output of one sink subtask. The module's comment numbers its invariants. */
export class TransactionalOutput {
  readonly #options: OutputOptions
  readonly #limits: OutputLimits
  readonly #restoredEpoch: Epoch
  readonly #chain = new Chain()
  readonly #window: Window
  #effects: OutputEffect[] = []
  #phase: Phase = { type: 'reading' }
  #recovering = true

  #open: Uint8Array[] = []
  #openBytes = 0
  #prepared: Epoch
  #completed: Epoch
  #committed: Epoch = 0
  #directIndex = 0

  #baseSequence: number
  #own: number | undefined
  /** What the next message must follow; undefined when only the next ack can tell. */
  #expected: number | undefined
  #inFlight: Sent[] = []
  #inFlightBytes = 0
  #nextToken = 0
  /** The outcome of a publish is unknown, and nothing that was read since has settled it. */
  #unknown = false
  /** Up to here others may publish the same records (S9). */
  #contested: Position
  /** Nobody else is known to write into the stream. */
  #alone: boolean
  #attempts = 0

  private constructor(options: OutputOptions, restoredEpoch: Epoch, snapshot: OutputSnapshot) {
    this.#options = options
    this.#limits = { ...defaultOutputLimits, ...options.limits }
    this.#window = new Window(this.#limits, options.exclusive)
    this.#alone = options.exclusive
    this.#restoredEpoch = restoredEpoch
    this.#prepared = restoredEpoch
    this.#completed = restoredEpoch
    this.#contested = { epoch: restoredEpoch, index: Number.POSITIVE_INFINITY }
    this.#baseSequence = snapshot.base.sequence
    this.#own = snapshot.base.own
    this.#chain.published = snapshot.base.published
    let last: Epoch = 0
    for (const { epoch, firstIndex, records } of snapshot.transactions) {
      invariant(epoch > last && epoch <= restoredEpoch, 'S1', `epoch ${epoch} after ${last}`)
      this.#chain.file(epoch, firstIndex, records)
      last = epoch
    }
    this.#read()
  }

  /** An output of a job that starts without a checkpoint. */
  static start(options: OutputOptions): TransactionalOutput {
    const base = { sequence: 0, published: undefined }
    return new TransactionalOutput(options, 0, { base, transactions: [] })
  }

  /** An output that goes on from what it stored with the completed checkpoint `restoredEpoch`. */
  static restore(
    options: OutputOptions,
    restored: OutputSnapshot & { readonly restoredEpoch: Epoch },
  ): TransactionalOutput {
    invariant(options.mode === 'transactional', 'S1', 'a direct output has nothing to restore')
    return new TransactionalOutput(options, restored.restoredEpoch, restored)
  }

  /** Bytes taken and not yet known to be published. The caller stops adding at its limit. */
  get pendingBytes(): number {
    return this.#openBytes + this.#chain.bytes
  }

  /** Records taken and not yet known to be published. */
  get pendingRecords(): number {
    return this.#open.length + this.#chain.records
  }

  /** Everything up to this completed epoch is published; 0 until that is known of any. */
  get committedUpTo(): Epoch {
    return this.#committed
  }

  /** When `tick` has something to do, in milliseconds of the caller's clock; undefined while nothing waits. */
  get wakeAt(): number | undefined {
    return this.#phase.type === 'waiting' ? this.#phase.until : undefined
  }

  /** The effects queued since the last call, in order. */
  takeEffects(): readonly OutputEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** Takes a record into the open epoch. Its bytes must not change afterwards. */
  add(payload: Uint8Array): void {
    this.#open.push(payload)
    this.#openBytes += payload.byteLength
    if (this.#options.mode === 'direct') this.#pump()
  }

  /** Files the open records under the epoch whose barrier has come. */
  prepare(epoch: Epoch): void {
    invariant(this.#options.mode === 'transactional', 'S1', 'a direct output has no epochs')
    invariant(epoch > this.#prepared, 'S1', `epoch ${epoch} prepared after ${this.#prepared}`)
    this.#prepared = epoch
    this.#fileOpen(epoch, 0)
  }

  /** What belongs into the checkpoint of the epoch prepared last: taken in the same turn as `prepare`. */
  snapshot(): OutputSnapshot {
    const base = {
      sequence: this.#baseSequence,
      published: this.#chain.published,
      own: this.#own,
    }
    return { base, transactions: this.#chain.unpublished() }
  }

  /** The checkpoint of this epoch has completed, and with it all before. May be repeated, late or lost. */
  completed(epoch: Epoch): void {
    invariant(epoch <= this.#prepared, 'S1', `epoch ${epoch} completed, not prepared`)
    if (epoch <= this.#completed) return
    this.#completed = epoch
    this.#pump()
  }

  /** The checkpoint of this epoch was given up. Its records stay: the next one covers them (P6). */
  aborted(_epoch: Epoch): void {}

  /** It is `now`, in milliseconds of the caller's monotonic clock. */
  tick(now: number): void {
    if (this.#phase.type === 'waiting' && now >= this.#phase.until) this.#read()
  }

  /** The answer to a `publish`. One to a message that was given up meanwhile is ignored (S3). */
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
    invariant(this.#phase.type === 'reading', 'S3', `lastRead while ${this.#phase.type}`)
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

  /** The answer to `scan-back`. */
  scanned(scan: Scanned, now: number): void {
    if (this.#phase.type === 'closed') return
    invariant(this.#phase.type === 'scanning', 'S3', `scanned while ${this.#phase.type}`)
    const { foreign } = this.#phase
    switch (scan.type) {
      case 'failed':
        this.#retry(scan.error, now)
        break
      case 'found':
        this.#take(scan.ours, scan.sequence, Math.max(foreign, scan.sequence))
        break
      case 'none':
        if (scan.firstSequence > this.#baseSequence + 1 && this.#isFateUnknown()) {
          const first = scan.firstSequence
          this.#failUnprovable(`the subject holds none of ours, its stream starts at ${first}`)
        } else this.#goOn(foreign, foreign)
        break
      default:
        absurd(scan)
    }
  }

  #fileOpen(epoch: Epoch, firstIndex: number): void {
    this.#chain.file(epoch, firstIndex, this.#open)
    this.#open = []
    this.#openBytes = 0
  }

  #read(): void {
    this.#phase = { type: 'reading' }
    this.#effects.push({ type: 'read-last' })
  }

  /** Records are left of which we or a predecessor may have published some. */
  #isFateUnknown(): boolean {
    const head = this.#chain.head
    if (!this.#recovering) return this.#unknown
    return head !== undefined && head.epoch <= this.#restoredEpoch
  }

  /** Epoch 0 belongs to direct outputs, each generation of which starts a chain of its own. */
  #isOnChain(ours: Stamp): boolean {
    if (this.#options.mode === 'transactional') return ours.epoch > 0
    return ours.generation === this.#options.generation && !this.#recovering
  }

  #foundEmpty(firstSequence: number, lastSequence: number): void {
    const base = this.#baseSequence
    // Retention and purges leave a stream its last sequence; a server that lost its tail does not.
    const isCutOff = lastSequence < base || this.#isMissing(firstSequence - 1)
    if (isCutOff && this.#chain.published !== undefined) {
      this.#failLost(`the subject is empty, its stream holds ${firstSequence}..${lastSequence}`)
      return
    }
    const isProven = lastSequence === base || (lastSequence > base && firstSequence <= base + 1)
    // Alone in the stream with every outcome known: what was stored since can only be a successor's.
    const isOthers = this.#alone && !this.#recovering
    if (!isProven && (isOthers || this.#isFateUnknown())) {
      this.#failUnprovable(
        `the subject is empty, its stream holds ${firstSequence}..${lastSequence}`,
      )
    } else this.#goOn(0, lastSequence)
  }

  /** Our last message is behind a sequence, where there is none on the subject. */
  #isMissing(behind: number): boolean {
    const { mayBeCleared = false } = this.#options
    return !mayBeCleared && this.#own !== undefined && this.#own > behind
  }

  #found(sequence: number, ours: Stamp | undefined): void {
    if (ours !== undefined && (this.#isOnChain(ours) || this.#isNewer(ours))) {
      this.#take(ours, sequence, sequence)
      return
    }
    if (this.#isMissing(sequence)) {
      this.#failLost(`the last one there, at ${sequence}, is somebody else's`)
      return
    }
    // Up to the base we know without looking (S8). Nor has a new job on a used subject anything to look for.
    const isCovered = sequence <= this.#baseSequence
    const isFresh = this.#recovering && this.#baseSequence === 0 && !this.#isFateUnknown()
    if (isCovered || isFresh) {
      this.#goOn(sequence, Math.max(sequence, this.#baseSequence))
      return
    }
    if (ours === undefined && this.#baseSequence > 0) this.#window.bound(1)
    this.#phase = { type: 'scanning', foreign: sequence }
    this.#effects.push({ type: 'scan-back', after: this.#baseSequence })
  }

  #isNewer(ours: Stamp): boolean {
    return ours.generation > this.#options.generation
  }

  /** Our latest message is at `sequence`, the subject's last one at `last`. */
  #take(ours: Stamp, sequence: number, last: number): void {
    if (this.#isNewer(ours)) {
      this.#phase = { type: 'closed' }
      this.#effects.push({ type: 'fenced', generation: ours.generation, sequence })
      return
    }
    const isOnChain = this.#isOnChain(ours)
    if (isOnChain && !this.#reach(ours)) return
    if (isOnChain) this.#own = sequence
    this.#goOn(last, last)
  }

  /** Takes everything up to `at` as published, whoever did it. False, and failed: that contradicts what we know. */
  #reach(at: Stamp): boolean {
    const limit = this.#recovering ? this.#restoredEpoch : this.#completed
    const known = this.#chain.published
    const left = this.#chain.records
    const found = `the last one there is ${show(at)} by generation ${at.generation}`
    if (at.epoch > limit && this.#recovering) {
      const restored = `only epoch ${limit} was restored`
      this.#fail('lost', `the store lost a completed checkpoint: ${found}, but ${restored}`, {
        next: 'Bring the newer checkpoint back, or start a new job: going on would publish records twice.',
      })
    } else if (at.epoch > limit) {
      this.#fail('conflict', `${found}, but no epoch after ${limit} has completed`, {
        next: 'Find who else publishes as this sink, and stop it.',
      })
    } else if (known !== undefined && isBefore(at, known)) {
      this.#fail('lost', `the stream lost stored messages: ${found}, after ${show(known)}`, {
        next: 'Bring the lost messages back, or start a new job on another subject.',
      })
    } else if (!this.#chain.reach(at)) {
      this.#fail('corrupt', `${found}, and this sink has prepared no such record`, {
        next: 'Find who else publishes as this sink, or start a new job on another subject.',
      })
    } else {
      if (this.#chain.records < left) this.#attempts = 0
      return true
    }
    return false
  }

  /** The truth is known: the next message must follow `expected` (0: none is there). */
  #goOn(expected: number, base: number): void {
    this.#phase = { type: 'publishing' }
    this.#chain.rewind()
    this.#expected = expected
    this.#baseSequence = base
    this.#unknown = false
    this.#pump()
  }

  #pump(): void {
    if (this.#phase.type !== 'publishing') return
    const head = this.#chain.head
    if (this.#recovering && (head === undefined || head.epoch > this.#restoredEpoch)) {
      this.#recovering = false
      this.#effects.push({ type: 'recovered' })
    }
    for (let segment = this.#next(); segment !== undefined; segment = this.#next()) {
      const payload = segment.records[segment.sent]
      invariant(payload !== undefined, 'S2', 'a segment has less records than it says')
      const isFull =
        this.#inFlight.length >= this.#window.size ||
        this.#inFlightBytes + payload.byteLength > this.#limits.windowBytesMax
      if (this.#expected === undefined || (isFull && this.#inFlight.length > 0)) break
      this.#send(segment, payload, this.#expected)
    }
    if (this.#inFlight.length === 0) this.#attempts = 0
    if (!this.#recovering) this.#noteCommitted()
  }

  /** The segment of the next record to send, if that may be published (S1, S7). */
  #next(): Segment | undefined {
    const segment = this.#chain.next()
    if (this.#options.mode === 'direct' && segment === undefined && this.#open.length > 0) {
      const firstIndex = this.#directIndex
      this.#directIndex += this.#open.length
      this.#fileOpen(0, firstIndex)
      return this.#chain.next()
    }
    const limit = this.#recovering ? this.#restoredEpoch : this.#completed
    return segment !== undefined && segment.epoch <= limit ? segment : undefined
  }

  #send(segment: Segment, payload: Uint8Array, expected: number): void {
    const { generation } = this.#options
    const index = segment.firstIndex + segment.sent
    const token = this.#nextToken
    const bytes = payload.byteLength
    segment.sent += 1
    this.#nextToken += 1
    this.#inFlight.push({ token, epoch: segment.epoch, index, bytes, expected, outcome: undefined })
    this.#inFlightBytes += bytes
    // Behind an empty subject the stream's last sequence decides, which only the ack tells.
    this.#expected = expected === 0 ? undefined : expected + 1
    const headers = stampHeaders(this.#options, { generation, epoch: segment.epoch, index })
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
      this.#chain.advance()
      this.#baseSequence = sequence
      this.#own = sequence
      this.#attempts = 0
      const isHeld = first.expected === 0 || sequence === first.expected + 1
      if (isHeld) this.#window.held()
      else this.#shared()
      // Otherwise this is still predicted; if wrongly, the window is 1 now and waits for the refusal.
      if (this.#inFlight.length === 0) this.#expected = sequence
    }
  }

  /** A prediction failed: others write into the stream, whatever was promised (S4). */
  #shared(): void {
    this.#alone = false
    this.#window.bound(2)
  }

  /** When every message in flight has its answer: forgets them all, and reads where we are (S3). */
  #drain(now: number): void {
    if (this.#inFlight.some(sent => sent.outcome === undefined)) return
    const last = this.#inFlight.at(-1)
    let reason: StreamError | undefined
    let refused: Sent | undefined
    for (const sent of this.#inFlight) {
      const outcome = sent.outcome
      if (outcome === undefined) continue
      if (outcome.type === 'stored') {
        if (refused === undefined || !isBefore(this.#contested, refused)) continue
        this.#failOvertaken(refused, sent)
        return
      }
      reason ??= reasonOf(sent, outcome)
      if (isUnknown(outcome)) this.#unknown = true
      else refused ??= sent
      if (outcome.type === 'wrong-last-sequence') this.#window.narrow()
    }
    if (this.#unknown && last !== undefined && isBefore(this.#contested, last)) {
      this.#contested = { epoch: last.epoch, index: last.index }
    }
    this.#inFlight = []
    this.#inFlightBytes = 0
    invariant(reason !== undefined, 'S3', 'a window was given up though all of it was stored')
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
    const head = this.#chain.head
    const isAll = head === undefined || head.epoch > this.#completed
    const upTo = isAll ? this.#completed : Math.max(this.#restoredEpoch, this.#chain.finished)
    if (upTo <= this.#committed) return
    this.#committed = upTo
    this.#effects.push({ type: 'committed', epoch: upTo })
  }

  #failLost(fact: string): void {
    const { published } = this.#chain
    const last = published === undefined ? 'ours' : show(published)
    const known = `${last} was published up to ${this.#baseSequence}`
    this.#fail('lost', `the stream lost stored messages: ${fact}, and ${known}`, {
      next: 'Bring the lost messages back, or start a new job on another subject.',
    })
  }

  /** Nothing proves which of the records left were published (S8). */
  #failUnprovable(fact: string): void {
    const { sequence, published } = this.snapshot().base
    const known = published === undefined ? 'none of ours' : show(published)
    const base = `at sequence ${sequence} it had ${known}, ${this.#chain.records} records may or may not have followed`
    this.#fail('lost', `the history needed to go on is gone: ${fact}; ${base}`, {
      next: 'Keep messages of the subject for longer than any outage lasts; start a new job to go on.',
    })
  }

  #failOvertaken(refused: Sent, stored: Sent): void {
    const order = `${show(refused)} was refused, like all before ${show(stored)}, which was stored`
    // Not to be restored: the last message would then say that those before it are published.
    this.#fail('lost', `somebody else writes on its subject: ${order}`, {
      next: `Publish what was refused by hand, and keep everybody else off the subject.`,
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
