/**
 * Judges whether records come to a sink in the same order whenever they are replayed, which an idempotent
 * sink relies on.
 *
 * They do if each subtask on the way reads one channel: a source has one reader, a channel keeps its
 * order, and what one subtask emits is decided by what it reads. Where several channels meet, their
 * records come as they happen to come.
 */
import type { Edge, JobGraph, Vertex } from './graph.js'
import type { Problem } from './problem.js'
import { labelOf } from './structure.js'

/** The problems of all idempotent sinks of a graph. */
export const replayOrderProblems = (graph: JobGraph): readonly Problem[] =>
  graph.vertices.flatMap((vertex, index) => {
    if (vertex.type !== 'sink' || vertex.sink.delivery !== 'idempotent') return []
    const path = `${labelOf(vertex, index)}.delivery`
    if (graph.checkpoint === undefined) {
      const next = "Add .checkpoint({ intervalMs: 1000 }), or leave 'delivery' out."
      return [
        { path, expected: 'a job with checkpoints for idempotent delivery', found: 'none', next },
      ]
    }
    const found = mixedOrder(graph, vertex.id)
    if (found === undefined) return []
    const expected = 'one channel into every subtask before an idempotent sink'
    const next =
      "Let records meet behind the sink, on its stream; or leave 'delivery' out, and they are published with their checkpoint."
    return [{ path, expected, found, next }]
  })

/** Where records may come in another order on their way to a vertex; undefined: nowhere. */
export const mixedOrder = (graph: JobGraph, id: string): string | undefined => {
  const byId = new Map(graph.vertices.map(vertex => [vertex.id, vertex]))
  const seen = new Set<string>()
  for (let at = byId.get(id); at !== undefined && at.type !== 'source'; ) {
    const inputs = graph.edges.filter(edge => edge.to === at?.id)
    const [input] = inputs
    const from = input === undefined ? undefined : byId.get(input.from)
    // A graph that is wrong otherwise is reported elsewhere.
    if (input === undefined || from === undefined || seen.has(at.id)) return undefined
    const found = inputs.length > 1 ? `${inputs.length} inputs` : mixedBy(input, from, at)
    if (found !== undefined) return `${found} of ${labelOf(at, graph.vertices.indexOf(at))}`
    seen.add(at.id)
    at = from
  }
  return undefined
}

const mixedBy = (edge: Edge, from: Vertex, to: Vertex): string | undefined => {
  if (edge.type === 'forward') return undefined
  if (from.parallelism > 1) return `${from.parallelism} channels into each subtask`
  // Whose turn it is depends on when the job was restarted.
  return edge.type === 'rebalance' && to.parallelism > 1
    ? `a turn of ${to.parallelism} subtasks`
    : undefined
}
