/**
 * How a new job starts from a checkpoint that another one has left.
 *
 * Invariants
 *   FR1. Nothing starts unless the checkpoint is there, whole, and fits the job.
 *   FR2. The new job has a copy of its own before it exists: whatever becomes of the job that the
 *        checkpoint was taken by, and of its parts, neither needs the other any more. Nothing of that
 *        job is changed.
 *        A start that comes to nothing leaves copies that expire, whenever it was cut off.
 *   FR3. A job that runs, or that may go on, is not started from anything else.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../lib/errors.js'
import type { JobRecord, JobStore, SnapshotStore } from '../lib/ports/job-store.js'
import type { Digests } from '../lib/ports/record-codec.js'
import { type CoordinatorSettings, misfitOf } from '../lib/protocol/coordinator.js'
import type { Epoch, Generation } from '../lib/protocol/ids.js'
import { chainOf } from '../lib/protocol/increment.js'
import type { Manifest, Origin, PartRef, StoredPart } from '../lib/protocol/manifest.js'
import {
  type Claimed,
  type ClaimPorts,
  type ClaimRequest,
  claimJob,
  type EndedBefore,
  quote,
} from './claim.js'
import { inlineChunks } from './inline-part.js'

/** Who wants to own which job, and what it starts from: `<job>` or `<job>/<checkpoint>`. */
export interface FromRequest extends ClaimRequest {
  readonly from: string
  readonly graphShape: Pick<CoordinatorSettings, 'maxParallelism' | 'subtasks'>
}

/** What starting from a checkpoint needs of the world. */
export interface FromPorts extends ClaimPorts {
  readonly snapshots: SnapshotStore
  readonly digests: Digests
  /** Said before anything is written for a job that may never start: after so long nobody needs it. */
  readonly expectParts: (job: string, ttlMs: number) => TaskEither<StreamError, void>
}

type Result<A> = Promise<E.Either<StreamError, A>>

/** Until the new job owns its copies; a start that comes to nothing leaves them to it. */
const copyTtlMs = 3_600_000

/**
 * Takes a job's lease like `claimJob`, for a new life that starts from a checkpoint. A job that was
 * started from it before and has not completed a checkpoint of its own goes on: it is the same start.
 */
export const claimFrom = async (
  request: FromRequest,
  ports: FromPorts,
): Result<Claimed | EndedBefore> => {
  const { store } = ports
  const found = await store.describe(request.job)()
  if (E.isLeft(found)) return found
  const record = found.right
  const goesOn =
    record !== undefined && record.status !== 'finished' && record.status !== 'canceled'
  if (goesOn && !request.fresh) {
    return isStartedFrom(record, request.from)
      ? claimJob(request, ports)
      : E.left(resumable(record))
  }
  const source = await findCheckpoint(request.from, store)
  if (E.isLeft(source)) return source
  const misfit = misfitOf(request.graphShape, source.right)
  if (misfit !== undefined) return E.left(streamError('conflict', misfit))
  const copy = await copyOf(source.right, request.job, record?.epoch ?? 0, ports)
  return E.isLeft(copy) ? copy : claimJob({ ...request, startFrom: copy.right }, ports)
}

/** The kept checkpoint that a text names. A job may be called like a checkpoint; then it is meant. */
export const findCheckpoint = async (from: string, store: JobStore): Result<Manifest> => {
  const whole = await store.checkpoints(from)()
  if (E.isLeft(whole)) return whole
  const newest = whole.right[0]
  if (newest !== undefined) return E.right(newest)
  const { job, epoch } = parsed(from)
  if (epoch === undefined) return E.left(nothingKept(from))
  const kept = await store.checkpoints(job)()
  if (E.isLeft(kept)) return kept
  const wanted = kept.right.find(manifest => manifest.epoch === epoch)
  if (wanted !== undefined) return E.right(wanted)
  if (kept.right.length === 0) return E.left(nothingKept(job))
  const ids = kept.right.map(manifest => manifest.epoch).join(', ')
  return E.left(
    streamError('invalid', `job '${job}' keeps no checkpoint ${epoch}`, {
      next: `Choose one that it keeps: ${ids}.`,
    }),
  )
}

const parsed = (from: string): { readonly job: string; readonly epoch: Epoch | undefined } => {
  const [, job, epoch] = /^(.+)\/(\d+)$/s.exec(from) ?? []
  return job === undefined ? { job: from, epoch: undefined } : { job, epoch: Number(epoch) }
}

const nothingKept = (job: string): StreamError =>
  streamError('invalid', `this Redis keeps no checkpoint of a job '${job}'`, {
    next: "List the jobs with 'sluice status', and what one keeps with 'sluice checkpoints <job>'.",
  })

const isStartedFrom = ({ latest, completed }: JobRecord, from: string): boolean => {
  if (completed > 0 || latest?.origin === undefined) return false
  const { job, epoch } = latest.origin
  return from === job || from === `${job}/${epoch}`
}

const resumable = ({ job, status }: JobRecord): StreamError =>
  status === 'failed'
    ? streamError('conflict', `job '${job}' has failed, and goes on when it is started again`, {
        next: 'Start it without --from; or give up where it is, and keep what it has left, with --fresh.',
      })
    : streamError('conflict', `job '${job}' is ${status}, or goes on when it is started again`, {
        next: `Give the new job another name, or end this one with 'sluice cancel ${quote(job)}'.`,
      })

/** Everything that a checkpoint is made of, once more, under an id that the new job has not used. */
const copyOf = async (
  source: Manifest,
  job: string,
  used: Epoch,
  ports: FromPorts,
): Result<Manifest> => {
  const expected = await ports.expectParts(job, copyTtlMs)()
  if (E.isLeft(expected)) return expected
  const epoch = used < source.epoch ? source.epoch : used + 1
  const parts: PartRef[] = []
  for (const part of source.parts) {
    const copies: StoredPart[] = []
    for (const [before, stored] of chainOf(part).entries()) {
      // Generations of a job that runs begin at 1.
      const copy = copiedAs(source.job, stored, epoch, before === 0 ? 0 : -before)
      const done = await copyPart(source, stored, job, copy, ports)
      if (E.isLeft(done)) return done
      copies.push(copy)
    }
    const newest = copies.pop()
    if (newest !== undefined)
      parts.push(copies.length === 0 ? newest : { ...newest, bases: copies })
  }
  return E.right({ ...source, job, epoch, generation: 0, parts, origin: originOf(source) })
}

/** The part under another name; its snapshot still says who wrote it. */
const copiedAs = (
  job: string,
  part: StoredPart,
  epoch: Epoch,
  generation: Generation,
): StoredPart => {
  const { epoch: writtenFor, generation: writtenBy } = part
  const origin = part.origin ?? { job, epoch: writtenFor, generation: writtenBy }
  return { ...part, epoch, generation, origin }
}

const copyPart = async (
  source: Manifest,
  part: StoredPart,
  job: string,
  copy: StoredPart,
  { snapshots, digests }: FromPorts,
): Result<void> => {
  const inline = inlineChunks(part, digests.part)
  const chunks = inline ?? (await snapshots.read(source.job, part)())
  if (E.isLeft(chunks)) return E.left(notWhole(source, chunks.left))
  // What lies in the manifest is copied with it (IP2).
  if (inline !== undefined) return E.right(undefined)
  return snapshots.write(job, copy, chunks.right, copyTtlMs)()
}

/** A copy of a copy: what its first writer prepared may have been published by each in between. */
const originOf = ({ job, jobId, epoch, origin }: Manifest): Origin => {
  const output = origin?.output ?? { epoch, jobIds: [] }
  return { job, epoch, output: { ...output, jobIds: [...output.jobIds, jobId] } }
}

const notWhole = ({ job, epoch }: Manifest, cause: StreamError): StreamError =>
  cause.type === 'missing' || cause.type === 'corrupt'
    ? streamError(
        'conflict',
        `checkpoint ${epoch} of job '${job}' is not whole: ${cause.message}`,
        {
          next: `Choose another one: 'sluice checkpoints ${quote(job)}' lists what is kept.`,
          cause,
        },
      )
    : cause
