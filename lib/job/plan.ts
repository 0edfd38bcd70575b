import type { Key, KeyGroupRange, SubtaskId } from '../protocol/ids.js'
import type { JobGraph, Vertex } from './graph.js'

/** Vertices joined by forward edges: they run in one process by plain calls. Named by their head. */
export interface Chain {
  readonly id: string
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
  readonly to: string
  /** Always the head of the to-chain. */
  readonly partition:
    | { readonly type: 'rebalance' }
    | { readonly type: 'keyed'; readonly keyOf: (record: unknown) => Key }
}

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
  readonly fingerprint: string
  readonly graph: JobGraph
}
