/**
 * What the end of a job leaves of its checkpoints.
 *
 *              none      delete-on-cancellation   retain-on-cancellation
 *   finished   deleted   deleted                  deleted
 *   canceled   deleted   deleted                  kept
 *   failed     deleted   kept                     kept
 *   suspended  kept      kept                     kept
 *
 * Invariants
 *   RT1. Deleted is a TTL, on everything that the job has; kept is none.
 *   RT2. A job that is only stopped, or whose coordinator is gone, has not ended: nothing of it is deleted.
 *   RT3. A failed job goes on from its newest checkpoint when it is started again, as long as that is
 *        there; a finished or canceled one does not go on.
 *   RT4. Where checkpoints are incremental and overlap, a superseded one stays at least as long as an attempt
 *        may take that began before it was superseded: that attempt may build on it. One at a time, none did.
 */

/** How a job ends for good; one that is suspended does not. */
export type JobEnd = 'finished' | 'canceled' | 'failed'

/** Time to live of what a finished or canceled job leaves. */
export const endedTtlMs = 3_600_000
/** Time to live of a failed job's checkpoint that is not to be kept: a person may mend the cause. */
export const failedTtlMs = 7 * 24 * 3_600_000

/** What an end leaves behind; no `ttlMs`: all of it. */
export interface Leaving {
  readonly ttlMs?: number
  /** Whether the job goes on from it when it is started again. */
  readonly resumes: boolean
}

/** What decides how long an incremental attempt may need a checkpoint that has been superseded. */
export interface Overlap {
  readonly incremental?: boolean
  readonly maxConcurrent?: number
  readonly timeoutMs?: number
}

/**
 * How long a checkpoint that has been superseded stays, in ms. An incremental attempt that is in flight
 * may build on it, and has until its timeout (RT4).
 */
export const supersededTtlOf = (
  supersededTtlMs: number,
  { incremental = false, maxConcurrent = 1, timeoutMs = 0 }: Overlap = {},
): number =>
  incremental && maxConcurrent > 1 ? Math.max(supersededTtlMs, timeoutMs) : supersededTtlMs

/** The matrix above. */
export const leftBy = (
  status: JobEnd,
  retention: 'none' | 'delete-on-cancellation' | 'retain-on-cancellation',
): Leaving => {
  switch (status) {
    case 'finished':
      return { ttlMs: endedTtlMs, resumes: false }
    case 'canceled':
      return retention === 'retain-on-cancellation'
        ? { resumes: false }
        : { ttlMs: endedTtlMs, resumes: false }
    case 'failed':
      return retention === 'none' ? { ttlMs: failedTtlMs, resumes: true } : { resumes: true }
  }
}
