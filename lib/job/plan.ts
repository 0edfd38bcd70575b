/**
 * The plan: the graph times parallelism, which is what actually runs.
 *
 * Invariants
 *   PL1. Every vertex is a member of exactly one chain; only forward edges join members.
 *   PL2. A chain is entered at its head only. A vertex with several inputs is therefore a head,
 *        and a forward edge into it works as a rebalance edge: alignment needs channels.
 *   PL3. The key-group ranges of a chain's subtasks cover every group exactly once.
 *   PL4. State is at the head of a chain only, since a keyed edge always starts one.
 *
 * The plan of a graph is a pure function of it: every process of a job computes its own and all get
 * the same, down to the order.
 */
import { invariant } from '../invariant.js'
import type { Key, KeyGroupRange, SubtaskId } from '../protocol/ids.js'
import { rangeOf } from '../protocol/key-group.js'
import { fingerprintOf } from './fingerprint.js'
import type { Edge, JobGraph, Vertex, When } from './graph.js'

/**
 * Vertices joined by forward edges: they run in one process by plain calls. Named by their head.
 */
export interface Chain {
  readonly id: string
  /** The head first, and every member before the members behind it. */
  readonly members: readonly Vertex[]
  /** `links[i]` joins member `i` to its successors inside the chain, by member index. */
  readonly links: readonly (readonly number[])[]
  readonly parallelism: number
  readonly inputs: readonly ChainEdge[]
  readonly outputs: readonly ChainEdge[]
}

/** An edge between two chains: becomes `from.parallelism × to.parallelism` channels. */
export interface ChainEdge {
  /** Index in the plan's `edges`; part of the channel's identity. */
  readonly index: number
  readonly from: string
  /** Index of the member of the from-chain that emits on it. */
  readonly fromMember: number
  /** The to-chain, which it enters at the head. */
  readonly to: string
  readonly partition: Partition
  /** Which records go this way; undefined: all. */
  readonly when: When | undefined
  /** Whether it leads back to the head of a loop. */
  readonly isFeedback: boolean
}

/** How the records on an edge are spread over the subtasks behind it. */
export type Partition =
  | { readonly type: 'rebalance' }
  | { readonly type: 'keyed'; readonly keyOf: (record: unknown) => Key }

/** One parallel instance of a chain. */
export interface Subtask {
  readonly id: SubtaskId
  readonly chain: string
  readonly index: number
  readonly keyGroups: KeyGroupRange
}

/** The graph times parallelism: what actually runs. */
export interface Plan {
  readonly job: string
  readonly chains: readonly Chain[]
  readonly edges: readonly ChainEdge[]
  readonly subtasks: readonly Subtask[]
  /** Equal for equal graphs. See `fingerprintOf`. */
  readonly fingerprint: string
  readonly graph: JobGraph
}

/** Plans a graph that `validate` has accepted. Any other may break an invariant. */
export const plan = (graph: JobGraph): Plan => {
  const inner = innerEdges(graph)
  const skeletons = headsOf(graph, inner).map(head => skeletonOf(graph, inner, head))
  const members = skeletons.flatMap(skeleton => skeleton.members)
  const unique = new Set(members).size === members.length
  invariant(unique && members.length === graph.vertices.length, 'PL1')
  const edges = outerEdges(graph, inner, skeletons)
  const chains = skeletons.map(({ head, members, links }) =>
    Object.freeze({
      id: head.id,
      members: Object.freeze(members),
      links: Object.freeze(links),
      parallelism: head.parallelism,
      inputs: Object.freeze(edges.filter(edge => edge.to === head.id)),
      outputs: Object.freeze(edges.filter(edge => edge.from === head.id)),
    }),
  )
  return Object.freeze({
    job: graph.name,
    chains: Object.freeze(chains),
    edges: Object.freeze(edges),
    subtasks: Object.freeze(chains.flatMap(chain => subtasksOf(chain, graph.maxParallelism))),
    fingerprint: fingerprintOf(graph),
    graph,
  })
}

/** The forward edges that join members of one chain (PL2). */
const innerEdges = (graph: JobGraph): ReadonlySet<Edge> => {
  const inputs = new Map<string, number>()
  for (const { to } of graph.edges) inputs.set(to, (inputs.get(to) ?? 0) + 1)
  return new Set(graph.edges.filter(edge => edge.type === 'forward' && inputs.get(edge.to) === 1))
}

const headsOf = (graph: JobGraph, inner: ReadonlySet<Edge>): readonly Vertex[] => {
  const inside = new Set([...inner].map(edge => edge.to))
  return graph.vertices.filter(vertex => !inside.has(vertex.id))
}

interface Skeleton {
  readonly head: Vertex
  readonly members: readonly Vertex[]
  readonly links: readonly (readonly number[])[]
}

/** The tree of forward edges below a head, level by level. */
const skeletonOf = (graph: JobGraph, inner: ReadonlySet<Edge>, head: Vertex): Skeleton => {
  const byId = new Map(graph.vertices.map(vertex => [vertex.id, vertex]))
  const members = [head]
  const links: (readonly number[])[] = []
  // The list grows while it is walked; each vertex has one input inside, so none comes twice.
  for (const member of members) {
    const own: number[] = []
    for (const edge of graph.edges) {
      const to = byId.get(edge.to)
      if (edge.from !== member.id || to === undefined || !inner.has(edge)) continue
      own.push(members.length)
      members.push(to)
    }
    links.push(Object.freeze(own))
  }
  return { head, members, links }
}

const outerEdges = (
  graph: JobGraph,
  inner: ReadonlySet<Edge>,
  skeletons: readonly Skeleton[],
): readonly ChainEdge[] => {
  const places = new Map(
    skeletons.flatMap(({ head, members }) =>
      members.map((member, index) => [member.id, { chain: head.id, index }] as const),
    ),
  )
  return graph.edges
    .filter(edge => !inner.has(edge))
    .map((edge, index) => {
      const from = places.get(edge.from)
      const to = places.get(edge.to)
      invariant(from !== undefined && to !== undefined, 'PL1', `${edge.from} → ${edge.to}`)
      invariant(to.index === 0, 'PL2', edge.to)
      const partition = Object.freeze(partitionOf(edge))
      return Object.freeze({
        index,
        from: from.chain,
        fromMember: from.index,
        to: to.chain,
        partition,
        when: edge.when,
        isFeedback: edge.type === 'feedback',
      })
    })
}

const partitionOf = (edge: Edge): Partition =>
  edge.type === 'keyed' ? { type: 'keyed', keyOf: edge.keyOf } : { type: 'rebalance' }

const subtasksOf = ({ id, parallelism }: Chain, maxParallelism: number): readonly Subtask[] =>
  Array.from({ length: parallelism }, (_, index) =>
    Object.freeze({
      id: `${id}/${index}`,
      chain: id,
      index,
      keyGroups: Object.freeze(rangeOf(index, parallelism, maxParallelism)),
    }),
  )
