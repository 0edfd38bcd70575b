import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../errors.js'
import type { Epoch, Generation, Term } from '../protocol/ids.js'
import type { Manifest, PartRef } from '../protocol/manifest.js'

/** Life of a job as people see it. The last three are terminal. */
export type JobStatus = 'running' | 'restarting' | 'finished' | 'canceled' | 'failed'

/** Proof that this coordinator owned the job at `term`; every write is checked against it. */
export interface Claim {
  readonly job: string
  readonly jobId: string
  readonly term: Term
}

/** What became of the wish to own a job. */
export type AcquireOutcome =
  | {
      readonly type: 'acquired'
      readonly claim: Claim
      readonly record: JobRecord
      readonly created: boolean
    }
  /** Another run holds the job. `leaseMs` is what is left of its lease. */
  | { readonly type: 'held'; readonly run: string; readonly leaseMs: number }
  /** The caller expects the job to exist (`mustExist`), and the store does not know it (P10). */
  | { readonly type: 'unknown' }
  /** The caller brought a checkpoint to start from, and the job has a life that may still go on. */
  | { readonly type: 'resumable'; readonly status: JobStatus }

/** All that the store knows of a job, but for its history. */
export interface JobRecord {
  readonly job: string
  readonly jobId: string
  readonly status: JobStatus
  readonly statusReason: string | undefined
  readonly createdAt: number
  readonly term: Term
  readonly generation: Generation
  /** The highest checkpoint id that was given out; 0: none. */
  readonly epoch: Epoch
  /** Fingerprint of the graph that ran last. */
  readonly graph: string
  readonly latest: Manifest | undefined
  readonly cancelRequested: boolean
  /** Undefined when no run holds the job now. */
  readonly heldBy: string | undefined
  readonly completed: number
  readonly failed: number
}

/** What became of a commit. */
export type CommitOutcome =
  | { readonly type: 'committed' }
  /** Already committed by an earlier, unanswered try of this coordinator. */
  | { readonly type: 'already-committed' }
  | { readonly type: 'parts-missing'; readonly subtasks: readonly string[] }
  | { readonly type: 'fenced'; readonly term: Term; readonly generation: Generation }
  /** A higher or equal id was committed before: this one is too late. */
  | { readonly type: 'superseded'; readonly latest: Epoch }

/** What one subtask took for a checkpoint, as it reported. */
export interface SubtaskHistory {
  readonly subtask: string
  /** Size of its state, and how much of that it wrote. */
  readonly bytes: number
  readonly writtenBytes: number
  /** How much of that is in the manifest, and in no store. Absent: nothing. */
  readonly inlineBytes?: number
  /** First barrier to last. */
  readonly alignmentMs: number
  /** Capture, while no record is processed. */
  readonly syncMs: number
  /** Encoding and writing, beside the records. */
  readonly asyncMs: number
  /** Why its worker could not keep a local copy of an earlier snapshot; said once until it can again. */
  readonly copyTrouble?: string
}

/** What one finished attempt leaves in the job's bounded history. */
export interface HistoryEntry {
  readonly epoch: Epoch
  readonly generation: Generation
  readonly status: 'completed' | 'aborted'
  readonly triggeredAt: number
  readonly durationMs: number
  /** Size of the state; of an aborted attempt, of what had been reported. */
  readonly bytes: number
  /** How much of that was written for this checkpoint. Absent in old entries. */
  readonly writtenBytes?: number
  /** How much of that is in the manifest, and in no store. Absent: nothing. */
  readonly inlineBytes?: number
  /** By subtask, those that reported. Absent in old entries. */
  readonly subtasks?: readonly SubtaskHistory[]
  readonly reason?: string
}

/** What a commit does beside completing its checkpoint. */
export interface CommitOptions {
  /** Time to live of a checkpoint that falls out of the kept ones. */
  readonly supersededTtlMs: number
  /** Completed checkpoints that are kept without a TTL, this one included. Default 1. */
  readonly numRetained?: number
  /** Parts are not in this store: it neither checks, persists nor expires them. Default false. */
  readonly partsElsewhere?: boolean
  readonly history: HistoryEntry
  readonly historyMax: number
}

/** What an end leaves behind. */
export interface EndOptions {
  readonly reason?: string
  /** After it nothing is left, neither record nor checkpoints. Absent: all of it stays. */
  readonly ttlMs?: number
  /**
   * Whether the next `acquire` goes on from the newest checkpoint, as long as it is there. Otherwise it
   * starts afresh, and checkpoints that stay are there for new jobs to start from. Default: if there
   * is no TTL.
   */
  readonly resumes?: boolean
}

/**
 * The coordinator's durable truth. Every write is one atomic, fenced step. A `timed-out` or
 * `unavailable` error means the outcome is unknown: re-read, never assume, delete nothing.
 * A fenced claim is the error `fenced`.
 */
export interface JobStore {
  acquire(request: {
    readonly job: string
    /** Identity of the run (a supervisor's life): the same run may take over from its own dead coordinator. */
    readonly run: string
    readonly leaseMs: number
    readonly graph: string
    readonly mustExist: boolean
    readonly now: number
    /**
     * The checkpoint of another job, or of an earlier life, that a new job starts from, as a checkpoint
     * of this one: its epoch is above all that were given out, its parts are written already. The new
     * job has it from its first instant. Its `jobId` is filled in here.
     */
    readonly from?: Manifest
    /** Parts of `from` are not in this store. Default false. */
    readonly partsElsewhere?: boolean
  }): TaskEither<StreamError, AcquireOutcome>
  /** Extends the lease. */
  renew(
    claim: Claim,
    run: string,
    leaseMs: number,
  ): TaskEither<StreamError, { readonly cancelRequested: boolean }>
  /** Gives the lease up, so that another run need not wait for it to expire. */
  release(claim: Claim, run: string): TaskEither<StreamError, void>
  /** Starts a new generation and reads, in the same atomic step, what it must restore. */
  beginGeneration(
    claim: Claim,
  ): TaskEither<
    StreamError,
    { readonly generation: Generation; readonly restore: Manifest | undefined }
  >
  /** Takes the next checkpoint id from the job's one durable counter (P1). */
  allocate(claim: Claim, generation: Generation): TaskEither<StreamError, Epoch>
  /**
   * The commit point (P5): checks term, generation, id order and that every part exists whole, except
   * those that the manifest itself holds; then swaps the
   * pointer, removes the TTL of the manifest and its parts, and puts `supersededTtlMs` on the checkpoints
   * that fall out of the newest `numRetained`, and on those of their parts that no kept one needs.
   */
  commit(
    claim: Claim,
    manifest: Manifest,
    options: CommitOptions,
  ): TaskEither<StreamError, CommitOutcome>
  /** Adds an aborted attempt to the history. */
  recordAborted(
    claim: Claim,
    entry: HistoryEntry,
    historyMax: number,
  ): TaskEither<StreamError, void>
  setStatus(claim: Claim, status: JobStatus, reason?: string): TaskEither<StreamError, void>
  /** Ends the job: terminal status, lease given up. Parts kept elsewhere are left to their own store. */
  end(
    claim: Claim,
    status: 'finished' | 'canceled' | 'failed',
    options: EndOptions,
  ): TaskEither<StreamError, void>
  requestCancel(job: string): TaskEither<StreamError, 'requested' | 'unknown' | 'ended'>
  describe(job: string): TaskEither<StreamError, JobRecord | undefined>
  history(job: string): TaskEither<StreamError, readonly HistoryEntry[]>
  /**
   * The completed checkpoints that are kept, newest first: of the job's present or last life, then of
   * earlier ones. Those of a job that ended with a TTL are here as long as they are there. One that
   * cannot be read is left out; with `strict` it is an error.
   */
  checkpoints(
    job: string,
    options?: { readonly strict?: boolean },
  ): TaskEither<StreamError, readonly Manifest[]>
  list(): TaskEither<StreamError, readonly JobRecord[]>
  /** Facts about the store that decide whether it may hold checkpoints. */
  durability(): TaskEither<
    StreamError,
    {
      readonly evicts: boolean
      readonly policy: string
      readonly appendOnly: boolean
      readonly fsync: string
    }
  >
}

/** Where workers put and find snapshots. Parts are immutable once written. */
export interface SnapshotStore {
  /** Writes all chunks with a TTL that is never absent, not even for an instant. */
  write(
    job: string,
    part: PartRef,
    chunks: readonly Uint8Array[],
    ttlMs: number,
  ): TaskEither<StreamError, void>
  /** Reads and verifies all chunks: `missing` when gone, `corrupt` when they do not match the digest. */
  read(job: string, part: PartRef): TaskEither<StreamError, readonly Uint8Array[]>
}
