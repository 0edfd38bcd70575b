/**
 * The state backend `memory`: a job's record, its checkpoints and their parts, in the coordinator's
 * process. They die with it, all together: no record outlives the state that it names.
 *
 * Invariants
 *   MC1. Only what a kept checkpoint names is held, and what may still be completed (MP1): what falls out
 *       of the kept ones goes at once, and a part that no checkpoint took, after its TTL.
 */
import { randomUUID } from 'node:crypto'
import type { JobStore, SnapshotStore } from '../../ports/job-store.js'
import type { Answer } from '../../ports/requests.js'
import { askPlainly, JobData } from './job-data.js'
import { memoryJobStore } from './job-store.js'
import { partsServer } from './parts-server.js'
import { memorySnapshotStore } from './snapshot-store.js'

/** What the memory of a coordinator takes. */
export interface CoordinatorMemoryOptions {
  readonly stateBytesMax: number
  /** Attempts that may be pending at a time. */
  readonly maxConcurrent: number
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
}

/** A job's stores in this process. */
export interface CoordinatorMemory {
  readonly store: JobStore
  readonly parts: SnapshotStore
  /** Answers workers, who write and read parts. */
  readonly answer: Answer
  /** Bytes of all parts that are held. */
  heldBytes(): number
}

/** A memory with nothing in it. */
export const coordinatorMemory = (options: CoordinatorMemoryOptions): CoordinatorMemory => {
  const { stateBytesMax, maxConcurrent, now } = options
  const clock = {
    get now() {
      return now()
    },
  }
  const data = new JobData(clock, randomUUID)
  const store = memoryJobStore(data, askPlainly)
  const parts = memorySnapshotStore(data, askPlainly)
  const heldBytes = (): number =>
    // What has expired is let go of when it is looked at.
    data.parts
      .keys()
      .flatMap(key => [...(data.parts.get(key)?.chunks.values() ?? [])])
      .reduce((sum, chunk) => sum + chunk.byteLength, 0)
  return {
    store: {
      ...store,
      commit: (claim, manifest, more) => async () => {
        const done = await store.commit(claim, manifest, { ...more, supersededTtlMs: 0 })()
        heldBytes()
        return done
      },
    },
    parts,
    answer: partsServer({
      parts,
      drop: (job, part) => {
        const key = data.names.part(job, part)
        if (data.parts.ttl(key) !== undefined) data.parts.delete(key)
      },
      stateBytesMax,
      pendingMax: maxConcurrent + 1,
    }),
    heldBytes,
  }
}
