/**
 * What the coordinator's steps are made of: its state, what happens to it, and what it wants done.
 */
import type { StreamError } from '../errors.js'
import type {
  AbortReason,
  CheckpointEffect,
  CheckpointRules,
  CheckpointState,
  PendingCheckpoint,
} from './checkpoint.js'
import type { CheckpointFailures } from './checkpoint-failures.js'
import type { Epoch, Generation, SubtaskId, Term, WorkerId } from './ids.js'
import type { Manifest, PartRef } from './manifest.js'
import type { Membership } from './membership.js'
import type { Beat, Orders, RequestOutcome, SubtaskState } from './messages.js'
import type { RestartStrategy, Retry } from './retry.js'

/** What the coordinator knows from the start and never changes. */
export interface CoordinatorSettings {
  readonly term: Term
  readonly jobId: string
  /** Fingerprint of the job graph. */
  readonly graph: string
  readonly subtasks: readonly SubtaskId[]
  readonly maxParallelism: number
  /** Subtasks that read sources. */
  readonly sources: ReadonlySet<SubtaskId>
  /** Every source is bounded: the job ends by itself. */
  readonly bounded: boolean
  readonly checkpoints: CheckpointRules
  /** Checkpoints that may come to nothing one after the other; undefined: any number. */
  readonly tolerableFailures: number | undefined
  /** Whether workers restore from copies of their own: then it is told who did. */
  readonly localRecovery: boolean
  readonly restart: RestartStrategy
  readonly heartbeatTimeoutMs: number
  readonly stallTimeoutMs: number
  readonly deployTimeoutMs: number
  readonly stopTimeoutMs: number
  readonly ordersEveryMs: number
}

/** What the coordinator knows of a worker, from its last beat. */
export interface WorkerState {
  readonly worker: WorkerId
  readonly pid: number
  readonly slots: number
  readonly only: readonly SubtaskId[]
  /** It has loaded the same job graph. */
  readonly fits: boolean
  /** Last known generation and subtasks of the worker. */
  readonly generation: Generation
  readonly subtasks: ReadonlyMap<SubtaskId, SubtaskState>
  readonly stopped: boolean
  /** Since when it has denied the running generation that it is assigned to. */
  readonly strayedAt: number | undefined
}

/** Which worker runs which subtask. */
export type Assignment = ReadonlyMap<SubtaskId, WorkerId>
/** How a job ends for good. */
export type EndStatus = 'finished' | 'canceled' | 'failed'

/** Where a job stands in its life. */
export type Phase =
  /** A new generation was asked for. */
  | { readonly type: 'beginning'; readonly retryAt: number | undefined }
  /** The generation exists; its mailboxes are being made, its workers gather. */
  | {
      readonly type: 'assembling'
      readonly generation: Generation
      readonly restore: Manifest | undefined
      readonly mailboxes: boolean
    }
  /** Workers restore their subtasks. */
  | {
      readonly type: 'deploying'
      readonly generation: Generation
      readonly restore: Manifest | undefined
      readonly assignment: Assignment
      readonly since: number
    }
  | {
      readonly type: 'running'
      readonly generation: Generation
      readonly restore: Manifest | undefined
      readonly assignment: Assignment
      readonly checkpoints: CheckpointState
    }
  /** The generation is dead; the next one starts at `at`. */
  | {
      readonly type: 'restarting'
      readonly generation: Generation
      readonly at: number
      readonly reason: string
    }
  /** Workers are told to let go for good. */
  | {
      readonly type: 'stopping'
      readonly generation: Generation
      readonly status: EndStatus
      readonly reason: string | undefined
      readonly since: number
      /** What had completed when the end was decided: it is still to be published. */
      readonly completed: Epoch
      readonly ending: boolean
    }
  | { readonly type: 'ended'; readonly status: EndStatus; readonly reason: string | undefined }
  /** Another coordinator owns the job. */
  | { readonly type: 'fenced'; readonly reason: string }

/** All that a coordinator knows. */
export interface CoordinatorState {
  readonly settings: CoordinatorSettings
  readonly phase: Phase
  readonly workers: ReadonlyMap<WorkerId, WorkerState>
  readonly members: Membership
  readonly retry: Retry
  readonly restarts: number
  readonly ordersDueAt: number
  /** The newest generation that the store has given us; 0: none yet. */
  readonly newest: Generation
  /** The newest checkpoint that we know to have completed; 0: none. */
  readonly completed: Epoch
  readonly failures: CheckpointFailures
  /** How requests for a checkpoint ended, by their names (Q1). */
  readonly answered: ReadonlyMap<string, RequestOutcome>
  /** Found: what this coordinator's store knows nothing of (O7). */
  readonly ahead: Ahead | undefined
}

/** A trace of orders beyond what the store has given out, in words; and when it was found. */
export interface Ahead {
  readonly what: string
  readonly since: number
}

/** Every event says when it happened, and brings one random number for jitter. */
export type CoordinatorEvent = { readonly now: number; readonly random: number } & (
  | { readonly type: 'started' }
  | { readonly type: 'tick' }
  | {
      readonly type: 'generation-begun'
      readonly generation: Generation
      readonly restore: Manifest | undefined
    }
  | { readonly type: 'generation-failed'; readonly error: StreamError }
  | { readonly type: 'mailboxes-ready'; readonly generation: Generation }
  | {
      readonly type: 'mailboxes-failed'
      readonly generation: Generation
      readonly error: StreamError
    }
  /** There were mailboxes already, of this generation or of later ones. */
  | { readonly type: 'mailboxes-ahead'; readonly stream: string }
  | { readonly type: 'beat'; readonly beat: Beat }
  | { readonly type: 'heartbeat'; readonly worker: WorkerId; readonly lagMs: number }
  | { readonly type: 'worker-exited'; readonly worker: WorkerId; readonly reason: string }
  | { readonly type: 'epoch-allocated'; readonly generation: Generation; readonly epoch: Epoch }
  | {
      readonly type: 'allocation-failed'
      readonly generation: Generation
      readonly error: StreamError
    }
  | { readonly type: 'committed'; readonly generation: Generation; readonly epoch: Epoch }
  | {
      readonly type: 'commit-refused'
      readonly generation: Generation
      readonly epoch: Epoch
      readonly reason: AbortReason
      readonly facts: string
    }
  | { readonly type: 'cancel-requested' }
  | { readonly type: 'checkpoint-requested'; readonly request: string }
  | { readonly type: 'fenced'; readonly reason: string }
  /** The store answers, and no longer knows the job or what it restores: no later try mends that. */
  | { readonly type: 'store-lost'; readonly reason: string }
  /** The store has confirmed the claim; it was asked at that time. */
  | { readonly type: 'renewed'; readonly askedAt: number }
  | { readonly type: 'job-ended' }
)

/** What the coordinator is to do; outcomes come back as events. */
export type CoordinatorEffect =
  | { readonly type: 'begin-generation' }
  | { readonly type: 'prepare-mailboxes'; readonly generation: Generation }
  | { readonly type: 'send-orders'; readonly worker: WorkerId; readonly orders: Orders }
  | { readonly type: 'allocate-epoch'; readonly generation: Generation }
  | {
      readonly type: 'commit'
      readonly generation: Generation
      readonly checkpoint: PendingCheckpoint
      readonly parts: readonly PartRef[]
    }
  | {
      readonly type: 'record-aborted'
      readonly generation: Generation
      readonly aborted: Extract<CheckpointEffect, { type: 'aborted' }>
    }
  | {
      readonly type: 'set-status'
      readonly status: 'running' | 'restarting'
      readonly reason: string | undefined
    }
  | { readonly type: 'end-job'; readonly status: EndStatus; readonly reason: string | undefined }
  | { readonly type: 'answer'; readonly request: string; readonly outcome: RequestOutcome }
  | { readonly type: 'note'; readonly note: Note }

/** How many subtasks were restored from where. */
export interface RestoredFrom {
  /** From what a process that lives on had in its memory. */
  readonly memory: number
  /** At least in part from a folder of the machine, the rest from memory. */
  readonly disk: number
  /** At least in part from the store. */
  readonly store: number
  /** From the manifest alone. Absent: none. */
  readonly manifest?: number
}

/** What people are told. */
export type Note =
  | {
      readonly type: 'generation-begun'
      readonly generation: Generation
      readonly restored: Epoch | undefined
    }
  | {
      readonly type: 'running'
      readonly generation: Generation
      /** Where subtasks were restored from, where local recovery is on; absent: none was restored. */
      readonly restored?: RestoredFrom
    }
  | { readonly type: 'worker-joined'; readonly worker: WorkerId; readonly fits: boolean }
  | { readonly type: 'worker-lost'; readonly worker: WorkerId; readonly reason: string }
  | {
      readonly type: 'failed'
      readonly generation: Generation
      readonly reason: string
      readonly delayMs: number | undefined
    }
  | {
      readonly type: 'checkpoint-completed'
      readonly epoch: Epoch
      readonly durationMs: number
      readonly bytes: number
    }
  | {
      readonly type: 'checkpoint-aborted'
      readonly epoch: Epoch
      readonly reason: AbortReason
      readonly facts: string
    }
  | { readonly type: 'store-trouble'; readonly doing: string; readonly error: StreamError }

/** A new state, and effects to perform in order. */
export type CoordinatorStep = readonly [CoordinatorState, readonly CoordinatorEffect[]]

/** The generation that a state is about; 0: none yet. */
export const generationOf = ({ phase }: CoordinatorState): Generation =>
  'generation' in phase ? phase.generation : 0
