/**
 * The dataflow of one job as plain, frozen data: vertices, edges and settings.
 *
 * The builder makes it, `validate` judges it, `plan` multiplies it by parallelism. Nothing here
 * runs.
 */
import type * as t from 'io-ts'
import type { Key } from '../protocol/ids.js'
import type { Actor, Sink, Source } from './contracts.js'
import type { Limits } from './limits.js'
import type { Problem } from './problem.js'
import type { CheckpointConfig, JobSettings } from './settings.js'

// The graph holds users' typed functions side by side, so its own element types are `unknown`:
// the builder is what proves that neighbours fit.
/** An actor whose types the builder has checked and the graph has forgotten. */
export type AnyActor = Actor<unknown, unknown, unknown>
/** A source whose type the builder has checked and the graph has forgotten. */
export type AnySource = Source<unknown>

/** One source, operator or sink of the graph, before parallelism. Ids are unique within a graph. */
export type Vertex =
  | {
      readonly type: 'source'
      readonly id: string
      readonly parallelism: number
      readonly source: AnySource
    }
  | {
      readonly type: 'operator'
      readonly id: string
      readonly parallelism: number
      readonly actor: AnyActor
    }
  | {
      readonly type: 'sink'
      readonly id: string
      readonly parallelism: number
      readonly sink: Sink
      /** Encodes what arrives; undefined: plain JSON. */
      readonly codec: t.Type<unknown, unknown, unknown> | undefined
    }

interface Ends {
  readonly from: string
  readonly to: string
  /** Which records go this way; left out: all. Deterministic, as `keyOf` is. */
  readonly when?: When
}

/** How records get from one vertex to the next. */
export type Edge =
  /** One to one, same parallelism: the two ends run in one process (a chain). */
  | (Ends & { readonly type: 'forward' })
  /** Round robin. */
  | (Ends & { readonly type: 'rebalance' })
  | (Ends & { readonly type: 'keyed'; readonly keyOf: KeyOf })
  /** Back to the head of a loop, round robin. */
  | (Ends & { readonly type: 'feedback' })

/** Says whether a record goes a way. */
export type When = (record: unknown) => boolean

/** Chooses a record's key. Deterministic: a replayed record must get the same key. */
export type KeyOf = (record: unknown) => Key

/**
 * What is given up for speed: `strict` nothing; `process-crash` survives crashes of processes, not
 * of hosts; `none` neither.
 */
export type Durability = 'strict' | 'process-crash' | 'none'

/** Where a job's files go. Absolute paths. */
export interface Folders {
  /** Copies of snapshots for local recovery, on each machine its own. */
  readonly localRecovery?: readonly string[]
  readonly savepoints?: string
}

/** The dataflow of one job as plain, frozen data. */
export interface JobGraph {
  readonly name: string
  readonly vertices: readonly Vertex[]
  readonly edges: readonly Edge[]
  /** Number of key groups, fixed for the state's life. */
  readonly maxParallelism: number
  readonly checkpoint: CheckpointConfig | undefined
  /** What the job's code said, and once it is configured what was said for all jobs; no defaults. */
  readonly settings: JobSettings
  /** Folders that are configured for all jobs. */
  readonly folders?: Folders
  readonly durability: Durability
  /** Storage of the mailboxes. */
  readonly mailboxStorage: 'memory' | 'file'
  readonly limits: Limits
  /** What the builder was given and could not put into the graph; `validate` reports it. */
  readonly problems?: readonly Problem[]
}

/** A finished job: what a job file exports by default. Plain data; importing it starts nothing. */
export interface Job {
  readonly type: 'job'
  readonly graph: JobGraph
}

/**
 * Whether a value is a job. Looks at the shape only, so that a job made by another copy of this
 * package is one too; whether it can run is for `validate` to say.
 */
export const isJob = (value: unknown): value is Job => {
  if (typeof value !== 'object' || value === null) return false
  if (!('type' in value) || value.type !== 'job' || !('graph' in value)) return false
  const graph = value.graph
  if (typeof graph !== 'object' || graph === null) return false
  return (
    'name' in graph &&
    'vertices' in graph &&
    Array.isArray(graph.vertices) &&
    'edges' in graph &&
    Array.isArray(graph.edges)
  )
}
