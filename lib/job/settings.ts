/**
 * How a job is checkpointed, where its state is kept and what follows a failure: what a person
 * says, what holds where nothing was said, and the two put together.
 *
 * Names in parentheses are Flink's.
 */
import type { Limits } from './limits.js'

/**
 * What becomes of a job's completed checkpoints when it ends for good (externalized checkpoints).
 * A finished job needs none. `none`: they go, whatever the end. `delete-on-cancellation`: they stay
 * when it failed. `retain-on-cancellation`: also when it was canceled.
 */
export type Retention = 'none' | 'delete-on-cancellation' | 'retain-on-cancellation'

/** What `checkpoint` takes. Times in milliseconds. */
export interface CheckpointOptions {
  /** Base rate of periodic checkpoints. At least 10. */
  readonly intervalMs: number
  /**
   * Default `exactly-once`: a subtask aligns its inputs. `at-least-once` holds no channel back;
   * what came behind a barrier may be counted twice after a restart. A subtask with one input
   * counts once all the same.
   */
  readonly mode?: 'exactly-once' | 'at-least-once'
  /** An attempt that has not completed by then is aborted. At least 10. Default 600 000. */
  readonly timeoutMs?: number
  /** No sooner than this after a completed checkpoint. Default 0. */
  readonly minPauseMs?: number
  /** Attempts that may be pending at a time. Default 1; above 1 there is no `minPauseMs`. */
  readonly maxConcurrent?: number
  /**
   * What an attempt that came to nothing does. `fail` (default): once more than `tolerableFailures`
   * of them have followed each other, the job restarts from its latest checkpoint. `decline`: the
   * job goes on, for ever.
   */
  readonly onCheckpointError?: 'fail' | 'decline'
  /** Attempts that may come to nothing one after the other. Default 0. */
  readonly tolerableFailures?: number
  /** Default `none`. */
  readonly retention?: Retention
  /** Completed checkpoints that are kept, the newest ones. Default 1. */
  readonly numRetained?: number
  /** Whether snapshots are written beside the running actor. Default true; false is for debugging. */
  readonly async?: boolean
  /** Whether a snapshot holds only what has changed since the one before. Default false. */
  readonly incremental?: boolean
  /**
   * A snapshot of a subtask of at most so many bytes is kept in the checkpoint's manifest and not
   * written to the state backend, as long as `limits.inlineBytesMax` has room. 0 to 16 384. Default
   * 0: every one is written.
   */
  readonly inlineThresholdBytes?: number
  /**
   * Whether a worker keeps a copy of its newest snapshot, and restores from it first: in memory, and
   * in `localRecoveryFolders` where these are configured. Default false.
   */
  readonly localRecovery?: boolean
  /** Checkpoints a job with a cycle. Default false. */
  readonly force?: boolean
}

/** Checkpointing with every default filled in. */
export type CheckpointConfig = Required<CheckpointOptions>

/** What follows a failure of the job. Times in milliseconds. */
export type RestartOptions =
  /** The first failure is final. */
  | { readonly type: 'none' }
  /** So many restarts over the job's life. Defaults: 1 attempt, 1 000 ms. */
  | {
      readonly type: 'fixed-delay'
      readonly attempts?: number
      readonly delayMs?: number
    }
  /**
   * Restarts while no more than `maxFailures` lie within `perMs`. Defaults: 1 in 60 000 ms, after
   * 1 000 ms.
   */
  | {
      readonly type: 'failure-rate'
      readonly maxFailures?: number
      readonly perMs?: number
      readonly delayMs?: number
    }
  /**
   * Growing delays. Defaults: 1 000 ms to 60 000 ms, multiplier 1.5, jitter 0.1 of the delay, anew
   * after 3 600 000 ms without failure, no limit of attempts.
   */
  | {
      readonly type: 'exponential-delay'
      readonly initialMs?: number
      readonly maxMs?: number
      readonly multiplier?: number
      readonly jitter?: number
      readonly resetAfterMs?: number
      readonly attempts?: number
    }

/** Where snapshots are kept (state backend). */
export type StateBackendOptions =
  /**
   * In the coordinator; they die with it. For trying things out: a state above `stateBytesMax`
   * (default 5 242 880) is refused.
   */
  | { readonly type: 'memory'; readonly stateBytesMax?: number }
  /** In a folder that every process of the job sees. */
  | { readonly type: 'fs'; readonly folder: string }
  | { readonly type: 'redis' }

/** What was said of all this: by a job in its own code, and then by what is configured for all jobs. */
export interface JobSettings {
  readonly checkpoint?: CheckpointOptions
  readonly restart?: RestartOptions
  readonly stateBackend?: StateBackendOptions
  readonly limits?: Partial<Limits>
}

/** Checkpointing where nothing was said but the interval. */
export const checkpointDefaults: Omit<CheckpointConfig, 'intervalMs'> = {
  mode: 'exactly-once',
  timeoutMs: 600_000,
  minPauseMs: 0,
  maxConcurrent: 1,
  onCheckpointError: 'fail',
  tolerableFailures: 0,
  retention: 'none',
  numRetained: 1,
  async: true,
  incremental: false,
  inlineThresholdBytes: 0,
  localRecovery: false,
  force: false,
}

/** Checkpointing as asked for, and by default. Unknown options stay in, for `validate` to report. */
export const filledCheckpoint = (given: CheckpointOptions): CheckpointConfig => {
  const said = Object.entries(given).filter(([, value]) => value !== undefined)
  return Object.freeze({
    ...checkpointDefaults,
    intervalMs: given.intervalMs,
    ...Object.fromEntries(said),
  })
}
