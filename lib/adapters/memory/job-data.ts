/** What the stores in memory hold: a job's record, its checkpoints and their parts. */
import type * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../../errors.js'
import type { HistoryEntry, JobStatus } from '../../ports/job-store.js'
import type { Epoch, Generation, Term } from '../../protocol/ids.js'
import type { Manifest, PartRef } from '../../protocol/manifest.js'
import { type Clock, ExpiringMap } from './expiring-map.js'

/** A job's record. */
export interface JobMeta {
  jobId: string
  status: JobStatus
  reason: string
  createdAt: number
  term: Term
  generation: Generation
  epoch: Epoch
  graph: string
  latest: Epoch | undefined
  completed: number
  failed: number
  cancel: boolean
  /** Kept checkpoints, newest first; and those that earlier lives have left. */
  kept: readonly Epoch[]
  retained: readonly Epoch[]
  ended: 'no' | 'kept' | 'retained' | 'kept-expires' | 'expires'
  fresh: boolean
}

/** A part, as far as it is there. */
export interface StoredPart {
  readonly digest: string
  readonly chunks: Map<number, Uint8Array>
}

/** What a step answers. */
export type Answer<A> = E.Either<StreamError, A>

/** What a request needs of whoever serves it; steps of the job store write even when memory is full (RL5). */
export type Needs = 'an answer' | 'data' | 'writing' | 'memory'

/** Has a step done. A torn one is done by half. */
export type AskData = <A>(
  request: string,
  needs: Needs,
  step: (torn: boolean) => Answer<A>,
) => TaskEither<StreamError, A>

/** Has it done by a plain call. */
export const askPlainly: AskData = (_request, _needs, step) => async () => step(false)

/** How things are called. */
export interface DataNames {
  readonly manifest: (job: string, epoch: Epoch) => string
  readonly part: (job: string, part: Pick<PartRef, 'generation' | 'epoch' | 'subtask'>) => string
  readonly meta: (job: string) => string
  readonly lease: (job: string) => string
  readonly completed: (job: string) => string
  readonly history: (job: string) => string
}

const keyOf = (...names: readonly (string | number)[]): string => JSON.stringify(names)

/** Names that no two things share. */
export const plainNames: DataNames = {
  manifest: (job, epoch) => keyOf('manifest', job, epoch),
  part: (job, { generation, epoch, subtask }) => keyOf('part', job, generation, epoch, subtask),
  meta: job => keyOf('meta', job),
  lease: job => keyOf('lease', job),
  completed: job => keyOf('completed', job),
  history: job => keyOf('history', job),
}

/** All of it. */
export class JobData {
  readonly metas: ExpiringMap<JobMeta>
  readonly leases: ExpiringMap<string>
  readonly manifests: ExpiringMap<Manifest>
  readonly completed: ExpiringMap<readonly Epoch[]>
  readonly histories: ExpiringMap<readonly HistoryEntry[]>
  readonly parts: ExpiringMap<StoredPart>
  /** Jobs that are listed, and until when; `Infinity`: a record that is missing was lost. */
  readonly listed = new Map<string, number>()

  constructor(
    readonly time: Clock,
    readonly newJobId: () => string,
    readonly names: DataNames = plainNames,
  ) {
    this.metas = new ExpiringMap(time, names.meta, meta => ({ ...meta }))
    this.leases = new ExpiringMap(time, names.lease)
    this.manifests = new ExpiringMap(time)
    this.completed = new ExpiringMap(time, names.completed)
    this.histories = new ExpiringMap(time, names.history)
    this.parts = new ExpiringMap(time, undefined, part => ({
      ...part,
      chunks: new Map(part.chunks),
    }))
  }
}
