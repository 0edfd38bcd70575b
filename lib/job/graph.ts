import type * as t from 'io-ts'
import type { Key } from '../protocol/ids.js'
import type { Actor, CheckpointOptions, Sink, Source } from './contracts.js'
import type { Limits } from './limits.js'

// The graph holds users' typed functions side by side, so its own element types are `unknown`:
// the builder is what proves that neighbours fit.
export type AnyActor = Actor<unknown, unknown, unknown>
export type AnySource = Source<unknown>

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

export type Edge =
  /** One to one, same parallelism: the two ends run in one process (a chain). */
  | { readonly type: 'forward'; readonly from: string; readonly to: string }
  /** Round robin. */
  | { readonly type: 'rebalance'; readonly from: string; readonly to: string }
  | {
      readonly type: 'keyed'
      readonly from: string
      readonly to: string
      readonly keyOf: (record: unknown) => Key
    }

/** Checkpointing with every default filled in. */
export interface CheckpointConfig {
  readonly intervalMs: number
  readonly mode: 'exactly-once' | 'at-least-once'
  readonly timeoutMs: number
  readonly minPauseMs: number
}

/** What is given up for speed: `strict` nothing; `process-crash` survives crashes of processes, not of hosts; `none` neither. */
export type Durability = 'strict' | 'process-crash' | 'none'

/** The dataflow of one job as plain, frozen data. */
export interface JobGraph {
  readonly name: string
  readonly vertices: readonly Vertex[]
  readonly edges: readonly Edge[]
  /** Number of key groups, fixed for the state's life. */
  readonly maxParallelism: number
  readonly checkpoint: CheckpointConfig | undefined
  readonly durability: Durability
  /** Storage of the mailboxes. */
  readonly mailboxStorage: 'memory' | 'file'
  readonly limits: Limits
}

export type { CheckpointOptions }
