/**
 * The exactly-once output of one subtask onto one subject: performs what `TransactionalOutput`, or
 * `IdempotentOutput`, decides.
 *
 * Every effect is answered, also by failure; the machine owns all retries.
 */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { messageOf, type StreamError, streamError } from '../lib/errors.js'
import type { EventLog, LogMessage, StreamFacts } from '../lib/ports/event-log.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import {
  type LastRead,
  type OutputEffect,
  type OutputIdentity,
  type OutputSnapshot,
  type Scanned,
  type Stamp,
  stampOf,
  TransactionalOutput,
} from '../lib/protocol/commit.js'
import {
  type IdempotentEffect,
  IdempotentOutput,
  type IdempotentSnapshot,
  type ReadBack,
  type ReadSince,
} from '../lib/protocol/idempotent.js'
import type { Epoch, Generation } from '../lib/protocol/ids.js'
import { crc32 } from '../lib/state/crc32.js'
import type { PreparedOutput } from '../lib/state/snapshot.js'

/** What an output needs of the world. */
export interface OutputPorts {
  readonly log: EventLog
  readonly scheduler: Scheduler
}

/** What an output is, where it publishes, and what it restores. */
export interface OpenOutput {
  /** Id under which the snapshot keeps it. */
  readonly id: string
  readonly identity: OutputIdentity
  readonly subject: string
  /** The stream that captures the subject, if the user named one. */
  readonly stream: string | undefined
  /** What to make when no stream captures the subject. */
  readonly create: { readonly name: string; readonly subjects: readonly string[] }
  readonly generation: Generation
  readonly mode: 'transactional' | 'idempotent' | 'direct'
  /** People take single messages out once they have dealt with them. */
  readonly mayBeCleared: boolean
  /** With more than that waiting to be published, the subtask fails. */
  readonly pendingBytesMax: number
  readonly restored:
    | {
        readonly epoch: Epoch
        readonly prepared: readonly PreparedOutput[]
        /** It was another job's, which may have published on another subject. */
        readonly isCopy: boolean
      }
    | undefined
}

/** Whom an output tells. */
export interface OutputHost {
  /** Everything restored is published: new records may flow. */
  readonly onRecovered: () => void
  readonly onCommitted: () => void
  /** More waits to be published than is good, or no longer. */
  readonly onFull: (full: boolean) => void
  readonly onFailed: (error: StreamError) => void
}

/** Finds or makes the output's stream and checks that exactly-once is possible on it. */
export const openOutput = async (
  wanted: OpenOutput,
  ports: OutputPorts,
  host: OutputHost,
): Promise<E.Either<StreamError, Output>> => {
  const options = withPredecessors(wanted)
  const stream = await findStream(options, ports.log)
  if (E.isLeft(stream)) return stream
  const exclusive = isExclusive(stream.right, options.subject)
  const machine =
    options.mode === 'idempotent'
      ? idempotentOf(options, exclusive)
      : transactionalOf(options, exclusive, options.mode)
  if (E.isLeft(machine)) return machine
  return E.right(new Output(options, stream.right.name, machine.right, ports, host))
}

/**
 * The output as one that another job has begun, if that job's records are on the subject and have not all
 * come again yet: a checkpoint of our own names it then.
 */
const withPredecessors = (options: OpenOutput): OpenOutput => {
  const { identity, restored, subject } = options
  const meta = Chained.decode(restored?.prepared[0]?.meta)
  if (restored === undefined || E.isLeft(meta) || meta.right.subject !== subject) return options
  const { jobs = [] } = meta.right
  if (jobs.length === 0) return options
  const before = { epoch: restored.epoch, jobs: [...(identity.before?.jobs ?? []), ...jobs] }
  return { ...options, identity: { ...identity, before } }
}

/** What decides, and how its snapshot is kept. */
type Machine =
  | { readonly kind: 'transactional'; readonly of: TransactionalOutput }
  | { readonly kind: 'idempotent'; readonly of: IdempotentOutput }

/** The checkpoint is one of a sink that published in another way. */
const otherDelivery = (id: string, is: string, was: string): StreamError =>
  streamError(
    'conflict',
    `sink '${id}' has delivery '${is}' now; the checkpoint holds output of one with delivery '${was}'`,
    {
      next: `Give the sink delivery: '${was}' again; or, to give up the state and start from nothing, run the job with --fresh.`,
    },
  )

const transactionalOf = (
  { restored: kept, subject, ...options }: OpenOutput,
  exclusive: boolean,
  mode: 'transactional' | 'direct',
): E.Either<StreamError, Machine> => {
  if (E.isRight(Chained.decode(kept?.prepared[0]?.meta)))
    return E.left(otherDelivery(options.id, 'transactional', 'idempotent'))
  const restored = kept === undefined ? E.right(undefined) : decodePrepared(kept, subject)
  if (E.isLeft(restored)) return restored
  const { generation, identity } = options
  const mayBeCleared = options.mayBeCleared || mode === 'direct'
  const machineOptions = { ...identity, generation, subject, mode, exclusive, mayBeCleared }
  const of =
    restored.right === undefined
      ? TransactionalOutput.start(machineOptions)
      : TransactionalOutput.restore(machineOptions, restored.right)
  return E.right({ kind: 'transactional', of })
}

const idempotentOf = (
  { id, restored: kept, subject, generation, identity }: OpenOutput,
  exclusive: boolean,
): E.Either<StreamError, Machine> => {
  const options = { ...identity, generation, subject, exclusive, checksum: crc32 }
  const head = kept?.prepared[0]
  // An output that the job did not have when the checkpoint was taken starts with nothing.
  if (kept === undefined || head === undefined)
    return E.right({ kind: 'idempotent', of: IdempotentOutput.start(options) })
  if (E.isRight(Base.decode(head.meta)))
    return E.left(otherDelivery(id, 'idempotent', 'transactional'))
  const meta = Chained.decode(head.meta)
  if (E.isLeft(meta))
    return E.left(streamError('corrupt', "a snapshot's published output has no numbers"))
  const { chained, subject: was } = meta.right
  const restored = {
    ...chained,
    records: head.records,
    restoredEpoch: kept.epoch,
    isElsewhere: kept.isCopy && was !== subject,
  }
  return E.right({ kind: 'idempotent', of: IdempotentOutput.restore(options, restored) })
}

const isExclusive = (facts: StreamFacts, subject: string): boolean =>
  facts.subjects.length === 1 && facts.subjects[0] === subject

const findStream = async (
  { id, subject, stream, create }: OpenOutput,
  log: EventLog,
): Promise<E.Either<StreamError, StreamFacts>> => {
  const captured = await log.streamOf(subject)()
  if (E.isLeft(captured)) return captured
  const name = captured.right
  if (name === undefined)
    return log.create({ ...create, name: stream ?? create.name, storage: 'file' })()
  if (stream !== undefined && stream !== name) {
    return E.left(
      streamError(
        'conflict',
        `sink '${id}' names stream '${stream}', but subject '${subject}' is captured by '${name}'`,
        {
          next: `Name '${name}' in the sink, or choose another subject.`,
        },
      ),
    )
  }
  const facts = await log.facts(name)()
  if (E.isLeft(facts) || facts.right.retention === 'limits') return facts
  return E.left(
    streamError(
      'conflict',
      `sink '${id}' cannot be exactly-once on stream '${name}': its retention is '${facts.right.retention}', which forgets what was published as soon as it is read`,
      { next: "Use a stream with retention 'limits', and let the other stream source from it." },
    ),
  )
}

const Base = t.type({
  base: t.type({
    sequence: t.number,
    published: t.union([t.undefined, t.type({ epoch: t.number, index: t.number })]),
    /** Absent in what older versions stored. */
    own: t.union([t.undefined, t.number]),
  }),
  /** Absent in what older versions stored. */
  subject: t.union([t.undefined, t.string]),
})
const FirstIndex = t.type({ firstIndex: t.number })

const Chained = t.type({
  chained: t.type({
    base: t.type({
      sequence: t.number,
      published: t.number,
      own: t.union([t.undefined, t.number]),
    }),
    next: t.number,
    since: t.number,
  }),
  subject: t.string,
  /** The jobs that have published what is still to come again. */
  jobs: t.union([t.undefined, t.readonlyArray(t.string)]),
})

const encodeChained = (
  { records, ...chained }: IdempotentSnapshot,
  { subject, identity }: OpenOutput,
): readonly PreparedOutput[] => {
  const isCaughtUp = chained.next >= chained.base.published
  const jobs = isCaughtUp ? undefined : identity.before?.jobs
  return [{ epoch: 0, records, meta: { chained, subject, jobs } }]
}

/** A snapshot holds the base as an entry of epoch 0, which no transaction has. */
const encodePrepared = (
  { base, transactions }: OutputSnapshot,
  subject: string,
): readonly PreparedOutput[] => [
  { epoch: 0, records: [], meta: { base, subject } },
  ...transactions.map(({ epoch, firstIndex, records }) => ({
    epoch,
    records,
    meta: { firstIndex },
  })),
]

const nothingPublished = { sequence: 0, published: undefined }

const decodePrepared = (
  restored: NonNullable<OpenOutput['restored']>,
  subject: string,
): E.Either<StreamError, OutputSnapshot & { readonly restoredEpoch: Epoch }> => {
  const [head, ...rest] = restored.prepared
  // An output that the job did not have when the checkpoint was taken starts with nothing.
  if (head === undefined) {
    return E.right({
      base: nothingPublished,
      transactions: [],
      restoredEpoch: restored.epoch,
    })
  }
  const base = Base.decode(head.meta)
  if (E.isLeft(base))
    return E.left(streamError('corrupt', "a snapshot's prepared output has no base"))
  const transactions = []
  for (const { epoch, records, meta } of rest) {
    const index = FirstIndex.decode(meta)
    if (E.isLeft(index))
      return E.left(streamError('corrupt', `prepared output of epoch ${epoch} has no index`))
    transactions.push({ epoch, records, firstIndex: index.right.firstIndex })
  }
  // What another job knows of its own subject says nothing of ours.
  const was = base.right.subject ?? subject
  const isElsewhere = restored.isCopy && was !== subject
  return E.right({
    base: isElsewhere ? nothingPublished : base.right.base,
    transactions,
    restoredEpoch: restored.epoch,
  })
}

/** Bytes that wait to be published at once, above which the subtask is to wait, however many are allowed. */
const fullBytesMax = 4 * 1024 * 1024

/** One output at work. */
export class Output {
  readonly id: string
  private recovered = false
  private disposed = false
  private performing = false
  private full = false
  /** Above the first the subtask is to wait, below the second to go on. */
  private readonly fullBytes: number
  private readonly roomBytes: number

  constructor(
    private readonly options: OpenOutput,
    private readonly stream: string,
    private readonly machine: Machine,
    private readonly ports: OutputPorts,
    private readonly host: OutputHost,
  ) {
    this.id = options.id
    this.fullBytes = Math.min(fullBytesMax, options.pendingBytesMax / 2)
    this.roomBytes = this.fullBytes / 4
  }

  /** Begins to find out what is published already, and publishes the rest of what was restored. */
  start(): void {
    this.perform()
  }

  get isRecovered(): boolean {
    return this.recovered
  }

  get pendingBytes(): number {
    return this.machine.of.pendingBytes
  }

  /** Without checkpoints nothing waits for one: all is committed once all is published. */
  get committedUpTo(): Epoch {
    if (this.options.mode !== 'direct') return this.machine.of.committedUpTo
    return this.machine.of.pendingRecords === 0 ? Number.POSITIVE_INFINITY : 0
  }

  add(payload: Uint8Array): void {
    this.machine.of.add(payload)
    if (this.options.mode !== 'transactional') this.perform()
  }

  /** Closes the epoch, and if it is `final` the output; nothing to do without checkpoints. */
  prepare(epoch: Epoch, final: boolean): void {
    const { machine } = this
    if (machine.kind === 'idempotent') {
      machine.of.prepare(epoch, final)
      this.perform()
    } else if (this.options.mode !== 'direct') machine.of.prepare(epoch)
  }

  snapshot(): readonly PreparedOutput[] {
    const { machine } = this
    return machine.kind === 'transactional'
      ? encodePrepared(machine.of.snapshot(), this.options.subject)
      : encodeChained(machine.of.snapshot(), this.options)
  }

  completed(epoch: Epoch): void {
    if (this.options.mode !== 'direct') this.machine.of.completed(epoch)
    this.perform()
  }

  tick(now: number): void {
    this.machine.of.tick(now)
    this.perform()
  }

  dispose(): void {
    this.disposed = true
  }

  private perform(): void {
    if (this.performing) return
    this.performing = true
    for (
      let effects = this.machine.of.takeEffects();
      effects.length > 0;
      effects = this.machine.of.takeEffects()
    ) {
      for (const effect of effects) if (!this.disposed) this.one(effect)
    }
    this.performing = false
    if (this.options.mode === 'idempotent') this.noteRoom()
  }

  /** What is published at once is held up by nothing but the server: a subtask that is faster waits for it. */
  private noteRoom(): void {
    const { machine } = this
    // What waits for a barrier must not hold it up.
    if (machine.kind === 'idempotent' && machine.of.isHeld) return
    const full = this.pendingBytes > (this.full ? this.roomBytes : this.fullBytes)
    if (full === this.full || this.disposed) return
    this.full = full
    this.host.onFull(full)
  }

  private one(effect: OutputEffect | IdempotentEffect): void {
    switch (effect.type) {
      case 'publish': {
        const { token, payload, headers, expectedLastSubjectSequence } = effect
        this.ports.log.publish(
          this.options.subject,
          payload,
          { headers, expectedLastSubjectSequence },
          outcome => {
            this.answer(() => this.machine.of.outcome(token, outcome, this.ports.scheduler.now()))
          },
        )
        return
      }
      case 'read-last':
        void this.readLast().then(last =>
          this.answer(() => this.machine.of.lastRead(last, this.ports.scheduler.now())),
        )
        return
      case 'scan-back': {
        const { machine } = this
        if (machine.kind === 'transactional')
          void this.scan(effect.after).then(scanned =>
            this.answer(() => machine.of.scanned(scanned, this.ports.scheduler.now())),
          )
        return
      }
      case 'read-since': {
        const { machine } = this
        if (machine.kind === 'idempotent')
          void this.readSince(effect.after, effect.until).then(read =>
            this.answer(() => machine.of.readSince(read, this.ports.scheduler.now())),
          )
        return
      }
      case 'recovered':
        this.recovered = true
        this.host.onRecovered()
        return
      case 'committed':
        this.host.onCommitted()
        return
      case 'fenced':
        this.host.onFailed(
          streamError(
            'fenced',
            `generation ${effect.generation} publishes on '${this.options.subject}' now: this process is a leftover of an older one`,
          ),
        )
        return
      case 'failed':
        this.host.onFailed(effect.error)
        return
    }
  }

  /** Feeds the machine from a callback of the log, where nothing may be thrown. */
  private answer(feed: () => void): void {
    if (this.disposed) return
    try {
      feed()
      this.perform()
    } catch (thrown) {
      this.host.onFailed(streamError('invalid', messageOf(thrown), { cause: thrown }))
    }
  }

  private async readLast(): Promise<LastRead> {
    const { log } = this.ports
    const { subject, identity } = this.options
    const last = await log.last(this.stream, subject)()
    if (E.isLeft(last)) return { type: 'failed', error: last.left }
    if (last.right !== undefined) {
      const { sequence, headers } = last.right
      return { type: 'found', sequence, ours: stampOf(headers, identity) }
    }
    const facts = await log.facts(this.stream)()
    if (E.isLeft(facts)) return { type: 'failed', error: facts.left }
    const { firstSequence, lastSequence } = facts.right
    return { type: 'empty', firstSequence, lastSequence }
  }

  private async readSince(after: number, until: number): Promise<ReadSince> {
    const messages: ReadBack[] = []
    const read = await this.readOurs(after, until, false, (stamp, { payload }) =>
      messages.push({ stamp, checksum: crc32(payload) }),
    )
    if (E.isLeft(read)) return { type: 'failed', error: read.left }
    const facts = await this.ports.log.facts(this.stream)()
    if (E.isLeft(facts)) return { type: 'failed', error: facts.left }
    return { type: 'read', messages, firstSequence: facts.right.firstSequence }
  }

  /** Reads headers on our subject up to its last message; there are few, except where strangers write. */
  private async scan(after: number): Promise<Scanned> {
    const { log } = this.ports
    const { subject } = this.options
    const last = await log.last(this.stream, subject)()
    if (E.isLeft(last)) return { type: 'failed', error: last.left }
    const until = last.right?.sequence ?? 0
    let found: { readonly sequence: number; readonly ours: Stamp } | undefined
    const read = await this.readOurs(after, until, true, (ours, { sequence }) => {
      found = { sequence, ours }
    })
    if (E.isLeft(read)) return { type: 'failed', error: read.left }
    if (found !== undefined) return { type: 'found', ...found }
    const facts = await log.facts(this.stream)()
    if (E.isLeft(facts)) return { type: 'failed', error: facts.left }
    return { type: 'none', firstSequence: facts.right.firstSequence }
  }

  /** Reads our messages on the subject from behind one sequence up to another, where there is a message. */
  private readOurs(
    after: number,
    until: number,
    headersOnly: boolean,
    onOurs: (stamp: Stamp, message: LogMessage) => void,
  ): Promise<E.Either<StreamError, void>> {
    const { log, scheduler } = this.ports
    const { subject, identity } = this.options
    if (until <= after) return Promise.resolve(E.right(undefined))
    return new Promise(resolve => {
      const end = (result: E.Either<StreamError, void>): void => {
        cancel()
        reader.close()
        resolve(result)
      }
      let at = after
      let before = Number.NaN
      // What was to come last may be gone by now.
      const watch = (): void => {
        const standsStill = `reading '${subject}' from ${after} to ${until} stands still at ${at}`
        if (at === before) end(E.left(streamError('timed-out', standsStill)))
        else cancel = scheduler.after(standstillMs, watch)
        before = at
      }
      let cancel = scheduler.after(standstillMs, watch)
      const onMessage = (message: LogMessage): void => {
        at = message.sequence
        const ours = stampOf(message.headers, identity)
        if (ours !== undefined && message.sequence <= until) onOurs(ours, message)
        if (message.sequence >= until) end(E.right(undefined))
      }
      const reader = log.read({
        stream: this.stream,
        subject,
        start: { at: 'sequence', sequence: after + 1 },
        headersOnly,
        messagesMax: 1024,
        bytesMax: 4 * 1024 * 1024,
        onMessage,
        onFailed: error => end(E.left(error)),
      })
    })
  }
}

/** Two of them without a message are too long. */
const standstillMs = 3_000
