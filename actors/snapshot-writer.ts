/**
 * Encodes a captured snapshot beside the running actor, and stores it.
 */
import * as E from 'fp-ts/lib/Either.js'
import { SluiceError, type StreamError, streamError } from '../lib/errors.js'
import type { Plan, Subtask } from '../lib/job/plan.js'
import type { SnapshotStore } from '../lib/ports/job-store.js'
import type { Digests, RecordCodec } from '../lib/ports/record-codec.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import type { Epoch, Generation } from '../lib/protocol/ids.js'
import { chainOf } from '../lib/protocol/increment.js'
import type { PartRef } from '../lib/protocol/manifest.js'
import { encodeSnapshot, type SectionInput } from '../lib/state/snapshot.js'
import type { Copies } from './copies.js'
import { inlinePart } from './inline-part.js'

/** What is written, and with what. */
export interface SnapshotJob {
  readonly plan: Plan
  readonly subtask: Subtask
  readonly generation: Generation
  readonly epoch: Epoch
  readonly sections: readonly SectionInput[]
  /** What a snapshot of changes builds on; undefined: nothing, it is whole. */
  readonly base: PartRef | undefined
  /** Set when nobody waits for the snapshot any more: it is given up. */
  readonly job: { readonly cancelled: boolean }
  /** Whether the report may carry the part; if so, it counts from then on (IP1). */
  readonly carries: (part: PartRef) => boolean
  /** Where a copy is kept of what was stored; undefined: nowhere. */
  readonly copies?: Copies | undefined
  readonly ports: {
    readonly snapshots: SnapshotStore
    readonly scheduler: Scheduler
    readonly codec: RecordCodec
    readonly digests: Digests
  }
}

/** One slice of encoding: after it the event loop gets its turn. */
const snapshotTurnMs = 4
const defaultTimeoutMs = 600_000

/** Why there is no snapshot. */
export interface SnapshotFailure {
  readonly error: StreamError
  /** What was captured can never be a snapshot: a restart would come to the same. */
  readonly isOfState: boolean
}

/** Encodes in slices that let the event loop breathe, then writes, unless the part is to be carried. */
export const writeSnapshot = async (
  snapshot: SnapshotJob,
): Promise<E.Either<SnapshotFailure, PartRef>> => {
  const { plan, subtask, generation, epoch, base, ports } = snapshot
  const chunks = await encoded(snapshot)
  if (E.isLeft(chunks)) return E.left({ error: chunks.left, isOfState: true })
  const part: PartRef = {
    subtask: subtask.id,
    epoch,
    generation,
    digest: ports.digests.part(chunks.right),
    chunks: chunks.right.length,
    bytes: chunks.right.reduce((sum, chunk) => sum + chunk.byteLength, 0),
    ...(base === undefined ? {} : { bases: chainOf(base) }),
  }
  if (snapshot.carries(part)) {
    const carried = inlinePart(part, chunks.right)
    // What builds on it may be in the store: a copy of the one without the other would be of no use.
    snapshot.copies?.keep(carried, chunks.right)
    return E.right(carried)
  }
  // Long enough that no part of an attempt expires before the attempt itself does (P11).
  const ttlMs = 3 * (plan.graph.checkpoint?.timeoutMs ?? defaultTimeoutMs)
  const written = await ports.snapshots.write(plan.job, part, chunks.right, ttlMs)()
  if (E.isLeft(written)) return E.left({ error: written.left, isOfState: false })
  snapshot.copies?.keep(part, chunks.right)
  return E.right(part)
}

/** What cannot be serialized, or is too large, is no defect of ours. */
const encoded = async (
  snapshot: SnapshotJob,
): Promise<E.Either<StreamError, readonly Uint8Array[]>> => {
  try {
    return await encode(snapshot)
  } catch (thrown) {
    if (thrown instanceof SluiceError) return E.left(thrown.error)
    throw thrown
  }
}

const encode = async ({
  plan,
  subtask,
  generation,
  epoch,
  sections,
  job,
  ports,
}: SnapshotJob): Promise<E.Either<StreamError, readonly Uint8Array[]>> => {
  const { limits, maxParallelism } = plan.graph
  const { keyGroups, id } = subtask
  const input = {
    job: plan.job,
    subtask: id,
    epoch,
    generation,
    maxParallelism,
    keyGroups,
    sections,
  }
  const serialize = (value: unknown): Uint8Array => {
    const bytes = ports.codec.serialize(value)
    if (E.isLeft(bytes)) throw new SluiceError(bytes.left)
    return bytes.right
  }
  const chunks: Uint8Array[] = []
  let until = ports.scheduler.now() + snapshotTurnMs
  for (const chunk of encodeSnapshot(input, serialize, limits.chunkBytesMax)) {
    chunks.push(chunk)
    if (ports.scheduler.now() < until) continue
    await new Promise<void>(resolve => ports.scheduler.defer(resolve))
    if (job.cancelled) {
      return E.left(streamError('fenced', `checkpoint ${epoch} was given up`))
    }
    until = ports.scheduler.now() + snapshotTurnMs
  }
  return E.right(chunks)
}
