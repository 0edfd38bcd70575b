import type { Task } from 'fp-ts/lib/Task.js'
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
  /**
   * When that was asked, by the keeper's clock: how old a part was then is what counts. One whose TTL
   * has run out since may have been committed before it did.
   */
  readonly seenAt: number
}

/**
 * The coordinator's side of a store of snapshots that is not the job store: what is committed there
 * names parts that are here.
 */
export interface PartKeeper {
  /** Milliseconds since 1970, by the clock that its parts' ages are told by. */
  readonly now: () => number
  /**
   * Takes the job's parts for the job store of this identity, for good. `conflict` when they belong to
   * another one, whose checkpoints nobody here knows.
   */
  own(job: string, store: string): TaskEither<StreamError, void>
  /**
   * Takes the job's place for parts that are about to be written for a job that may never start: where
   * nothing is there, what comes is needed for so long. Where parts are, they are not made to expire.
   */
  expect(job: string, store: string, ttlMs: number): TaskEither<StreamError, void>
  /** Subtasks whose parts are not there, whole and within their TTL. */
  missing(
    job: string,
    parts: readonly StoredPart[],
    /** Parts of which it is known that no sweep removes them have no TTL. */
    committed: readonly StoredPart[],
  ): TaskEither<StreamError, readonly SubtaskId[]>
  /** Removes what is not needed, and answers how many parts that were. Others' files stay. */
  sweep(job: string, kept: PartsKept): TaskEither<StreamError, number>
  /** Says that nothing of the job is needed after so long; undefined: it is needed, as long as it is named. */
  expire(job: string, ttlMs: number | undefined): TaskEither<StreamError, void>
  /**
   * Removes what has expired of all jobs of a store that it has forgotten, and answers how many parts
   * that were. What was written later than it expired stays: it is a later life's.
   */
  sweepExpired(
    store: string,
    isForgotten: (job: string) => Task<boolean>,
  ): TaskEither<StreamError, number>
  /** Gives the job's place up, if nothing is left there. */
  leave(job: string): TaskEither<StreamError, void>
}
