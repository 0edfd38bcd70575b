/** A job whose counting subtask has two inputs, `left` and `right`, and tools to run it in virtual time. */
import * as t from 'io-ts'
import { type ActorOptions, actor, type CheckpointOptions, iterable, jetstream, job } from 'sluice'
import type { AnySource, Job, Vertex } from '../../lib/job/graph.js'
import type { JobWorld } from './memory-job.js'

export const Item = t.type({ from: t.string, n: t.number })
export type Item = t.TypeOf<typeof Item>
const Counted = t.type({ from: t.string, n: t.number, key: t.string, count: t.number })

type CountsOptions = ActorOptions<Item, t.TypeOf<typeof Counted>, number>

/** Messages of a stream; `through`: the sequence that it ends with. */
export const streamSource = (id: string, through?: number) =>
  jetstream.source({
    id,
    stream: id.toUpperCase(),
    accepts: Item,
    ...(through === undefined ? {} : { end: { at: 'sequence', sequence: through } as const }),
  })

/** So many records, made in the process; tells what it is asked for. */
export const iterableSource = (id: string, records: number, onOpen: (offset: number) => void) =>
  iterable.source({
    id,
    *open(offset): Iterable<Item> {
      onOpen(offset)
      for (let n = offset; n < records; n += 1) yield { from: id, n }
    },
  })

/** `left/0` and `right/0` → `counts/0`, keyed, which publishes on the stream `OUT` itself. */
export const mergingJob = (options: {
  readonly left?: AnySource
  readonly right?: AnySource
  readonly checkpoint?: Partial<CheckpointOptions>
  readonly counts?: Partial<CountsOptions>
  readonly onRecord?: (item: Item) => void
}): Job => {
  const counts = actor({
    name: 'counts',
    accepts: Item,
    emits: Counted,
    state: { codec: t.number, initial: () => 0 },
    receive: (ctx, { from, n }) => {
      options.onRecord?.({ from, n })
      const count = ctx.state.get() + 1
      ctx.state.set(count)
      ctx.emit({ from, n, key: String(ctx.key), count })
    },
    ...options.counts,
  })
  const keyOf = (record: unknown): string => `k${Item.is(record) ? record.n % 3 : 'none'}`
  const { graph } = job('merging', { limits: { frameBytesMax: 128, channelBytesMax: 4_096 } })
    .from(streamSource('unused'))
    .keyBy(keyOf)
    .to(counts)
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
    .checkpoint({
      ...{ intervalMs: 50, timeoutMs: 5_000, onCheckpointError: 'decline' },
      ...options.checkpoint,
    })
  const left = vertexOf('left', options.left)
  const right = vertexOf('right', options.right)
  return {
    type: 'job',
    graph: {
      ...graph,
      vertices: [left, right, ...graph.vertices.filter(({ id }) => id !== 'unused')],
      edges: [
        ...graph.edges.filter(({ from }) => from !== 'unused'),
        { type: 'keyed', from: 'left', to: 'counts', keyOf },
        { type: 'keyed', from: 'right', to: 'counts', keyOf },
      ],
    },
  }
}

const forgotten = new t.Type<unknown>('Item', Item.is, Item.validate, t.identity)

const vertexOf = (id: string, source: AnySource | undefined): Vertex => ({
  type: 'source',
  id,
  parallelism: 1,
  source: source ?? { ...streamSource(id), accepts: forgotten },
})

/** A source as the graph holds it. */
export const anySource = (source: ReturnType<typeof streamSource>): AnySource => ({
  ...source,
  accepts: forgotten,
})

/**
 * Makes a source's stream, and publishes one record after another once the job runs; all at once,
 * before that, if nothing lies between them.
 */
export const feed = (world: JobWorld, id: string, records: number, everyMs: number): void => {
  const name = id.toUpperCase()
  world.broker.create({ name, subjects: [id], storage: 'file' })
  const publish = (n: number): void => {
    if (n === records) return
    if (everyMs > 0 && generations(world).length === 0) {
      world.time.after(everyMs, () => publish(n))
      return
    }
    const item: Item = { from: id, n }
    world.broker.publish(id, new TextEncoder().encode(JSON.stringify(item)), {})
    if (everyMs > 0) world.time.after(everyMs, () => publish(n + 1))
    else publish(n + 1)
  }
  publish(0)
}

/** What came out, against what went in. */
export interface Verdict {
  /** Records that never came out. */
  readonly lost: readonly string[]
  /** Records that came out more than once. */
  readonly doubled: readonly string[]
  /** By how much the keys' counts exceed the number of their records. */
  readonly overcounted: number
}

export const nothingWrong: Verdict = { lost: [], doubled: [], overcounted: 0 }

/** Judges the stream `OUT` by the records that each source had. */
export const verdictOf = (world: JobWorld, sources: Readonly<Record<string, number>>): Verdict => {
  const times = new Map<string, number>()
  const highest = new Map<string, number>()
  for (const value of world.published('OUT')) {
    if (!Counted.is(value)) throw new Error(`no count: ${JSON.stringify(value)}`)
    const name = `${value.from} ${value.n}`
    times.set(name, (times.get(name) ?? 0) + 1)
    highest.set(value.key, Math.max(highest.get(value.key) ?? 0, value.count))
  }
  const names = Object.entries(sources).flatMap(([from, records]) =>
    Array.from({ length: records }, (_, n) => `${from} ${n}`),
  )
  const counted = [...highest.values()].reduce((sum, count) => sum + count, 0)
  return {
    lost: names.filter(name => !times.has(name)),
    doubled: [...times].filter(([, count]) => count > 1).map(([name]) => name),
    overcounted: counted - names.length,
  }
}

/** Epochs that have completed so far. */
export const completedEpochs = ({ notes }: JobWorld): readonly number[] =>
  notes.flatMap(note => (note.type === 'checkpoint-completed' ? [note.epoch] : []))

/** Generations that have run so far. */
export const generations = ({ notes }: JobWorld): readonly number[] =>
  notes.flatMap(note => (note.type === 'running' ? [note.generation] : []))
