/**
 * The exactly-once output of one subtask onto one subject: performs what `TransactionalOutput` decides.
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
import type { Epoch, Generation } from '../lib/protocol/ids.js'
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
  readonly mode: 'transactional' | 'direct'
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
  readonly onFailed: (error: StreamError) => void
}

/** Finds or makes the output's stream and checks that exactly-once is possible on it. */
export const openOutput = async (
  options: OpenOutput,
  ports: OutputPorts,
  host: OutputHost,
): Promise<E.Either<StreamError, Output>> => {
  const stream = await findStream(options, ports.log)
  if (E.isLeft(stream)) return stream
  const restored =
    options.restored === undefined
      ? E.right(undefined)
      : decodePrepared(options.restored, options.subject)
  if (E.isLeft(restored)) return restored
  const machineOptions = {
    ...options.identity,
    generation: options.generation,
    subject: options.subject,
    mode: options.mode,
    exclusive: isExclusive(stream.right, options.subject),
  }
  const machine =
    restored.right === undefined
      ? TransactionalOutput.start(machineOptions)
      : TransactionalOutput.restore(machineOptions, restored.right)
  return E.right(new Output(options, stream.right.name, machine, ports, host))
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
  }),
  /** Absent in what older versions stored. */
  subject: t.union([t.undefined, t.string]),
})
const FirstIndex = t.type({ firstIndex: t.number })

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

/** One output at work. */
export class Output {
  readonly id: string
  private recovered = false
  private disposed = false
  private performing = false

  constructor(
    private readonly options: OpenOutput,
    private readonly stream: string,
    private readonly machine: TransactionalOutput,
    private readonly ports: OutputPorts,
    private readonly host: OutputHost,
  ) {
    this.id = options.id
  }

  /** Begins to find out what is published already, and publishes the rest of what was restored. */
  start(): void {
    this.perform()
  }

  get isRecovered(): boolean {
    return this.recovered
  }

  get pendingBytes(): number {
    return this.machine.pendingBytes
  }

  /** Without checkpoints nothing waits for one: all is committed once all is published. */
  get committedUpTo(): Epoch {
    if (this.options.mode === 'transactional') return this.machine.committedUpTo
    return this.machine.pendingRecords === 0 ? Number.POSITIVE_INFINITY : 0
  }

  add(payload: Uint8Array): void {
    this.machine.add(payload)
    if (this.options.mode === 'direct') this.perform()
  }

  /** Closes the epoch; nothing to do without checkpoints. */
  prepare(epoch: Epoch): void {
    if (this.options.mode === 'transactional') this.machine.prepare(epoch)
  }

  snapshot(): readonly PreparedOutput[] {
    return encodePrepared(this.machine.snapshot(), this.options.subject)
  }

  completed(epoch: Epoch): void {
    if (this.options.mode === 'transactional') this.machine.completed(epoch)
    this.perform()
  }

  tick(now: number): void {
    this.machine.tick(now)
    this.perform()
  }

  dispose(): void {
    this.disposed = true
  }

  private perform(): void {
    if (this.performing) return
    this.performing = true
    for (
      let effects = this.machine.takeEffects();
      effects.length > 0;
      effects = this.machine.takeEffects()
    ) {
      for (const effect of effects) if (!this.disposed) this.one(effect)
    }
    this.performing = false
  }

  private one(effect: OutputEffect): void {
    switch (effect.type) {
      case 'publish': {
        const { token, payload, headers, expectedLastSubjectSequence } = effect
        this.ports.log.publish(
          this.options.subject,
          payload,
          { headers, expectedLastSubjectSequence },
          outcome => {
            this.answer(() => this.machine.outcome(token, outcome, this.ports.scheduler.now()))
          },
        )
        return
      }
      case 'read-last':
        void this.readLast().then(last =>
          this.answer(() => this.machine.lastRead(last, this.ports.scheduler.now())),
        )
        return
      case 'scan-back':
        void this.scan(effect.after).then(scanned =>
          this.answer(() => this.machine.scanned(scanned, this.ports.scheduler.now())),
        )
        return
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

  /** Reads headers on our subject up to its last message; there are few, except where strangers write. */
  private async scan(after: number): Promise<Scanned> {
    const { log } = this.ports
    const { subject } = this.options
    const last = await log.last(this.stream, subject)()
    if (E.isLeft(last)) return { type: 'failed', error: last.left }
    const until = last.right?.sequence ?? 0
    const found = until > after ? await this.lastOfOurs(after, until) : E.right(undefined)
    if (E.isLeft(found)) return { type: 'failed', error: found.left }
    if (found.right !== undefined) return { type: 'found', ...found.right }
    const facts = await log.facts(this.stream)()
    if (E.isLeft(facts)) return { type: 'failed', error: facts.left }
    return { type: 'none', firstSequence: facts.right.firstSequence }
  }

  private lastOfOurs(
    after: number,
    until: number,
  ): Promise<
    E.Either<StreamError, { readonly sequence: number; readonly ours: Stamp } | undefined>
  > {
    const { log, scheduler } = this.ports
    const { subject, identity } = this.options
    return new Promise(resolve => {
      let found: { readonly sequence: number; readonly ours: Stamp } | undefined
      const end = (result: E.Either<StreamError, typeof found>): void => {
        cancel()
        reader.close()
        resolve(result)
      }
      const cancel = scheduler.after(scanTimeoutMs, () =>
        end(
          E.left(
            streamError(
              'timed-out',
              `scanning '${subject}' from ${after} to ${until} took too long`,
            ),
          ),
        ),
      )
      const onMessage = ({ sequence, headers }: LogMessage): void => {
        const ours = stampOf(headers, identity)
        if (ours !== undefined) found = { sequence, ours }
        if (sequence >= until) end(E.right(found))
      }
      const reader = log.read({
        stream: this.stream,
        subject,
        start: { at: 'sequence', sequence: after + 1 },
        headersOnly: true,
        messagesMax: 1024,
        bytesMax: 4 * 1024 * 1024,
        onMessage,
        onFailed: error => end(E.left(error)),
      })
    })
  }
}

const scanTimeoutMs = 30_000
