import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { job } from '../../lib/job/builder.js'
import { actor, iterable, jetstream } from '../../lib/job/definitions.js'
import type { AnyActor, AnySource, Edge, JobGraph, Vertex } from '../../lib/job/graph.js'
import { defaultLimits } from '../../lib/job/limits.js'
import type { Problem } from '../../lib/job/problem.js'
import { validate } from '../../lib/job/validate.js'

export const orders = jetstream.source({ id: 'orders', stream: 'ORDERS', accepts: t.unknown })
export const numbers = iterable.source({ id: 'numbers', open: offset => [1, 2, 3].slice(offset) })
export const out = jetstream.sink({ id: 'out', subject: 'out' })

export const stateless = actor({
  name: 'stateless',
  accepts: t.unknown,
  emits: t.unknown,
  receive: (ctx, record) => ctx.emit(record),
})

export const stateful = actor({
  name: 'stateful',
  accepts: t.unknown,
  emits: t.unknown,
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, record) => ctx.emit(record),
})

const anySource: AnySource = jetstream.source<unknown>({
  id: 'source',
  stream: 'SOURCE',
  accepts: t.unknown,
})
export const anyActor: AnyActor = actor<unknown, unknown, unknown>({
  name: 'operator',
  accepts: t.unknown,
  emits: t.unknown,
  receive: () => undefined,
})

/** `job` for a caller without a type checker: anything goes in, and the answer takes any step. */
export const untypedJob = (...args: readonly unknown[]) => Reflect.apply(job, undefined, args)

/** Vertices by hand, for graphs that the builder does not make. */
export const source = (id: string, parallelism = 1): Vertex => ({
  type: 'source',
  id,
  parallelism,
  source: { ...anySource, id },
})
export const operator = (id: string, parallelism = 1, of = anyActor): Vertex => ({
  type: 'operator',
  id,
  parallelism,
  actor: { ...of, name: id },
})
export const sink = (id: string, parallelism = 1): Vertex => ({
  type: 'sink',
  id,
  parallelism,
  sink: {
    type: 'jetstream-sink',
    id,
    subject: 'out',
    stream: undefined,
    delivery: 'transactional',
  },
  codec: undefined,
})

/** `a → b` forward, `a ⇉ b` rebalance, `a ⇶ b` keyed. */
export const edge = (text: string): Edge => {
  const [from = '', arrow = '', to = ''] = text.split(' ')
  if (arrow === '⇶') return { type: 'keyed', from, to, keyOf: String }
  return { type: arrow === '→' ? 'forward' : 'rebalance', from, to }
}

export const graph = (
  vertices: readonly Vertex[],
  edges: readonly string[],
  more: Partial<JobGraph> = {},
): JobGraph => ({
  name: 'by-hand',
  vertices,
  edges: edges.map(edge),
  maxParallelism: 128,
  checkpoint: undefined,
  settings: {},
  durability: 'strict',
  mailboxStorage: 'memory',
  limits: defaultLimits,
  ...more,
})

/** Every problem of a graph. */
export const fullProblemsOf = (of: JobGraph): readonly Problem[] => {
  const result = validate(of)
  return E.isLeft(result) ? result.left : []
}

/** `path: found` of every problem of a graph. */
export const problemsOf = (of: JobGraph): readonly string[] =>
  fullProblemsOf(of).map(({ path, found }) => `${path}: ${found}`)

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
export const randomFrom = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
