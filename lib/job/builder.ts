/**
 * Builds the graph of a job, step by step.
 *
 * One untyped draft stands behind all the types of stream.ts. Every step answers a new frozen
 * draft, and every draft is a job, so that a job left unfinished is reported by `validate` and not
 * by a TypeError. What cannot be put into the graph (an argument of a wrong kind, an unknown
 * option) is kept in `graph.problems`.
 *
 * How an edge comes about: after `keyBy` it is keyed; between equal parallelisms it is forward, so
 * that its ends run in one process; otherwise it is rebalance.
 */
import * as t from 'io-ts'
import type { Actor, Context } from './contracts.js'
import type { AnyActor, AnySource, Edge, Job, JobGraph, KeyOf, Vertex, When } from './graph.js'
import { defaultLimits, type Limits } from './limits.js'
import { describe, type Problem } from './problem.js'
import { isRecord, unknownOptions } from './rules.js'
import {
  type CheckpointOptions,
  filledCheckpoint,
  type JobSettings,
  type RestartOptions,
  type StateBackendOptions,
} from './settings.js'
import type { JobOptions, NewJob, OperatorOptions, SinkOptions } from './stream.js'

/**
 * Starts a job. The name is its identity: a job that has run before resumes by it.
 *
 * @example
 * export default job('flights')
 *   .from(jetstream.source({ id: 'flights', stream: 'FLIGHTS', accepts: Flight }))
 *   .keyBy(flight => flight.origin)
 *   .to(delays, { parallelism: 2 })
 *   .into(jetstream.sink({ id: 'delays-out', subject: 'delays' }))
 *   .checkpoint({ intervalMs: 1_000 })
 */
export const job = (name: string, options: JobOptions = {}): NewJob => {
  const given = isJobOptions(options) ? options : {}
  return draft({
    graph: {
      name,
      vertices: [],
      edges: [],
      maxParallelism: given.maxParallelism ?? 128,
      checkpoint: undefined,
      settings: Object.freeze(isRecord(given.limits) ? { limits: defined(given.limits) } : {}),
      durability: given.durability ?? 'process-crash',
      mailboxStorage: given.mailboxStorage ?? 'memory',
      limits: limitsOf(given.limits),
      problems: [
        ...optionProblems('job', options, jobOptionNames),
        ...(given.limits === undefined ? [] : optionProblems('limits', given.limits, undefined)),
      ],
    },
    end: undefined,
    keyOf: undefined,
  })
}

const jobOptionNames = ['maxParallelism', 'durability', 'mailboxStorage', 'limits'] as const

// Every step takes anything and answers a draft, so a draft is assignable to each type of
// stream.ts.
interface Draft extends Job {
  readonly from: (source: unknown, options?: unknown) => Draft
  readonly keyBy: (keyOf: unknown) => Draft
  readonly to: (actor: unknown, options?: unknown) => Draft
  readonly into: (sink: unknown, options?: unknown) => Draft
  readonly iterate: (options: unknown, body: unknown) => Draft
  readonly checkpoint: (options: unknown) => Draft
  readonly restart: (options: unknown) => Draft
  readonly stateBackend: (options: unknown) => Draft
}

interface Position {
  readonly graph: JobGraph
  /** The vertex that the next one is joined to. */
  readonly end: Vertex | undefined
  /** Set between `keyBy` and the vertex that it is for. */
  readonly keyOf: KeyOf | undefined
  /** Set behind a loop: what leaves it. */
  readonly when?: When | undefined
}

/** What stands behind a draft that the body of a loop returns. */
const positions = new WeakMap<object, Position>()

const draft = (at: Position): Draft => {
  const made = Object.freeze({
    type: 'job',
    graph: frozen(at.graph),
    from: (source, options) => draft(from(at, source, options)),
    keyBy: keyOf => draft(keyBy(at, keyOf)),
    to: (actor, options) => draft(to(at, actor, options)),
    into: (sink, options) => draft(into(at, sink, options)),
    iterate: (options, body) => iterate(at, options, body),
    checkpoint: options => draft(checkpoint(at, options)),
    restart: options => draft(restart(at, options)),
    stateBackend: options => draft(stateBackend(at, options)),
  } satisfies Draft)
  positions.set(made, at)
  return made
}

const from = (at: Position, source: unknown, options: unknown): Position => {
  if (!isSource(source)) {
    const next = 'Pass what jetstream.source({ ... }) or iterable.source({ ... }) returned.'
    return refused(at, 'from(source)', 'a source', source, next)
  }
  const { parallelism } = stepOptions(options)
  const vertex: Vertex = { type: 'source', id: source.id, parallelism: parallelism ?? 1, source }
  const fresh: Position = { ...at, end: undefined, keyOf: undefined }
  return joined(
    noted(fresh, optionProblems(`source ${describe(source.id)}`, options, ['parallelism'])),
    vertex,
  )
}

const keyBy = (at: Position, keyOf: unknown): Position => {
  if (at.end === undefined)
    return refused(
      at,
      'keyBy',
      'a stream',
      undefined,
      'Call keyBy right after from(...) or to(...).',
    )
  if (isKeyOf(keyOf)) return { ...at, keyOf }
  const next = 'Pass a function that takes a record and returns its key.'
  // The stream counts as keyed, or every actor behind it would be reported as well.
  return { ...refused(at, 'keyBy(keyOf)', 'a function', keyOf, next), keyOf: () => '' }
}

const to = (at: Position, actor: unknown, options: unknown): Position => {
  if (!isActor(actor)) {
    const next = 'Pass what actor({ ... }) returned.'
    return refused(at, 'to(actor)', 'an actor', actor, next)
  }
  const { id = actor.name, parallelism } = stepOptions(options)
  const noting = noted(
    at,
    optionProblems(`operator ${describe(id)}`, options, ['id', 'parallelism']),
  )
  return joined(noting, { type: 'operator', id, parallelism: parallelism ?? 1, actor })
}

/**
 * A loop has a vertex at either end that passes every record on: its head, where records come in and come
 * back, and its tail, where they leave or go back.
 */
const iterate = (at: Position, options: unknown, body: unknown): Draft => {
  const step = isRecord(options) ? options : {}
  const path = `loop ${describe(step.id)}`
  const next = 'Pass { id, again } and a function that takes a stream and returns one.'
  if (!isAgain(step.again))
    return draft(refused(at, `${path}.again`, 'a function', step.again, next))
  if (!isBody(body)) return draft(refused(at, `${path} body`, 'a function', body, next))
  const { id, again } = step
  const noting = noted(at, optionProblems(path, options, ['id', 'again', 'parallelism']))
  const parallelism = stepOptions(options).parallelism ?? at.end?.parallelism ?? 1
  const head: Vertex = { type: 'operator', id: String(id), parallelism, actor: passing(id, at.end) }
  const made = body(draft(joined(noting, head)))
  const end = isRecord(made) ? positions.get(made) : undefined
  if (end?.end === undefined || end.end.type === 'source')
    return draft(refused(noting, `${path} body`, 'a stream that comes from the loop', made, next))
  const tailId = `${String(id)}-tail`
  const tail: Vertex = {
    type: 'operator',
    id: tailId,
    parallelism: end.end.parallelism,
    actor: passing(tailId, end.end),
  }
  const closed = joined(end, tail)
  const feedback: Edge = Object.freeze({
    type: 'feedback',
    from: tailId,
    to: head.id,
    when: again,
  })
  const { graph } = closed
  return draft({
    ...closed,
    graph: { ...graph, edges: [...graph.edges, feedback] },
    when: record => !again(record),
  })
}

const passing = (name: unknown, before: Vertex | undefined): AnyActor =>
  Object.freeze({
    type: 'actor',
    name: String(name),
    accepts: t.unknown,
    emits: codecAt(before) ?? t.unknown,
    state: undefined,
    receive: (ctx: Context<unknown, unknown>, record: unknown) => ctx.emit(record),
    onError: 'fail',
  })

const into = (at: Position, sink: unknown, options: unknown): Position => {
  if (!isSink(sink)) {
    const next = 'Pass what jetstream.sink({ ... }) returned.'
    return { ...refused(at, 'into(sink)', 'a sink', sink, next), end: undefined, keyOf: undefined }
  }
  const { parallelism } = stepOptions(options)
  const vertex: Vertex = {
    type: 'sink',
    id: sink.id,
    parallelism: parallelism ?? 1,
    sink,
    codec: codecAt(at.end),
  }
  const next = joined(
    noted(at, optionProblems(`sink ${describe(sink.id)}`, options, ['parallelism'])),
    vertex,
  )
  return { ...next, end: undefined }
}

const checkpoint = (at: Position, options: unknown): Position => {
  const noting = saidOnce(at, 'checkpoint', options)
  if (!isCheckpointOptions(options)) return noting
  const { graph } = withSetting(noting, { checkpoint: options })
  return { ...noting, graph: { ...graph, checkpoint: filledCheckpoint(options) } }
}

const restart = (at: Position, options: unknown): Position => {
  const noting = saidOnce(at, 'restart', options)
  const said = isRecord(options) ? defined(options) : options
  return isRestartOptions(said) ? withSetting(noting, { restart: said }) : noting
}

const stateBackend = (at: Position, options: unknown): Position => {
  const noting = saidOnce(at, 'stateBackend', options)
  const said = isRecord(options) ? defined(options) : options
  return isStateBackendOptions(said) ? withSetting(noting, { stateBackend: said }) : noting
}

const withSetting = (at: Position, said: JobSettings): Position => ({
  ...at,
  graph: { ...at.graph, settings: Object.freeze({ ...at.graph.settings, ...said }) },
})

/** Notes what is wrong with calling a step: for the second time, or without options. */
const saidOnce = (at: Position, step: keyof JobSettings, options: unknown): Position =>
  noted(at, [
    ...(at.graph.settings[step] === undefined ? [] : [twice(step)]),
    ...optionProblems(step, options, undefined),
  ])

const twice = (step: keyof JobSettings): Problem => ({
  path: step,
  expected: `one call of ${step}(options)`,
  found: 'another one',
  next: 'Remove one: the second would take the place of the first.',
})

/** The position after a vertex that was joined to the stream's end. */
const joined = (at: Position, vertex: Vertex): Position => {
  const edges = at.end === undefined ? [] : [Object.freeze(edgeBetween(at.end, vertex, at))]
  return {
    graph: {
      ...at.graph,
      vertices: [...at.graph.vertices, Object.freeze(vertex)],
      edges: [...at.graph.edges, ...edges],
    },
    end: vertex,
    keyOf: undefined,
  }
}

const edgeBetween = (
  from: Vertex,
  to: Vertex,
  { keyOf, when }: Pick<Position, 'keyOf' | 'when'>,
): Edge => {
  const ends = { from: from.id, to: to.id, ...(when === undefined ? {} : { when }) }
  if (keyOf !== undefined) return { type: 'keyed', ...ends, keyOf }
  return { type: from.parallelism === to.parallelism ? 'forward' : 'rebalance', ...ends }
}

/** What encodes the records that leave a vertex. */
const codecAt = (vertex: Vertex | undefined): Actor<never, unknown, never>['emits'] | undefined => {
  if (vertex?.type === 'operator') return vertex.actor.emits
  if (vertex?.type !== 'source') return undefined
  return vertex.source.type === 'jetstream-source' ? vertex.source.accepts : undefined
}

const noted = (at: Position, problems: readonly Problem[]): Position => ({
  ...at,
  graph: { ...at.graph, problems: [...(at.graph.problems ?? []), ...problems] },
})

const refused = (
  at: Position,
  step: string,
  expected: string,
  found: unknown,
  next: string,
): Position => {
  const after = at.end === undefined ? '' : ` after ${at.end.type} ${describe(at.end.id)}`
  return noted(at, [{ path: `${step}${after}`, expected, found: describe(found), next }])
}

/** Problems of a step's options; `names` undefined: only that they are options at all. */
const optionProblems = (
  path: string,
  options: unknown,
  names: readonly string[] | undefined,
): readonly Problem[] => {
  if (options === undefined && names !== undefined) return []
  if (isRecord(options)) return names === undefined ? [] : unknownOptions(path, options, names)
  const next = 'Pass the options by name, in braces.'
  return [{ path, expected: 'an object of options', found: describe(options), next }]
}

const limitsOf = (given: unknown): Limits =>
  Object.freeze({ ...defaultLimits, ...(isRecord(given) ? defined(given) : {}) })

/** What was said: an option that is undefined was not. */
const defined = (options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.freeze(
    Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
  )

const frozen = (graph: JobGraph): JobGraph =>
  Object.freeze({
    ...graph,
    vertices: Object.freeze([...graph.vertices]),
    edges: Object.freeze([...graph.edges]),
    problems: Object.freeze([...(graph.problems ?? [])]),
  })

// The guards below look at the kind of a thing only: `validate` judges every field of it.

const hasType = (value: unknown, ...types: readonly string[]): boolean =>
  isRecord(value) && typeof value.type === 'string' && types.includes(value.type)

const isSource = (value: unknown): value is AnySource =>
  hasType(value, 'jetstream-source', 'iterable-source')

const isActor = (value: unknown): value is AnyActor => hasType(value, 'actor')

const isSink = (value: unknown): value is Extract<Vertex, { type: 'sink' }>['sink'] =>
  hasType(value, 'jetstream-sink')

const isKeyOf = (value: unknown): value is KeyOf => typeof value === 'function'

const isJobOptions = (value: unknown): value is JobOptions => isRecord(value)

const isCheckpointOptions = (value: unknown): value is CheckpointOptions => isRecord(value)

const isAgain = (value: unknown): value is When => typeof value === 'function'

const isBody = (value: unknown): value is (loop: Draft) => unknown => typeof value === 'function'

const isRestartOptions = (value: unknown): value is RestartOptions => isRecord(value)

const isStateBackendOptions = (value: unknown): value is StateBackendOptions => isRecord(value)

const stepOptions = (value: unknown): OperatorOptions & SinkOptions =>
  isStepOptions(value) ? value : {}

const isStepOptions = (value: unknown): value is OperatorOptions & SinkOptions => isRecord(value)
