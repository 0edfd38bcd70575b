/** A small job that does not end by itself, in virtual time, and what tests do to its checkpoints. */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { streamError } from '../../lib/errors.js'
import { actor, type CheckpointOptions, jetstream, job } from '../../lib/index.js'
import type { Job, Vertex } from '../../lib/job/graph.js'
import type { HistoryEntry } from '../../lib/ports/job-store.js'
import type { Note } from '../../lib/protocol/coordinator.js'
import type { PartRef } from '../../lib/protocol/manifest.js'
import { JobWorld, type WorldOptions } from './memory-job.js'

const Item = t.type({ n: t.number })
const Counted = t.type({ n: t.number, count: t.number })

const counts = actor({
  name: 'counts',
  accepts: Item,
  emits: Counted,
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, { n }) => {
    const count = ctx.state.get() + 1
    ctx.state.set(count)
    ctx.emit({ n, count })
  },
})

const keyOf = (record: unknown): string => `k${Item.is(record) ? record.n % 5 : 0}`

/** `in/0` → `counts/0`, `counts/1` (keyed) → `out/0`: the stream `IN` without an end onto `OUT`. */
export const endlessJob = (checkpoint?: CheckpointOptions): Job => {
  const open = job('endless')
    .from(jetstream.source({ id: 'in', stream: 'IN', accepts: Item }))
    .keyBy(keyOf)
    .to(counts, { parallelism: 2 })
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
  return checkpoint === undefined ? open : open.checkpoint(checkpoint)
}

/** The same with a second source, `too/0`, of the stream `TOO`. */
export const twoSourceJob = (checkpoint: CheckpointOptions): Job => {
  const { graph } = endlessJob(checkpoint)
  const source = jetstream.source({ id: 'too', stream: 'TOO', accepts: anyItem })
  const vertex: Vertex = { type: 'source', id: 'too', parallelism: 1, source }
  const edge = { type: 'keyed', from: 'too', to: 'counts', keyOf } as const
  const vertices = [...graph.vertices, vertex]
  return { type: 'job', graph: { ...graph, vertices, edges: [...graph.edges, edge] } }
}

const anyItem = new t.Type<unknown>('item', Item.is, Item.validate, t.identity)

/** What a store does with one snapshot, if not what it should: takes it later, or refuses it. */
export type StoreFate = (
  part: PartRef,
) => { readonly afterMs?: number; readonly refuses?: boolean } | undefined

const producedEveryMs = 7

/** The job among servers; a record comes into each stream every few milliseconds. */
export class CheckpointedWorld extends JobWorld {
  /** What becomes of each snapshot that is written. */
  fate: StoreFate = () => undefined
  produced = 0
  #producing = true

  constructor(options: WorldOptions) {
    super(options)
    for (const [name, subject] of [
      ['IN', 'in'],
      ['TOO', 'too'],
    ] as const)
      this.broker.create({ name, subjects: [subject], storage: 'file' })
    this.#produce()
  }

  override connect(name: string): ReturnType<JobWorld['connect']> {
    const ports = super.connect(name)
    const { write } = ports.snapshots
    return {
      ...ports,
      snapshots: {
        ...ports.snapshots,
        write: (job, part, chunks, ttlMs) => {
          const { afterMs = 0, refuses = false } = this.fate(part) ?? {}
          return async () => {
            if (afterMs > 0) await new Promise<void>(resolve => this.time.after(afterMs, resolve))
            return refuses
              ? E.left(streamError('conflict', 'no room'))
              : write(job, part, chunks, ttlMs)()
          }
        },
      },
    }
  }

  #produce(): void {
    if (!this.#producing) return
    for (const subject of ['in', 'too'])
      this.broker.put(subject, JSON.stringify({ n: this.produced }))
    this.produced += 1
    this.time.after(producedEveryMs, () => this.#produce())
  }

  /** Attempts that have ended, oldest first. */
  get history(): readonly HistoryEntry[] {
    const entries = this.redis.histories.get(this.plan.job) ?? []
    return [...entries].sort((a, b) => a.triggeredAt - b.triggeredAt)
  }

  get completed(): readonly HistoryEntry[] {
    return this.history.filter(({ status }) => status === 'completed')
  }

  get aborted(): readonly HistoryEntry[] {
    return this.history.filter(({ status }) => status === 'aborted')
  }

  noted<T extends Note['type']>(type: T): readonly Extract<Note, { readonly type: T }>[] {
    return this.notes.filter((note): note is Extract<Note, { readonly type: T }> => {
      return note.type === type
    })
  }

  /** Runs until so many of these notes were said. */
  async until(type: Note['type'], times = 1, limitMs = 600_000): Promise<void> {
    await this.time.run(`${times} × ${type}`, () => this.noted(type).length >= times, limitMs)
  }

  /** An answer to a request by hand, as soon as there is one. */
  async asked(request: string, timeoutMs?: number): ReturnType<JobWorld['checkpoint']> {
    let answer: Awaited<ReturnType<JobWorld['checkpoint']>> | undefined
    void this.checkpoint(request, timeoutMs).then(got => {
      answer = got
    })
    await this.time.run(`an answer to ${request}`, () => answer !== undefined)
    return answer ?? E.left(streamError('timed-out', 'no answer'))
  }

  /** Parts of a checkpoint that the store holds now. */
  partsOf(epoch: number) {
    return this.redis.keys().filter(({ key }) => new RegExp(`part:\\d+:${epoch}:`).test(key))
  }

  /**
   * Produces no more, waits until everything has come out, and says what is lost, and what is there
   * more often than so many sources have sent it.
   */
  async faults(sources = 1): Promise<readonly string[]> {
    this.#producing = false
    const isOut = (): boolean => this.#faults(sources).every(fault => !/lost/.test(fault))
    await this.time.run('all output', isOut, 120_000)
    await this.time.pass(5_000)
    return this.#faults(sources)
  }

  #faults(sources: number): readonly string[] {
    const times = new Map<number, number>()
    for (const value of this.published('OUT'))
      if (Counted.is(value)) times.set(value.n, (times.get(value.n) ?? 0) + 1)
    return Array.from({ length: this.produced }, (_, n) => {
      const found = times.get(n) ?? 0
      return found < sources ? `${n} is lost` : found > sources ? `${n} is doubled` : ''
    }).filter(fault => fault !== '')
  }
}
