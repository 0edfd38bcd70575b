/**
 * A random job: a graph of up to twelve vertices, as data of its own that the reference runs too,
 * and the same as a job of the product.
 */
import * as t from 'io-ts'
import { actor, type CheckpointNotice, iterable, jetstream } from '../../lib/index.js'
import type { AnyActor, Edge, Job, Vertex } from '../../lib/job/graph.js'
import { defaultLimits, type Limits } from '../../lib/job/limits.js'
import { mixedOrder } from '../../lib/job/replay-order.js'
import {
  type CheckpointOptions,
  filledCheckpoint,
  type RestartOptions,
  type Retention,
} from '../../lib/job/settings.js'
import type { Prng } from '../support/prng.js'
import { between, drawsAt, hashText, mix, pick, pickWeighted } from './draws.js'
import { drawLoop, goesRound, type Loop } from './random-loop.js'
import { type Item, Item as ItemCodec, idOf, nothingSeen, Seen } from './record.js'

export type OperatorKind = 'pass' | 'filter' | 'split' | 'count' | 'count-draft' | 'refuse' | 'drop'

/** One vertex of the shape. */
export interface Node {
  readonly id: string
  readonly kind: 'source' | 'sink' | OperatorKind
  readonly parallelism: number
  readonly inputs: readonly Input[]
}

/** Where a vertex gets its records, and how. */
export interface Input {
  readonly from: number
  readonly type: Edge['type']
  /** Keys of a keyed edge are drawn from so many. */
  readonly keys: number
}

/** What a source reads. */
export interface SourceShape {
  readonly node: number
  readonly type: 'iterable' | 'stream'
  readonly records: number
  readonly bounded: boolean
  /** Numbers of messages that are no valid records. */
  readonly poison: readonly number[]
  /** Virtual milliseconds over which a stream's messages arrive; 0: they are there from the start. */
  readonly overMs: number
}

/** All that a run is about. */
export interface Shape {
  readonly name: string
  readonly nodes: readonly Node[]
  readonly sources: readonly SourceShape[]
  /** Left out: no record comes twice to the same vertex. */
  readonly loop?: Loop
  readonly mode: 'exactly-once' | 'at-least-once'
  readonly bounded: boolean
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Absent in old recordings: the defaults. */
  readonly retention?: Retention
  readonly numRetained?: number
  /** Left out in runs that were kept before it was drawn. */
  readonly snapshots?: Pick<CheckpointOptions, 'async' | 'localRecovery'>
  /** Snapshots up to so many bytes are in manifests. Left out: none. */
  readonly inlineThresholdBytes?: number
  /** Whether snapshots hold changes only. Left out: not. */
  readonly incremental?: boolean
  /** Other options of checkpoints; none: what comes to nothing is put up with. */
  readonly checkpointing?: Partial<CheckpointOptions>
  readonly mailboxStorage: 'memory' | 'file'
  /** Never one that gives up; undefined: growing delays, short ones. */
  readonly restart?: RestartOptions | undefined
  /** Whether all sinks write into one stream. */
  readonly sinksShare: boolean
  /** Sinks that publish at once, by node. Left out: none. */
  readonly idempotent?: readonly number[]
  readonly limits: Limits
}

/** Where one calls what throws now and then: a fault that the world arms. */
export interface Trapdoor {
  armed: number
  /** Hears what actors are told of checkpoints. */
  readonly onHeard?: (what: 'completed' | 'aborted', epoch: number) => void
}

export const sinkSubject = (node: Node): string => `out.${node.id}`
export const sourceStream = (source: SourceShape): string => `IN${source.node}`
export const sourceSubject = (source: SourceShape): string => `in${source.node}`

const isStateful = (kind: Node['kind']): boolean => kind === 'count' || kind === 'count-draft'

/** What a checkpoint of a large job takes at most, and one of a job with a loop: a barrier goes round. */
const calmTimeoutMs = 1_500

/**
 * In a small job a checkpoint may time out before a lost order is given again: the next one meets it.
 * A job that restarts instead, time and again, has the time that one takes when nothing goes wrong.
 */
const drawTimeoutMs = (
  random: Prng,
  nodes: number,
  loops: boolean,
  { onCheckpointError }: Partial<CheckpointOptions>,
): number => {
  const isLarge = nodes > 5
  const drawn = pick(random, isLarge ? [300, 600, 1_500] : [100, 100, 300, 1_500])
  if (loops) return Math.max(calmTimeoutMs, drawn)
  if (onCheckpointError === 'decline') return drawn
  return Math.max(isLarge ? calmTimeoutMs : 300, drawn)
}

/** Draws a shape. */
export const drawShape = (seed: number): Shape => {
  const random = drawsAt(seed, 'shape')
  const drawn = drawNodes(random)
  const { nodes, loop } = drawLoop(drawsAt(seed, 'loop'), drawn)
  const bounded = random.chance(0.65)
  const mode = random.chance(0.85) ? 'exactly-once' : 'at-least-once'
  const sources = nodes.flatMap((node, index) =>
    node.kind === 'source' ? [drawSource(random, index, bounded)] : [],
  )
  const heartbeatMs = pick(random, [150, 300])
  const frameBytesMax = pick(random, [128, 128, 512, 2_048])
  const keeping = drawsAt(seed, 'retention')
  const checkpointing = drawCheckpointing(drawsAt(seed, 'checkpointing'))
  const shape: Shape = {
    name: pick(random, ['sim', 'a job', 'job.*>']),
    nodes,
    sources,
    ...(loop === undefined ? {} : { loop }),
    mode,
    bounded,
    intervalMs: pick(random, [20, 50, 100, 200]),
    timeoutMs: drawTimeoutMs(random, drawn.length, loop !== undefined, checkpointing),
    retention: pick(keeping, ['none', 'delete-on-cancellation', 'retain-on-cancellation']),
    numRetained: pick(keeping, [1, 1, 2, 3]),
    snapshots: drawSnapshots(seed),
    incremental: drawsAt(seed, 'incremental').chance(0.4),
    inlineThresholdBytes: drawInlineThreshold(drawsAt(seed, 'inline threshold')),
    checkpointing,
    mailboxStorage: random.chance(0.8) ? 'memory' : 'file',
    restart: drawRestart(drawsAt(seed, 'restart')),
    sinksShare: random.chance(0.3),
    limits: {
      ...defaultLimits,
      frameBytesMax,
      // The small ones fill up, so that writers are held back and credits matter.
      channelBytesMax: pick(random, [2 * frameBytesMax, 2 * frameBytesMax, 4_096, 16_384]),
      // The short ones run out while an ack is on its way, so that frames are stored twice.
      ackTimeoutMs: pick(random, [20, 100, 300]),
      // A channel must go on by itself: where a stall is noticed only after the end, nothing else helps.
      channelStallTimeoutMs: pick(random, [5_000, 30_000, 30_000]),
      chunkBytesMax: pick(random, [256, 4_096, 65_536]),
      heartbeatMs,
      heartbeatTimeoutMs: heartbeatMs * between(random, 3, 6),
      stallTimeoutMs: 10_000,
      // In the small one no more than a few have room.
      inlineBytesMax: drawsAt(seed, 'inline bytes').chance(0.5) ? 4_096 : 65_536,
      incrementalChainMax: drawsAt(seed, 'chain').chance(0.5) ? 3 : 10,
      historyMax: 10,
      supersededTtlMs: pick(random, [50, 500, 5_000]),
    },
  }
  return { ...shape, idempotent: drawIdempotent(drawsAt(seed, 'delivery'), shape) }
}

/** Of the sinks to which records come in the same order when they are replayed, about half. */
const drawIdempotent = (random: Prng, shape: Shape): readonly number[] => {
  const { graph } = jobOf(shape, { armed: 0 })
  return [...shape.nodes.entries()].flatMap(([index, { id, kind }]) =>
    kind === 'sink' && mixedOrder(graph, id) === undefined && random.chance(0.5) ? [index] : [],
  )
}

const drawCheckpointing = (random: Prng): Partial<CheckpointOptions> => {
  const tolerableFailures = between(random, 0, 3)
  const fails = random.chance(0.6)
  const maxConcurrent = pick(random, [1, 1, 1, 2, 3])
  const minPauseMs = maxConcurrent === 1 && random.chance(0.3) ? between(random, 1, 150) : 0
  const onCheckpointError = fails ? ('fail' as const) : ('decline' as const)
  return { maxConcurrent, minPauseMs, onCheckpointError, tolerableFailures }
}

/** Between the small ones and the large ones, so that one checkpoint has of both. */
const drawInlineThreshold = (random: Prng): number =>
  random.chance(0.5) ? 0 : pick(random, [600, 1_000, 2_000, 16_384])

/** Drawn at a place of its own: what else a seed stands for stays as it was. */
const drawSnapshots = (seed: number): NonNullable<Shape['snapshots']> => {
  const random = drawsAt(seed, 'snapshots')
  return { localRecovery: random.chance(0.3), async: random.chance(0.9) }
}

const drawRestart = (random: Prng): RestartOptions | undefined => {
  if (random.chance(0.6)) return undefined
  const delayMs = pick(random, [5, 50, 150])
  return random.chance(0.5)
    ? { type: 'fixed-delay', attempts: 1_000_000, delayMs }
    : { type: 'failure-rate', maxFailures: 1_000, perMs: 500, delayMs }
}

const drawSource = (random: Prng, node: number, bounded: boolean): SourceShape => {
  const type = bounded && random.chance(0.2) ? 'iterable' : 'stream'
  const records = between(random, 8, 40)
  const poison: number[] = []
  if (type === 'stream' && random.chance(0.3))
    for (let bad = between(random, 1, 3); bad > 0; bad -= 1) poison.push(random.below(records))
  const overMs = type === 'stream' && random.chance(0.85) ? between(random, 600, 1_600) : 0
  return { node, type, records, bounded, poison, overMs }
}

/** Vertices in an order in which everything comes after its inputs. */
const drawNodes = (random: Prng): readonly Node[] => {
  const large = random.chance(0.12)
  const sources = large ? between(random, 1, 3) : between(random, 1, 2)
  const operators = large ? between(random, 2, 6) : between(random, 0, 2)
  const nodes: Node[] = []
  const used = new Set<number>()
  let left = large ? 14 : 6
  const add = (kind: Node['kind'], parallelism: number, inputs: readonly Input[]): void => {
    for (const { from } of inputs) used.add(from)
    left -= parallelism
    nodes.push({ id: `${kind.slice(0, 2)}${nodes.length}`, kind, parallelism, inputs })
  }
  const width = (): number =>
    Math.max(
      1,
      Math.min(
        left - 2,
        pickWeighted(random, [
          [1, 4],
          [2, 4],
          [3, 1],
          [4, 1],
        ]),
      ),
    )
  for (let source = 0; source < sources; source += 1) add('source', 1, [])
  for (let operator = 0; operator < operators; operator += 1) {
    const kind = pickWeighted<OperatorKind>(random, [
      ['pass', 2],
      ['filter', 1],
      ['split', 1],
      ['count', 4],
      ['count-draft', 1],
      ['refuse', 1],
      ['drop', 0.5],
    ])
    const parallelism = width()
    add(kind, parallelism, drawInputs(random, nodes, used, kind, parallelism))
  }
  const loose = [...nodes.keys()].filter(index => !used.has(index))
  while (loose.length > 0) {
    const parallelism = random.chance(0.7) ? 1 : 2
    // Some sinks take several streams.
    const count = random.chance(0.4) ? loose.length : 1
    add(
      'sink',
      parallelism,
      loose.splice(0, count).map(from => inputFrom(random, nodes, from, 'sink', parallelism)),
    )
  }
  return nodes
}

const drawInputs = (
  random: Prng,
  nodes: readonly Node[],
  used: ReadonlySet<number>,
  kind: OperatorKind,
  parallelism: number,
): readonly Input[] => {
  const indexes = [...nodes.keys()]
  const fresh = indexes.filter(index => !used.has(index))
  const first = fresh.length > 0 && random.chance(0.8) ? pick(random, fresh) : pick(random, indexes)
  const more = random.chance(0.3) ? indexes.filter(index => index !== first) : []
  const from = more.length === 0 ? [first] : [first, pick(random, more)]
  return from.map(index => inputFrom(random, nodes, index, kind, parallelism))
}

const inputFrom = (
  random: Prng,
  nodes: readonly Node[],
  from: number,
  kind: Node['kind'],
  parallelism: number,
): Input => {
  const keys = between(random, 1, 6)
  if (isStateful(kind) || random.chance(0.25)) return { from, type: 'keyed', keys }
  const same = nodes[from]?.parallelism === parallelism
  return { from, type: same ? 'forward' : 'rebalance', keys }
}

/** The key of a record on an edge. */
export const keyOn = (from: number, to: number, keys: number, { k, n, o }: Item): string =>
  `k${mix(k, n, o, from, to) % keys}`

/** What an actor without state makes of a record: the reference and the product both call it. */
export const behave = (node: Node, item: Item): readonly Item[] => {
  const chance = mix(item.o, item.n, hashText(item.x), hashText(node.id))
  const x = `${item.x}>${node.id}`
  switch (node.kind) {
    case 'filter':
      return chance % 3 === 0 ? [] : [{ ...item, x }]
    case 'split':
      return chance % 2 === 0
        ? [{ ...item, x }]
        : [0, 1].map(copy => ({ ...item, x: `${x}#${copy}`, k: item.k + copy }))
    default:
      return [{ ...item, x }]
  }
}

/** Whether an actor's `receive` throws for a record. */
export const isRefused = (node: Node, item: Item): boolean =>
  (node.kind === 'refuse' || node.kind === 'drop') &&
  mix(item.o, item.n, hashText(node.id), 7) % 5 === 0

/** What a state is after one more record, whatever order they come in. */
export const seeing = (seen: Seen, item: Item): Seen => {
  const last: Record<string, number> = JSON.parse(seen.last)
  const way = `${item.o}${item.x}`
  const before = last[way] ?? -1
  last[way] = Math.max(before, item.n)
  return {
    count: seen.count + 1,
    sum: (seen.sum + hashText(idOf(item))) >>> 0,
    disorder: seen.disorder + (item.n <= before ? 1 : 0),
    last: JSON.stringify(last),
  }
}

/** A record on its way out of an actor that has counted it. */
export const counted = (node: Node, item: Item, key: string, count: number): Item => ({
  ...item,
  x: `${item.x}>${node.id}`,
  m: `${node.id}/${key}`,
  c: count,
  e: idOf(item),
})

/** Numbers from an offset on, as the records of a source. */
export function* itemsOf(source: SourceShape, origin: number, offset = 0): Generator<Item> {
  for (let n = offset; n < source.records; n += 1) yield itemOf(origin, n)
}

export const itemOf = (origin: number, n: number): Item => ({
  o: origin,
  n,
  x: '',
  k: mix(origin, n) % 97,
  m: '',
  c: 0,
  e: '',
})

/** The shape as a job of the product. */
export const jobOf = (shape: Shape, trapdoor: Trapdoor): Job => {
  const vertices = shape.nodes.map((node, index) => vertexOf(shape, node, index, trapdoor))
  const edges = shape.nodes.flatMap((node, to) =>
    node.inputs.map((input): Edge => {
      const when = shape.loop?.tail === input.from ? { when: leaving(shape, shape.loop) } : {}
      const ends = { from: shape.nodes[input.from]?.id ?? '', to: node.id, ...when }
      if (input.type !== 'keyed') return { type: input.type, ...ends }
      const keyOf = (record: unknown): string =>
        keyOn(input.from, to, input.keys, ItemCodec.is(record) ? record : itemOf(-1, -1))
      return { type: 'keyed', ...ends, keyOf }
    }),
  )
  const { intervalMs, timeoutMs, mode, limits, mailboxStorage } = shape
  const { incremental = false, inlineThresholdBytes = 0, checkpointing, restart } = shape
  const { retention = 'none', numRetained = 1 } = shape
  return {
    type: 'job',
    graph: {
      name: shape.name,
      vertices,
      edges: [...edges, ...feedbackOf(shape)],
      maxParallelism: 16,
      checkpoint: filledCheckpoint({
        ...{ intervalMs, mode, timeoutMs, incremental, onCheckpointError: 'decline' },
        ...{ retention, numRetained, inlineThresholdBytes },
        ...checkpointing,
        ...shape.snapshots,
        force: shape.loop !== undefined,
      }),
      settings: restart === undefined ? {} : { restart },
      durability: 'process-crash',
      mailboxStorage,
      // A run that was kept knows nothing of limits that came later.
      limits: { ...defaultLimits, ...limits },
    },
  }
}

/** Which records go on behind a loop. */
const leaving =
  ({ nodes }: Shape, loop: Loop) =>
  (record: unknown): boolean =>
    ItemCodec.is(record) && !goesRound(loop, nodes, record)

const feedbackOf = ({ nodes, loop }: Shape): readonly Edge[] => {
  const [head, tail] = loop === undefined ? [] : [nodes[loop.head], nodes[loop.tail]]
  if (loop === undefined || head === undefined || tail === undefined) return []
  const when = (record: unknown): boolean => ItemCodec.is(record) && goesRound(loop, nodes, record)
  return [{ type: 'feedback', from: tail.id, to: head.id, when }]
}

const vertexOf = (shape: Shape, node: Node, index: number, trapdoor: Trapdoor): Vertex => {
  const { id, parallelism } = node
  if (node.kind === 'sink') {
    const delivery = shape.idempotent?.includes(index) ? 'idempotent' : 'transactional'
    const sink = jetstream.sink({ id, subject: sinkSubject(node), delivery })
    return { type: 'sink', id, parallelism, sink, codec: undefined }
  }
  if (node.kind === 'source')
    return { type: 'source', id, parallelism, source: sourceOf(shape, index) }
  return { type: 'operator', id, parallelism, actor: actorOf(node, trapdoor) }
}

type AnySource = Extract<Vertex, { type: 'source' }>['source']

/** A codec as the graph holds it, its type forgotten. */
const forgotten = <A>({ name, is, validate }: t.Type<A>): t.Type<unknown> =>
  new t.Type<unknown>(name, is, validate, t.identity)

const anyItem = forgotten(ItemCodec)
const anySeen = forgotten(Seen)

const sourceOf = (shape: Shape, index: number): AnySource => {
  const origin = shape.sources.findIndex(({ node }) => node === index)
  const source = shape.sources[origin]
  const id = shape.nodes[index]?.id ?? ''
  if (source === undefined) throw new Error(`${id} is no source`)
  if (source.type === 'iterable') {
    return iterable.source({ id, open: offset => itemsOf(source, origin, offset) })
  }
  return jetstream.source({
    id,
    stream: sourceStream(source),
    accepts: anyItem,
    ...(source.bounded ? { end: { at: 'sequence', sequence: source.records } as const } : {}),
  })
}

const actorOf = (node: Node, trapdoor: Trapdoor): AnyActor => {
  const common = {
    name: node.id,
    accepts: t.unknown,
    emits: t.unknown,
    onCheckpointComplete: ({ epoch }: CheckpointNotice) => trapdoor.onHeard?.('completed', epoch),
    onCheckpointAborted: ({ epoch }: CheckpointNotice) => trapdoor.onHeard?.('aborted', epoch),
  }
  const open = (): void => {
    if (trapdoor.armed === 0) return
    trapdoor.armed -= 1
    throw new Error('the trapdoor was open')
  }
  if (node.kind === 'count' || node.kind === 'count-draft') {
    const receive: AnyActor['receive'] = (ctx, record) => {
      open()
      if (!ItemCodec.is(record)) throw new Error('no item')
      const seen = Seen.is(ctx.state.get()) ? ctx.state.get() : nothingSeen
      const next = seeing(Seen.is(seen) ? seen : nothingSeen, record)
      if (node.kind === 'count') ctx.state.set(next)
      else
        ctx.state.update(draft => {
          if (Seen.is(draft)) Object.assign(draft, next)
        })
      ctx.emit(counted(node, record, String(ctx.key), next.count))
    }
    return {
      type: 'actor',
      ...common,
      onError: 'fail',
      receive,
      state: { codec: anySeen, initial: () => nothingSeen },
    }
  }
  const onError = node.kind === 'refuse' ? 'dead-letter' : node.kind === 'drop' ? 'skip' : 'fail'
  return actor({
    ...common,
    onError,
    receive: (ctx, record) => {
      if (onError === 'fail') open()
      if (!ItemCodec.is(record)) throw new Error('no item')
      if (isRefused(node, record)) throw new Error('it refuses')
      for (const item of behave(node, record)) ctx.emit(item)
    },
  })
}
