/**
 * An output against a model server and a model job, for its tests. The judge is in `Server.write`: it notes
 * every record that is stored twice, out of order, or before it may be published.
 */
import type { ExecutionContext } from 'ava'
import { streamError } from '../../lib/errors.js'
import {
  type LastRead,
  type OutputEffect,
  type OutputLimits,
  type OutputSnapshot,
  type PublishOutcome,
  type Scanned,
  type Stamp,
  stampOf,
  TransactionalOutput,
} from '../../lib/protocol/commit.js'
import {
  type IdempotentEffect,
  IdempotentOutput,
  type IdempotentSnapshot,
  type ReadSince,
} from '../../lib/protocol/idempotent.js'

type Effect = OutputEffect | IdempotentEffect
type Publish = Extract<OutputEffect, { type: 'publish' }>
type Ask = Extract<Effect, { type: 'read-last' | 'scan-back' | 'read-since' }>
type Snapshot =
  | { readonly kind: 'transactional'; readonly of: OutputSnapshot }
  | { readonly kind: 'idempotent'; readonly of: IdempotentSnapshot }

/** Whose output it is in all of these worlds. */
export const identity = { job: 'job-1', sink: 'out', subtask: 0 }
/** A record of some text. */
export const encode = (text: string | number): Uint8Array => new TextEncoder().encode(String(text))
/** The text of a record. */
export const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
/** No answer came. */
export const timedOut = streamError('timed-out', 'no answer')

/** Runs `run` once for every sequence of choices it can make; answers how many there were. */
const exhaust = (run: (choose: (n: number) => number) => void): number => {
  const path: { value: number; of: number }[] = []
  for (let runs = 1; ; runs += 1) {
    let depth = 0
    run(of => {
      const at = path[depth] ?? { value: 0, of }
      path[depth] = at
      depth += 1
      return at.value
    })
    let last = path.at(-1)
    if (runs > 100_000) throw new Error('the world is too large')
    while (last !== undefined && last.value + 1 >= last.of) {
      path.pop()
      last = path.at(-1)
    }
    if (last === undefined) return runs
    last.value += 1
  }
}

/** Seeded random numbers in [0, 1) (mulberry32). */
const prng = (seed: number) => {
  let a = seed >>> 0
  return (): number => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), a | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Stored {
  readonly sequence: number
  readonly text: string
  readonly stamp: Stamp | undefined
}

/** One stream with our subject and others. `log` is all that our subject ever held of ours. */
class Server {
  sequence = 0
  firstSequence = 1
  subject: Stored[] = []
  readonly log: string[] = []
  /** What must never have been stored. */
  readonly wrongs: string[] = []
  /** Records that completed checkpoints cover: no other may be here. */
  committed = 0

  other(): void {
    this.sequence += 1
  }

  foreign(): void {
    this.sequence += 1
    this.subject.push({ sequence: this.sequence, text: 'foreign', stamp: undefined })
  }

  write(message: Publish): PublishOutcome {
    const actual = this.subject.at(-1)?.sequence ?? 0
    if (message.expectedLastSubjectSequence !== actual) {
      return { type: 'wrong-last-sequence', actual }
    }
    const text = decode(message.payload)
    const stamp = stampOf(message.headers, identity)
    this.sequence += 1
    this.subject.push({ sequence: this.sequence, text, stamp })
    if (text !== String(this.log.length)) this.wrongs.push(`${text} in place of ${this.log.length}`)
    if (this.log.length >= this.committed) this.wrongs.push(`${text} is not committed`)
    this.log.push(text)
    return { type: 'stored', sequence: this.sequence }
  }

  last(): LastRead {
    const last = this.subject.at(-1)
    return last === undefined
      ? { type: 'empty', firstSequence: this.firstSequence, lastSequence: this.sequence }
      : { type: 'found', sequence: last.sequence, ours: last.stamp }
  }

  scan(after: number): Scanned {
    for (const { sequence, stamp } of this.subject.toReversed()) {
      if (sequence > after && stamp !== undefined) return { type: 'found', sequence, ours: stamp }
    }
    return { type: 'none', firstSequence: this.firstSequence }
  }

  since(after: number, until: number): ReadSince {
    const messages = this.subject.flatMap(({ sequence, stamp, text }) =>
      sequence > after && sequence <= until && stamp !== undefined
        ? [{ stamp, checksum: checksumOf(encode(text)) }]
        : [],
    )
    return { type: 'read', messages, firstSequence: this.firstSequence }
  }

  /** Retention removes every message. */
  empty(): void {
    this.subject = []
    this.firstSequence = this.sequence + 1
  }
}

const checksumOf = (payload: Uint8Array): number => Number(decode(payload)) + 1

/** One incarnation of the sink subtask, with the network between it and the server. */
class Writer {
  readonly wire: Publish[] = []
  readonly asks: Ask[] = []
  readonly answers: { readonly token?: number; readonly give: () => void }[] = []
  readonly notes: number[] = []
  readonly seen: Effect[] = []

  constructor(
    readonly output: TransactionalOutput | IdempotentOutput,
    public position: number,
  ) {
    this.drain()
  }

  drain(): void {
    for (const effect of this.output.takeEffects()) {
      if (effect.type === 'publish') this.wire.push(effect)
      else if (
        effect.type === 'read-last' ||
        effect.type === 'scan-back' ||
        effect.type === 'read-since'
      )
        this.asks.push(effect)
      else this.seen.push(effect)
    }
  }

  has(type: Effect['type']): boolean {
    return this.seen.some(effect => effect.type === type)
  }

  get failure(): string {
    const failed = this.seen.find(effect => effect.type === 'failed')
    return failed?.type === 'failed' ? `${failed.error.type}: ${failed.error.message}` : ''
  }

  get closed(): boolean {
    return this.has('failed') || this.has('fenced')
  }
}

type Fault =
  | 'crash'
  | 'kill'
  | 'lose-ack'
  | 'disconnect'
  | 'foreign'
  | 'other'
  | 'abort'
  | 'lose-note'
  | 'empty'
  | 'delay'

/** What a world holds, and what may happen in it. */
export interface WorldOptions {
  /** Default transactional. */
  readonly kind?: 'transactional' | 'idempotent'
  readonly exclusive: boolean
  readonly records: number
  readonly perEpoch: number
  readonly limits?: Partial<OutputLimits>
  /** How often each fault may happen. `delay`: something else than the default goes first. */
  readonly faults: Partial<Record<Fault, number>>
}

type Action = readonly [name: string, run: () => void]

const isLocal = ([name]: Action): boolean => name !== 'wire' && name !== 'ask' && name !== 'stray'

/** A job with one sink: its inputs are the numbers from 0, and a restart replays them from its checkpoint. */
export class World {
  readonly server = new Server()
  readonly zombies: Writer[] = []
  /** Packets of broken connections that still arrive, without anybody to tell. */
  readonly strays: Publish[] = []
  current: Writer
  failures: string[] = []
  generation = 0
  now = 0
  #nextEpoch = 1
  #filled = 0
  #latest: { epoch: number; position: number; snapshot: Snapshot } | undefined
  #pending: { epoch: number; position: number; snapshot: Snapshot }[] = []
  readonly #left: Partial<Record<Fault, number>>

  constructor(readonly options: WorldOptions) {
    this.#left = { ...options.faults }
    this.current = this.restore()
  }

  get done(): boolean {
    return this.server.log.length === this.options.records
  }

  restore(): Writer {
    this.generation += 1
    this.#pending = []
    this.#filled = 0
    const { exclusive, limits = {}, kind } = this.options
    const common = {
      ...identity,
      generation: this.generation,
      subject: 'out',
      exclusive,
      limits: { windowRecordsMax: 3, holdsBeforeGrowth: 2, ...limits },
    }
    const latest = this.#latest
    const idempotent = { ...common, checksum: checksumOf }
    const transactional = { ...common, mode: 'transactional' } as const
    if (latest === undefined) {
      const first =
        kind === 'idempotent'
          ? IdempotentOutput.start(idempotent)
          : TransactionalOutput.start(transactional)
      return new Writer(first, 0)
    }
    const { epoch: restoredEpoch, position } = latest
    const snapshot = structuredClone(latest.snapshot)
    const output =
      snapshot.kind === 'idempotent'
        ? IdempotentOutput.restore(idempotent, {
            restoredEpoch,
            isElsewhere: false,
            ...snapshot.of,
          })
        : TransactionalOutput.restore(transactional, { restoredEpoch, ...snapshot.of })
    return new Writer(output, position)
  }

  /** What the network and the timers of one writer can do next. */
  moves(writer: Writer): Action[] {
    const { output } = writer
    const after = (run: () => void) => () => {
      run()
      writer.drain()
    }
    const actions: Action[] = []
    const [packet, ask, answer, note] = [
      writer.wire[0],
      writer.asks[0],
      writer.answers[0],
      writer.notes[0],
    ]
    if (packet !== undefined) {
      const run = () => {
        writer.wire.shift()
        const outcome = this.server.write(packet)
        const give = () => output.outcome(packet.token, outcome, this.now)
        writer.answers.push({ token: packet.token, give })
      }
      actions.push(['wire', run])
    }
    if (ask !== undefined) {
      const run = () => {
        writer.asks.shift()
        const give = this.#answer(output, ask)
        writer.answers.push({ give })
      }
      actions.push(['ask', run])
    }
    if (answer !== undefined) {
      actions.push(['answer', after(() => writer.answers.shift()?.give())])
    }
    if (note !== undefined) {
      actions.push(['note', after(() => output.completed(writer.notes.shift() ?? note))])
    }
    if (output.wakeAt !== undefined) {
      const run = () => {
        this.now = Math.max(this.now, output.wakeAt ?? 0)
        output.tick(this.now)
      }
      actions.push(['tick', after(run)])
    }
    return actions
  }

  /** What the server answers now, to be given later. */
  #answer(output: Writer['output'], ask: Ask): () => void {
    if (output instanceof TransactionalOutput && ask.type === 'scan-back') {
      const scanned = this.server.scan(ask.after)
      return () => output.scanned(scanned, this.now)
    }
    if (output instanceof IdempotentOutput && ask.type === 'read-since') {
      const read = this.server.since(ask.after, ask.until)
      return () => output.readSince(read, this.now)
    }
    const last = this.server.last()
    return () => output.lastRead(last, this.now)
  }

  /** What the job can do next. */
  job(): Action[] {
    const writer = this.current
    const actions: Action[] = []
    if (writer.position < this.options.records) actions.push(['record', () => this.#record(writer)])
    const pending = this.#pending[0]
    if (pending !== undefined) {
      const run = () => {
        this.#pending.shift()
        this.#latest = pending
        this.server.committed =
          this.options.kind === 'idempotent' ? Number.POSITIVE_INFINITY : pending.position
        writer.notes.push(pending.epoch)
      }
      actions.push(['complete', run])
    }
    // The last notification may have been lost: the next checkpoint subsumes it.
    const isIdle = writer.position === this.options.records && pending === undefined
    if (isIdle && actions.length === 0 && !this.done) {
      actions.push(['checkpoint', () => this.#checkpoint(writer)])
    }
    return actions
  }

  #record(writer: Writer): void {
    writer.output.add(encode(writer.position))
    writer.drain()
    writer.position += 1
    this.#filled += 1
    if (this.#filled === this.options.perEpoch || writer.position === this.options.records) {
      this.#checkpoint(writer)
    }
  }

  #checkpoint(writer: Writer): void {
    const epoch = this.#nextEpoch
    this.#nextEpoch += 1
    this.#filled = 0
    const { output } = writer
    if (output instanceof IdempotentOutput)
      output.prepare(epoch, writer.position === this.options.records)
    else output.prepare(epoch)
    const snapshot: Snapshot =
      output instanceof IdempotentOutput
        ? { kind: 'idempotent', of: output.snapshot() }
        : { kind: 'transactional', of: output.snapshot() }
    this.#pending.push({ epoch, position: writer.position, snapshot })
    writer.drain()
  }

  /** The faults that make a difference right before move `next`; each may happen as often as the options say. */
  faults(next: string): Action[] {
    const writer = this.current
    const isAtServer = next === 'wire' || next === 'ask'
    const actions: Action[] = []
    const add = (fault: Fault, isPossible: boolean, run: () => void) => {
      const left = this.#left[fault] ?? 0
      if (!isPossible || left === 0) return
      const spend = () => {
        this.#left[fault] = left - 1
        run()
      }
      actions.push([fault, spend])
    }
    add('crash', true, () => {
      this.zombies.push(this.current)
      this.current = this.restore()
    })
    add('kill', true, () => {
      this.current = this.restore()
    })
    const token = writer.answers[0]?.token
    add('lose-ack', next === 'answer' && token !== undefined, () => {
      writer.answers.shift()
      writer.output.outcome(token ?? 0, { type: 'failed', error: timedOut }, this.now)
      writer.drain()
    })
    const outstanding = [...writer.answers, ...writer.wire]
    add('disconnect', next === 'wire' && writer.wire.length > 0, () => {
      this.strays.push(...writer.wire.splice(0))
      const asked = writer.answers.splice(0).filter(answer => answer.token === undefined)
      writer.answers.push(...asked)
      const error = streamError('unavailable', 'the connection broke')
      for (const { token } of outstanding) {
        if (token !== undefined) writer.output.outcome(token, { type: 'failed', error }, this.now)
      }
      writer.drain()
    })
    add('foreign', isAtServer, () => this.server.foreign())
    add('other', isAtServer, () => this.server.other())
    add('empty', isAtServer && this.server.subject.length > 0, () => this.server.empty())
    const note = writer.notes[0]
    add('lose-note', next === 'note' && note !== undefined, () => {
      writer.notes.shift()
    })
    const pending = this.#pending[0]
    add('abort', next === 'complete' && pending !== undefined, () => {
      this.#pending.shift()
      if (writer.output instanceof TransactionalOutput) writer.output.aborted(pending?.epoch ?? 0)
    })
    return actions
  }

  /** What predecessors, and packets that nobody waits for, can do next at the server. */
  ghosts(): Action[] {
    const actions: Action[] = []
    for (const zombie of this.zombies) {
      // What touches only the zombie commutes with all that others do: it need not branch.
      if (this.options.kind === 'idempotent') this.#feed(zombie)
      let moves = this.moves(zombie)
      for (let local = moves.find(isLocal); local !== undefined; local = moves.find(isLocal)) {
        local[1]()
        moves = this.moves(zombie)
      }
      actions.push(...moves)
    }
    const stray = this.strays[0]
    const run = () => {
      this.strays.shift()
      if (stray !== undefined) this.server.write(stray)
    }
    if (stray !== undefined) actions.push(['stray', run])
    return actions
  }

  /** A zombie goes on with its input; it gets no barrier any more. */
  #feed(zombie: Writer): void {
    if (zombie.closed) return
    for (; zombie.position < this.options.records; zombie.position += 1)
      zombie.output.add(encode(zombie.position))
    zombie.drain()
  }

  /** Restarts a failed output, as the job would; true if the job cannot go on. */
  recover(): boolean {
    const { failure } = this.current
    if (this.current.has('fenced')) throw new Error('the newest generation was fenced')
    if (failure === '') return false
    this.failures.push(failure)
    this.current = this.restore()
    return this.failures.length > 3
  }

  /**
   * One step: the first possible move, or whatever `choose` prefers to it. Others touch the server only right before
   * this writer does: earlier would be the same.
   */
  step(choose: (n: number, names: readonly string[]) => number): boolean {
    const normal = [...this.moves(this.current), ...this.job()]
    const first = normal[0]
    if (first === undefined && this.done) return false
    const delays = this.#left.delay ?? 0
    const late = delays === 0 ? [] : normal.slice(1)
    const ghosts = first === undefined || !isLocal(first) ? this.ghosts() : []
    const actions = [
      ...normal.slice(0, 1),
      ...ghosts,
      ...this.faults(first?.[0] ?? 'wire'),
      ...late,
    ]
    if (actions.length === 0) throw new Error('the job is stuck')
    const chosen =
      actions[
        choose(
          actions.length,
          actions.map(([name]) => name),
        )
      ]
    if (chosen === undefined) throw new Error('no such choice')
    if (late.includes(chosen)) this.#left.delay = delays - 1
    chosen[1]()
    return true
  }

  /** Everything that is still under way arrives, late. */
  settle(): void {
    for (;;) {
      const ghost = this.ghosts()[0]
      if (ghost === undefined) return
      ghost[1]()
    }
  }
}

/** What came of all paths. */
export interface Explored {
  readonly runs: number
  /** Messages of failures that a run ended with, each once. */
  readonly failures: ReadonlySet<string>
}

/**
 * Every path through a small world. Each must end with every record stored once and nothing more stored by
 * latecomers; or, where `failing` accepts the failure, with nothing wrong stored.
 */
export const explore = (
  t: ExecutionContext,
  options: WorldOptions,
  failing: (failure: string) => boolean = () => false,
  silenced: (world: World) => boolean = () => false,
): Explored => {
  const failures = new Set<string>()
  const runs = exhaust(choose => {
    const world = new World(options)
    for (let steps = 0; world.step(choose); steps += 1) {
      if (steps > 500) throw new Error('the job makes no progress')
      if (world.recover()) break
      if (world.failures.length > 0 && world.server.wrongs.length > 0) break
    }
    world.settle()
    for (const failure of world.failures) {
      if (!failing(failure)) throw new Error(failure)
      failures.add(failure)
    }
    if (world.server.wrongs.length > 0 && !silenced(world)) throw new Error(world.server.wrongs[0])
    const isWhole = world.server.log.length === options.records
    if (!isWhole && world.failures.length === 0) throw new Error('records are missing')
  })
  t.log(`${runs} paths`)
  return { runs, failures }
}

/** A long run: faults at random for a while, then none; the job must end. */
export const wander = (seed: number, options: WorldOptions): World => {
  const random = prng(seed)
  const world = new World(options)
  // Ends of a generation must be rare, or none lives long enough to publish.
  const choose = (n: number, names: readonly string[]) => {
    const chosen = random() < 0.6 ? 0 : Math.floor(random() * n)
    const isEnd = names[chosen] === 'crash' || names[chosen] === 'kill'
    return isEnd && random() > 0.1 ? 0 : chosen
  }
  for (let steps = 0; world.step(steps < 4_000 ? choose : () => 0); steps += 1) {
    if (steps > 50_000) throw new Error(`seed ${seed}: the job makes no progress`)
    world.recover()
  }
  world.settle()
  const [wrong] = world.server.wrongs
  if (wrong !== undefined) throw new Error(`seed ${seed}: ${wrong}`)
  if (!world.done) throw new Error(`seed ${seed}: records are missing`)
  return world
}

/** Faults in plenty. */
export const often = {
  crash: 6,
  kill: 6,
  'lose-ack': 20,
  disconnect: 20,
  abort: 10,
  'lose-note': 10,
  delay: 500,
}
