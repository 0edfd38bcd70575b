/**
 * The state backend `memory`: a job's record, its checkpoints and their parts, in the coordinator's
 * process. They die with it, all together: no record outlives the state that it names.
 *
 * Invariants
 *   MC1. Only what a kept checkpoint names is held, and what may still be completed (MP1): what falls out
 *       of the kept ones goes at once, and a part that no checkpoint took, after its TTL.
 *   MC2. Where checkpoints are incremental, what falls out stays until as many have completed after it as
 *       may be in flight: each of those that were, and may build on it, has been settled by then.
 */
import { randomUUID } from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import type { JobStore, SnapshotStore } from '../../ports/job-store.js'
import type { Answer } from '../../ports/requests.js'
import { type Manifest, neededParts } from '../../protocol/manifest.js'
import { askPlainly, JobData } from './job-data.js'
import { memoryJobStore } from './job-store.js'
import { partsServer } from './parts-server.js'
import { memorySnapshotStore } from './snapshot-store.js'

/** What the memory of a coordinator takes. */
export interface CoordinatorMemoryOptions {
  readonly stateBytesMax: number
  /** Attempts that may be pending at a time. */
  readonly maxConcurrent: number
  /** Whether attempts may build on what earlier ones have stored. */
  readonly incremental: boolean
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
  const { stateBytesMax, maxConcurrent, incremental, now } = options
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
  const taken = new TakenParts(data, maxConcurrent)
  return {
    store: {
      ...store,
      commit: (claim, manifest, more) => async () => {
        const supersededTtlMs = incremental ? more.supersededTtlMs : 0
        const done = await store.commit(claim, manifest, { ...more, supersededTtlMs })()
        if (E.isRight(done) && done.right.type === 'committed') taken.committed(manifest)
        heldBytes()
        return done
      },
    },
    parts,
    answer: partsServer({
      parts,
      drop: (job, part) => {
        const key = data.names.part(job, part)
        if (data.parts.ttl(key) !== undefined && !taken.has(key)) data.parts.delete(key)
      },
      isPending: (job, part) => {
        const key = data.names.part(job, part)
        return data.parts.ttl(key) !== undefined && !taken.has(key)
      },
      stateBytesMax,
      pendingMax: maxConcurrent + 1,
    }),
    heldBytes,
  }
}

/** The parts that checkpoints have, or had a moment ago (MC2). */
class TakenParts {
  /** By key, for how many completions it has been superseded. */
  private readonly superseded = new Map<string, number>()

  constructor(
    private readonly data: JobData,
    private readonly completionsMax: number,
  ) {}

  has(key: string): boolean {
    return this.superseded.has(key)
  }

  committed(manifest: Manifest): void {
    const { names, parts } = this.data
    for (const part of neededParts(manifest)) this.superseded.set(names.part(manifest.job, part), 0)
    for (const [key, completions] of this.superseded) {
      // Without a TTL it is needed, or gone.
      const isNeeded = parts.get(key) !== undefined && parts.ttl(key) === undefined
      if (isNeeded) this.superseded.set(key, 0)
      else if (completions < this.completionsMax) this.superseded.set(key, completions + 1)
      else {
        this.superseded.delete(key)
        parts.delete(key)
      }
    }
  }
}
