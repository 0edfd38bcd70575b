import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../errors.js'
import type { Generation, SubtaskId } from '../protocol/ids.js'
import type { StoredPart } from '../protocol/manifest.js'

/** One life of a job, from its start from nothing, or from another's checkpoint, to its end. */
export interface JobLife {
  readonly job: string
  readonly jobId: string
}

/**
 * Copies of snapshots on the disks of one machine, for whichever process runs a subtask there next. A
 * cache: all of it may go at any moment, and nothing of it is believed that does not verify.
 */
export interface CopyFolders {
  /** Keeps a copy; under its name it is whole or not there at all. */
  write(
    life: JobLife,
    part: StoredPart,
    chunks: readonly Uint8Array[],
  ): TaskEither<StreamError, void>
  /** The chunks, verified against the digest; undefined: there is no copy; an error: it is of no use. */
  read(life: JobLife, part: StoredPart): TaskEither<StreamError, readonly Uint8Array[] | undefined>
  /** Removes a copy, if it is there. */
  remove(life: JobLife, part: StoredPart): TaskEither<StreamError, void>
  /**
   * A generation begins in which these subtasks run here and restore these parts: removes what else
   * older ones have left of them, and what others, or other lives, have not touched for long. Answers
   * how many files that were.
   */
  sweep(
    life: JobLife,
    generation: Generation,
    subtasks: readonly SubtaskId[],
    needed: readonly StoredPart[],
  ): TaskEither<StreamError, number>
  /** The job is over: removes all its copies on this machine. */
  clear(life: JobLife): TaskEither<StreamError, void>
}
