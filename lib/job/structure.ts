/**
 * Judges how the vertices of a graph hang together.
 *
 * What only follows from another problem is not reported: a vertex behind an operator that has no
 * input is fed as soon as that one is, and where an id is used twice nobody can say which of the
 * two an edge means.
 */
import type { Edge, JobGraph, Vertex } from './graph.js'
import { describe, type Problem, quote } from './problem.js'

/** All problems of a graph's shape. */
export const structureProblems = (graph: JobGraph): readonly Problem[] => {
  const shape = shapeOf(graph)
  return [
    ...emptyProblems(graph),
    ...duplicateProblems(shape),
    ...graph.edges.flatMap(edge => edgeProblems(shape, edge)),
    ...shape.clear.flatMap(vertex => endProblems(shape, vertex)),
    ...cycleProblems(shape),
    ...loopProblems(graph),
    ...unreachableProblems(shape),
  ]
}

/** What a vertex is called in problems. */
export const labelOf = (vertex: Vertex, index: number): string => {
  const id: unknown = vertex.id
  return typeof id === 'string' && id !== ''
    ? `${vertex.type} ${quote(id)}`
    : `${vertex.type} #${index + 1}`
}

interface Shape {
  readonly vertices: readonly Vertex[]
  readonly byId: ReadonlyMap<string, readonly Vertex[]>
  /** The vertices whose ids are theirs alone. */
  readonly clear: readonly Vertex[]
  readonly inputs: ReadonlyMap<string, readonly Edge[]>
  readonly outputs: ReadonlyMap<string, readonly Edge[]>
  readonly label: (vertex: Vertex) => string
}

const shapeOf = (graph: JobGraph): Shape => {
  const byId = grouped(graph.vertices, vertex => vertex.id)
  return {
    vertices: graph.vertices,
    byId,
    clear: graph.vertices.filter(vertex => byId.get(vertex.id)?.length === 1),
    inputs: grouped(graph.edges, edge => edge.to),
    outputs: grouped(graph.edges, edge => edge.from),
    label: vertex => labelOf(vertex, graph.vertices.indexOf(vertex)),
  }
}

const grouped = <T>(items: readonly T[], keyOf: (item: T) => string): Map<string, readonly T[]> => {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}

const emptyProblems = (graph: JobGraph): readonly Problem[] =>
  graph.vertices.length > 0
    ? []
    : [
        {
          path: 'job',
          expected: 'a source',
          found: 'nothing',
          next: 'Start it with job(name).from(source).',
        },
      ]

const duplicateProblems = ({ byId }: Shape): readonly Problem[] =>
  [...byId].flatMap(([id, vertices]) => {
    const first = vertices[0]
    // A missing id is reported as such.
    if (first === undefined || vertices.length === 1 || typeof id !== 'string' || id === '')
      return []
    return [
      {
        path: `${first.type} ${quote(id)}.id`,
        expected: 'an id that nothing else in the job has',
        found: `${vertices.length} vertices with it (${vertices.map(one => one.type).join(', ')})`,
        next: vertices.some(one => one.type === 'operator')
          ? "Give one of them another id, an operator by to(actor, { id: '...' })."
          : 'Give one of them another id.',
      },
    ]
  })

const edgeLabel = (edge: Edge): string => `edge ${describe(edge.from)} → ${describe(edge.to)}`

const edgeProblems = ({ byId }: Shape, edge: Edge): readonly Problem[] => {
  const path = edgeLabel(edge)
  const unknown = [edge.from, edge.to]
    .filter(id => !byId.has(id))
    .map(id => ({
      path,
      expected: 'an edge between vertices of the job',
      found: `no vertex with the id ${describe(id)}`,
      next: 'Add the vertex, or remove the edge.',
    }))
  return [...unknown, ...keyProblems(path, edge), ...forwardProblems(byId, path, edge)]
}

const keyProblems = (path: string, edge: Edge): readonly Problem[] => {
  if (edge.type !== 'keyed' || typeof edge.keyOf === 'function') return []
  const next = 'Pass keyBy a function that takes a record and returns its key.'
  return [{ path, expected: 'a key function', found: describe(edge.keyOf), next }]
}

const forwardProblems = (byId: Shape['byId'], path: string, edge: Edge): readonly Problem[] => {
  const [from, otherFrom] = byId.get(edge.from) ?? []
  const [to, otherTo] = byId.get(edge.to) ?? []
  if (edge.type !== 'forward' || from === undefined || to === undefined) return []
  if (otherFrom !== undefined || otherTo !== undefined) return []
  if (from.parallelism === to.parallelism) return []
  return [
    {
      path,
      expected: 'a forward edge between equal parallelisms',
      found: `${describe(from.parallelism)} and ${describe(to.parallelism)}`,
      next: 'Make them equal, or make the edge a rebalance.',
    },
  ]
}

/** Problems of what a vertex has at its two ends. */
const endProblems = (shape: Shape, vertex: Vertex): readonly Problem[] => {
  const path = shape.label(vertex)
  const inputs = shape.inputs.get(vertex.id) ?? []
  const outputs = shape.outputs.get(vertex.id) ?? []
  switch (vertex.type) {
    case 'source':
      return [
        ...(inputs.length === 0 ? [] : [misplaced(path, 'no input', inputs, 'It only sends.')]),
        ...(outputs.length > 0 ? [] : [idle(path, 'Add .to(actor) or .into(sink) behind it.')]),
      ]
    case 'sink':
      return [
        ...(inputs.length > 0 ? [] : [starved(path)]),
        ...(outputs.length === 0 ? [] : [misplaced(path, 'no output', outputs, 'It only takes.')]),
      ]
    case 'operator':
      return [
        ...(inputs.length > 0 ? [] : [starved(path)]),
        ...(outputs.length > 0 || emitsNothing(vertex.actor.emits)
          ? []
          : [idle(path, 'Add .into(sink) behind it, or declare `emits: t.never`.')]),
        ...(vertex.actor.state === undefined ? [] : unkeyed(path, inputs)),
      ]
  }
}

const misplaced = (
  path: string,
  expected: string,
  edges: readonly Edge[],
  next: string,
): Problem => ({ path, expected, found: edges.map(edgeLabel).join(', '), next })

const idle = (path: string, next: string): Problem => ({
  path,
  expected: 'a vertex that takes its records',
  found: 'none',
  next,
})

const starved = (path: string): Problem => ({
  path,
  expected: 'an input',
  found: 'none',
  next: 'Join it to a source: job(name).from(source) comes before it.',
})

const unkeyed = (path: string, inputs: readonly Edge[]): readonly Problem[] =>
  inputs
    .filter(edge => edge.type !== 'keyed')
    .map(edge => ({
      path,
      expected: 'a keyed input, because the actor keeps state per key',
      found: `the ${edge.type} ${edgeLabel(edge)}`,
      next: 'Call .keyBy(record => ...) before .to(actor).',
    }))

// io-ts marks its own codec of `never`; nothing else can be told to emit nothing.
const emitsNothing = (codec: unknown): boolean =>
  typeof codec === 'object' && codec !== null && '_tag' in codec && codec._tag === 'NeverType'

/**
 * One problem per shortest cycle, so that every vertex that is on a cycle is named once at least.
 */
const cycleProblems = (shape: Shape): readonly Problem[] => {
  const named = new Set<string>()
  return shape.clear.flatMap(vertex => {
    if (named.has(vertex.id)) return []
    const cycle = cycleThrough(shape, vertex.id)
    if (cycle === undefined) return []
    for (const id of cycle) named.add(id)
    return [
      {
        path: shape.label(vertex),
        expected: 'a graph without cycles',
        found: [...cycle, vertex.id].map(describe).join(' → '),
        next: 'Remove one of these edges, or make a loop of it: .iterate({ ... }, loop => ...).',
      },
    ]
  })
}

/** What a loop costs a checkpoint, whoever asks for both is to have read. */
const loopProblems = ({ edges, checkpoint }: JobGraph): readonly Problem[] => {
  const loop = edges.find(({ type }) => type === 'feedback')
  if (loop === undefined || checkpoint === undefined || checkpoint.force) return []
  return [
    {
      path: 'checkpoint.force',
      expected: `true, because the job has a loop through ${describe(loop.to)}`,
      found: describe(checkpoint.force),
      next: 'With force: true nothing in the loop is lost: each checkpoint waits until its barrier has gone round, and holds the records that came back before it.',
    },
  ]
}

/** The ids on a shortest cycle through a vertex, from it on, over vertices with clear ids. */
const cycleThrough = (shape: Shape, start: string): readonly string[] | undefined => {
  const cameFrom = new Map<string, string>()
  const queue = [start]
  for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
    for (const { to, type } of shape.outputs.get(id) ?? []) {
      if (type === 'feedback') continue
      if (to === start) return pathTo(cameFrom, id)
      if (cameFrom.has(to) || shape.byId.get(to)?.length !== 1) continue
      cameFrom.set(to, id)
      queue.push(to)
    }
  }
  return undefined
}

const pathTo = (cameFrom: ReadonlyMap<string, string>, end: string): readonly string[] => {
  const ids = [end]
  for (let id = cameFrom.get(end); id !== undefined; id = cameFrom.get(id)) ids.unshift(id)
  return ids
}

const unreachableProblems = (shape: Shape): readonly Problem[] => {
  const clear = new Set(shape.clear)
  const roots = shape.vertices.filter(
    vertex => vertex.type === 'source' || !shape.inputs.has(vertex.id) || !clear.has(vertex),
  )
  const reached = new Set(roots.map(vertex => vertex.id))
  // A set may grow while it is walked.
  for (const id of reached) for (const { to } of shape.outputs.get(id) ?? []) reached.add(to)
  return shape.clear
    .filter(vertex => !reached.has(vertex.id))
    .map(vertex => ({
      path: shape.label(vertex),
      expected: 'a way from a source to it',
      found: 'none',
      next: 'Join it to a source, or remove it.',
    }))
}
