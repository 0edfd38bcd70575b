/** One stream of a JetStream server in memory. */
import { streamError } from '../../lib/errors.js'
import type {
  LogMessage,
  PublishOptions,
  PublishOutcome,
  StreamConfig,
  StreamFacts,
} from '../../lib/ports/event-log.js'
import { Pattern } from './memory-subjects.js'
import type { VirtualTime } from './memory-time.js'

/** What a message takes besides its payload. */
const overheadBytes = 40

/** Fewer forgotten entries than this in front of an array are left there. */
const slackMax = 1_024

interface Stored {
  readonly message: LogMessage
  readonly storedAt: number
  readonly bytes: number
}

/** Where the messages of one subject are: ascending, those deleted in between included. */
interface SubjectIndex {
  sequences: number[]
  head: number
  live: number
}

export class MemoryStream {
  /** By sequence, from `#base` on. */
  #log: (Stored | undefined)[] = []
  #base = 1
  #first = 0
  #last = 0
  #messages = 0
  #bytes = 0
  readonly #subjects = new Map<string, SubjectIndex>()
  readonly #filters = new Map<string, Pattern>()
  readonly #takes: readonly Pattern[]
  /** Called whenever something changed. */
  readonly watchers = new Set<() => void>()

  constructor(
    readonly config: StreamConfig,
    readonly createdAt: string,
    private readonly time: VirtualTime,
  ) {
    this.#takes = config.subjects.map(subject => new Pattern(subject))
  }

  get facts(): StreamFacts {
    return {
      name: this.config.name,
      subjects: [...this.config.subjects],
      createdAt: this.createdAt,
      firstSequence: this.#first,
      lastSequence: this.#last,
      messages: this.#messages,
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
    return this.#takes.some(pattern => pattern.overlaps(subject))
  }

  at(sequence: number): LogMessage | undefined {
    return this.#log[sequence - this.#base]?.message
  }

  last(subject: string): LogMessage | undefined {
    const filter = this.#filter(subject)
    if (filter.isLiteral) return this.#lastOf(this.#subjects.get(subject))
    let last: LogMessage | undefined
    for (const [name, index] of this.#subjects) {
      const message = filter.overlaps(name) ? this.#lastOf(index) : undefined
      if (message !== undefined && message.sequence > (last?.sequence ?? 0)) last = message
    }
    return last
  }

  /** First sequence that was stored at a time (ms since 1970) or later. */
  sequenceAt(time: number): number {
    for (const stored of this.#log) {
      if (stored !== undefined && stored.storedAt >= time) return stored.message.sequence
    }
    return this.#last + 1
  }

  /** The first message from a sequence on that a filter lets through. */
  next(from: number, subject: string | undefined): LogMessage | undefined {
    const filter = subject === undefined ? undefined : this.#filter(subject)
    if (filter?.isLiteral === true) return this.#nextOf(this.#subjects.get(filter.subject), from)
    for (let sequence = Math.max(from, this.#first); sequence <= this.#last; sequence += 1) {
      const message = this.at(sequence)
      if (message === undefined) continue
      if (filter === undefined || filter.overlaps(message.subject)) return message
    }
    return undefined
  }

  /**
   * The payload is kept as it is: whoever publishes copies it before it travels. Who writes with a
   * wrong expectation is told so even by a server without space.
   */
  store(
    subject: string,
    payload: Uint8Array,
    options: PublishOptions,
    hasSpace = true,
  ): PublishOutcome {
    const { expectedLastSubjectSequence: expected, headers } = options
    if (expected !== undefined) {
      const actual = this.last(subject)?.sequence ?? 0
      if (expected !== actual) return { type: 'wrong-last-sequence', actual }
    }
    const bytes = payload.byteLength + subject.length + overheadBytes
    const { bytesMax, messagesPerSubjectMax } = this.config
    if (!hasSpace) return full(`could not publish to ${subject}: insufficient resources`)
    if (bytesMax !== undefined && this.#bytes + bytes > bytesMax)
      return full(`stream ${this.config.name} is full: maximum bytes exceeded`)
    this.#last += 1
    const sequence = this.#last
    if (this.#messages === 0) this.#first = sequence
    const message = { sequence, subject, payload, headers }
    this.#log[sequence - this.#base] = { message, storedAt: this.time.wallClock, bytes }
    this.#messages += 1
    this.#bytes += bytes
    const index = this.#indexOf(subject)
    index.sequences.push(sequence)
    index.live += 1
    if (messagesPerSubjectMax !== undefined) {
      while (index.live > messagesPerSubjectMax) this.delete(this.#nextOf(index, 0)?.sequence ?? 0)
    }
    this.#changed()
    return { type: 'stored', sequence }
  }

  /** Removes one message, as an operator of the server may. */
  delete(sequence: number): void {
    const stored = this.#log[sequence - this.#base]
    if (stored === undefined) return
    this.#log[sequence - this.#base] = undefined
    this.#messages -= 1
    this.#bytes -= stored.bytes
    this.#unindex(stored.message)
    if (sequence === this.#first) this.#advance()
  }

  purge(below: number): void {
    const end = Math.min(below, this.#last + 1)
    while (this.#messages > 0 && this.#first < end) this.delete(this.#first)
    if (this.#messages === 0 && below > this.#first) this.#first = this.#last + 1
  }

  /** Forgets the newest messages, as a server does that lost its unsynced writes. */
  loseTail(above: number): void {
    for (let sequence = this.#last; sequence > above && sequence >= this.#base; sequence -= 1)
      this.delete(sequence)
    this.#last = Math.min(this.#last, above)
    // The sequences will be used again, perhaps by other subjects.
    for (const { sequences } of this.#subjects.values())
      while ((sequences.at(-1) ?? 0) > this.#last) sequences.pop()
    if (this.#messages === 0) {
      this.#log = []
      this.#base = this.#last + 1
      this.#first = this.#base
    } else this.#log.length = this.#last - this.#base + 1
    this.#changed()
  }

  #filter(subject: string): Pattern {
    let filter = this.#filters.get(subject)
    if (filter === undefined) {
      filter = new Pattern(subject)
      this.#filters.set(subject, filter)
    }
    return filter
  }

  #indexOf(subject: string): SubjectIndex {
    let index = this.#subjects.get(subject)
    if (index === undefined) {
      index = { sequences: [], head: 0, live: 0 }
      this.#subjects.set(subject, index)
    }
    return index
  }

  #lastOf(index: SubjectIndex | undefined): LogMessage | undefined {
    const sequences = index?.sequences ?? []
    for (;;) {
      const sequence = sequences.at(-1)
      const message = sequence === undefined ? undefined : this.at(sequence)
      if (message !== undefined || sequence === undefined) return message
      sequences.pop()
    }
  }

  #nextOf(index: SubjectIndex | undefined, from: number): LogMessage | undefined {
    if (index === undefined) return undefined
    const { sequences } = index
    let low = index.head
    for (let high = sequences.length; low < high; ) {
      const middle = (low + high) >> 1
      if ((sequences[middle] ?? 0) < from) low = middle + 1
      else high = middle
    }
    for (; low < sequences.length; low += 1) {
      const message = this.at(sequences[low] ?? 0)
      if (message !== undefined) return message
    }
    return undefined
  }

  #unindex({ subject, sequence }: LogMessage): void {
    const index = this.#indexOf(subject)
    index.live -= 1
    if (index.live === 0) this.#subjects.delete(subject)
    else if (index.sequences[index.head] === sequence) {
      while (this.at(index.sequences[index.head] ?? 0) === undefined) index.head += 1
      if (index.head > slackMax && index.head * 2 > index.sequences.length) {
        index.sequences = index.sequences.slice(index.head)
        index.head = 0
      }
    }
  }

  /** The first message is gone: finds the next one, and forgets what is far behind it. */
  #advance(): void {
    if (this.#messages === 0) this.#first = this.#last + 1
    else while (this.at(this.#first) === undefined) this.#first += 1
    const gone = this.#first - this.#base
    if (gone <= slackMax || gone * 2 <= this.#log.length) return
    this.#log = this.#log.slice(gone)
    this.#base = this.#first
  }

  #changed(): void {
    for (const watcher of [...this.watchers]) watcher()
  }
}

const full = (message: string): PublishOutcome => ({
  type: 'failed',
  error: streamError('full', message),
})
