import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../errors.js'
import type { Epoch, SubtaskId } from '../protocol/ids.js'
import type { StoredPart } from '../protocol/manifest.js'

/** What of a job's parts is needed. */
export interface PartsKept {
  /** Parts that a kept checkpoint names: they stay. */
  readonly parts: readonly StoredPart[]
  /** The newest completed checkpoint: no later one can name another part of it or of one before it. */
  readonly newest: Epoch
  /** Parts up to `newest` that nobody names go when they are so old, whatever their TTL. */
  readonly supersededTtlMs: number
}

/**
 * The coordinator's side of a store of snapshots that is not the job store: what is committed there
 * names parts that are here.
 */
export interface PartKeeper {
  /**
   * Takes the job's parts for the job store of this identity, for good. `conflict` when they belong to
   * another one, whose checkpoints nobody here knows.
   */
  own(job: string, store: string): TaskEither<StreamError, void>
  /** Subtasks whose parts are not there, whole and within their TTL. */
  missing(
    job: string,
    parts: readonly StoredPart[],
    /** Parts that were committed before have no TTL. */
    committed: readonly StoredPart[],
  ): TaskEither<StreamError, readonly SubtaskId[]>
  /** Removes what is not needed, and answers how many parts that were. Others' files stay. */
  sweep(job: string, kept: PartsKept): TaskEither<StreamError, number>
  /** Says that nothing of the job is needed after so long; undefined: it is needed, as long as it is named. */
  expire(job: string, ttlMs: number | undefined): TaskEither<StreamError, void>
  /** Removes what has expired of all jobs of a store, and answers how many parts that were. */
  sweepExpired(store: string): TaskEither<StreamError, number>
  /** Gives the job's place up, if nothing is left there. */
  leave(job: string): TaskEither<StreamError, void>
}
