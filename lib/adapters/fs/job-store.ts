/**
 * A job store whose parts are elsewhere: what it commits names parts that a keeper has.
 *
 *   verify the parts → commit, in the job store (the commit point, fenced) → remove what nobody names
 *
 * Invariants
 *   PE1. Nothing is committed whose parts were not there, whole, a moment before, and none goes in that
 *       moment: sweeps of this process and its commits take turns, and what others may remove, by PE3
 *       and FK4, is nothing that a checkpoint of ours can name and that passes the look.
 *   PE2. The sweep goes by what the job store says after the commit, never by what this process believes:
 *       a crash, or an unknown outcome, before it loses nothing, and the next sweep removes the same (P5).
 *   PE3. What a checkpoint that may still be completed has written has a higher id than the newest one
 *       that the sweep saw: it is removed by its TTL only (P1, K4). What it builds on was named by a
 *       completed checkpoint of the same generation (`increment.ts`): it stays for the superseded TTL
 *       from when none named it any more. Only the owner of the job has seen those, so that who finds
 *       another term in the record removes nothing.
 *   PE4. Where the job store has lost what it knew, or cannot read all of it, nothing is removed, and that
 *       is told with every sweep.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../errors.js'
import type {
  Claim,
  CommitOutcome,
  EndOptions,
  JobRecord,
  JobStore,
} from '../../ports/job-store.js'
import type { PartKeeper } from '../../ports/part-keeper.js'
import { type Manifest, neededParts, type StoredPart } from '../../protocol/manifest.js'
import { partFile } from './layout.js'
import { defaultPatienceMs, silence, within } from './patience.js'

/** What becomes of parts that cannot be removed: told, and tried again with the next checkpoint. */
export type OnTrouble = (error: StreamError) => void

/** A job store, and what goes on beside it. */
export interface StoreWithParts extends JobStore {
  /**
   * To be called before parts are written for a job that may never start: after so long nobody needs
   * them, unless it has.
   */
  expectParts(job: string, ttlMs: number): TaskEither<StreamError, void>
  /** Resolves when nothing is being removed. */
  settled(): Promise<void>
}

type Work<A> = Promise<E.Either<StreamError, A>>

/** How long a superseded part stays where no commit has said so yet. */
const defaultSupersededTtlMs = 60_000

/** The job store, with its parts at the keeper. */
export const storeWithParts = (
  store: JobStore,
  keeper: PartKeeper,
  /** What the job store is known by: its parts are not another one's. */
  identity: string,
  onTrouble: OnTrouble,
  /** How long a sweep is waited for. */
  patienceMs = defaultPatienceMs,
): StoreWithParts => {
  const sweeps = backgroundSweeps(store, keeper, identity, onTrouble)
  return {
    ...store,
    acquire: request => async () => {
      const { job, from } = request
      const owned = await keeper.own(job, identity)()
      if (E.isLeft(owned)) return owned
      const missing = await keeper.missing(job, from === undefined ? [] : neededParts(from), [])()
      if (E.isLeft(missing)) return missing
      // Without them the job store, which has none of them, refuses to start the job; it comes first to
      // say that somebody else has the job, or that it goes on.
      const partsElsewhere = missing.right.length === 0
      const acquired = await store.acquire({ ...request, partsElsewhere })()
      if (E.isRight(acquired) && acquired.right.type === 'acquired') {
        // Until a generation begins, which asks again, the record keeps them from being removed.
        const stays = await keeper.expire(job, undefined)()
        if (E.isLeft(stays)) onTrouble(stays.left)
      }
      return acquired
    },
    expectParts: (job, ttlMs) => keeper.expect(job, identity, ttlMs),
    beginGeneration: claim => async () => {
      // The end of the life before may have left the place.
      const owned = await keeper.own(claim.job, identity)()
      if (E.isLeft(owned)) return owned
      const stays = await keeper.expire(claim.job, undefined)()
      if (E.isLeft(stays)) return stays
      const begun = await store.beginGeneration(claim)()
      if (E.isRight(begun)) sweeps.start(claim, defaultSupersededTtlMs)
      return begun
    },
    commit: (claim, manifest, options) => async () => {
      if (!(await sweeps.settledWithin(patienceMs)))
        return E.left(stillRemoving('complete a checkpoint', patienceMs))
      const missing = await missingOf(store, keeper, claim, manifest, sweeps.spared(claim.job))
      if (E.isLeft(missing)) return missing
      if (missing.right.length > 0) return unlessSettled(store, claim, manifest, missing.right)
      const outcome = await store.commit(claim, manifest, { ...options, partsElsewhere: true })()
      if (E.isRight(outcome) && isDone(outcome.right)) sweeps.start(claim, options.supersededTtlMs)
      return outcome
    },
    end: (claim, status, options) => async () => {
      // What is over may be forgotten right after its end; what goes on may still change before it.
      const before = isOver(options) ? await lookAt(store, keeper, claim.job) : undefined
      const ended = await store.end(claim, status, options)()
      if (E.isLeft(ended)) return ended
      const seen = before ?? (await lookAt(store, keeper, claim.job))
      // Not in the background: this process has nothing else to do and may be gone.
      if (E.isLeft(seen)) {
        onTrouble(seen.left)
        return ended
      }
      const swept = sweepEnded(keeper, claim, options, seen.right, onTrouble).then(() => true)
      if ((await within(swept, patienceMs)) === undefined)
        onTrouble(stillRemoving('remove all that nobody needs', patienceMs))
      return ended
    },
    settled: sweeps.settled,
  }
}

const stillRemoving = (doing: string, patienceMs: number): StreamError =>
  silence('the folder, where files are being removed,', doing, patienceMs)

const isDone = ({ type }: CommitOutcome): boolean =>
  type === 'committed' || type === 'already-committed'

const missingOf = async (
  store: JobStore,
  keeper: PartKeeper,
  { job }: Claim,
  manifest: Manifest,
  spared: readonly StoredPart[],
): Work<readonly string[]> => {
  const needed = neededParts(manifest)
  const isCarried = needed.some(part => part.epoch !== manifest.epoch)
  const kept: E.Either<StreamError, readonly Manifest[]> = isCarried
    ? await store.checkpoints(job)()
    : E.right([])
  if (E.isLeft(kept)) return kept
  return keeper.missing(job, needed, [...partsOf(kept.right), ...spared])()
}

/** What the store would say first of all: a claim that is gone, or a commit that was made before. */
const unlessSettled = async (
  store: JobStore,
  claim: Claim,
  manifest: Manifest,
  subtasks: readonly string[],
): Work<CommitOutcome> => {
  const record = await store.describe(claim.job)()
  if (E.isLeft(record)) return record
  const { right } = record
  if (right === undefined || right.jobId !== claim.jobId)
    return E.right({ type: 'parts-missing', subtasks })
  const { term, generation, latest } = right
  if (term !== claim.term || generation !== manifest.generation)
    return E.right({ type: 'fenced', term, generation })
  if (latest !== undefined && manifest.epoch < latest.epoch)
    return E.right({ type: 'superseded', latest: latest.epoch })
  return E.right({ type: 'parts-missing', subtasks })
}

const partsOf = (manifests: readonly Manifest[]): readonly StoredPart[] =>
  manifests.flatMap(neededParts)

/** One sweep at a time; one that is asked for meanwhile follows, once for each job. */
const backgroundSweeps = (
  store: JobStore,
  keeper: PartKeeper,
  identity: string,
  onTrouble: OnTrouble,
) => {
  let others: Promise<void> | undefined
  const superseded = new RecentlyNamed()
  const waiting = new Map<string, { readonly claim: Claim; readonly supersededTtlMs: number }>()
  let running: Promise<void> | undefined
  const run = async (): Promise<void> => {
    // A map may grow while it is walked.
    for (const [job, { claim, supersededTtlMs }] of waiting) {
      waiting.delete(job)
      const swept = await sweepOnce(store, keeper, claim, supersededTtlMs, superseded)
      if (E.isLeft(swept)) onTrouble(swept.left)
    }
    running = undefined
    others ??= sweepOthers()
  }
  /** Once in a coordinator's life, for the jobs that nobody starts again. No commit waits for it. */
  const sweepOthers = async (): Promise<void> => {
    const expired = await keeper.sweepExpired(identity, isForgotten)()
    if (E.isLeft(expired)) onTrouble(expired.left)
  }
  const own = async (): Promise<true> => {
    while (running !== undefined) await running
    return true
  }
  const isForgotten = (job: string) => async (): Promise<boolean> => {
    const record = await store.describe(job)()
    return E.isRight(record) && record.right === undefined
  }
  return {
    /** Parts that nobody names any more, and that no sweep of this process removes yet. */
    spared: (job: string) => superseded.of(job),
    start: (claim: Claim, supersededTtlMs: number): void => {
      waiting.set(claim.job, { claim, supersededTtlMs })
      running ??= run()
    },
    settled: async (): Promise<void> => {
      await own()
      await others
    },
    /** Whether this job's sweep is over, after so long at most. */
    settledWithin: async (ms: number): Promise<boolean> => (await within(own(), ms)) === true,
  }
}

/**
 * Parts that a checkpoint of a job named until a while ago, as this process saw it. What is being
 * taken may build on a checkpoint that was superseded meanwhile: its parts stay, as they do in Redis.
 */
class RecentlyNamed {
  readonly #jobs = new Map<string, Map<string, { part: StoredPart; goneAt: number | undefined }>>()

  /** Takes note of all that is named now, and forgets what was named for the last time so long ago. */
  look(job: string, named: readonly StoredPart[], now: number, ttlMs: number): void {
    const parts = this.#jobs.get(job) ?? new Map()
    this.#jobs.set(job, parts)
    const files = new Map(named.map(part => [partFile(part), part] as const))
    for (const [file, { part, goneAt = now }] of parts) {
      if (now - goneAt >= ttlMs) parts.delete(file)
      else parts.set(file, { part, goneAt })
    }
    for (const [file, part] of files) parts.set(file, { part, goneAt: undefined })
  }

  of(job: string): readonly StoredPart[] {
    return [...(this.#jobs.get(job)?.values() ?? [])].map(({ part }) => part)
  }
}

const sweepOnce = async (
  store: JobStore,
  keeper: PartKeeper,
  { job, jobId, term }: Claim,
  supersededTtlMs: number,
  superseded: RecentlyNamed,
): Work<number> => {
  const seen = await lookAt(store, keeper, job)
  if (E.isLeft(seen)) return seen
  const { kept, seenAt } = seen.right
  // Its new owner sweeps.
  if (seen.right.jobId !== jobId || seen.right.term !== term) return E.right(0)
  superseded.look(job, partsOf(kept), seenAt, supersededTtlMs)
  const own = kept.filter(manifest => manifest.jobId === jobId)
  return keeper.sweep(job, {
    parts: superseded.of(job),
    newest: own.reduce((newest, { epoch }) => Math.max(newest, epoch), 0),
    supersededTtlMs,
    seenAt,
  })()
}

/** With a TTL, and not to go on: nothing of this life is needed any more. */
const isOver = ({ ttlMs, resumes = false }: EndOptions): boolean => ttlMs !== undefined && !resumes

/** What the job store has of a job. */
interface Look extends Pick<JobRecord, 'jobId' | 'term' | 'epoch'> {
  readonly kept: readonly Manifest[]
  /** When that was asked, by the keeper's clock. */
  readonly seenAt: number
}

/** PE4: a record that is gone, or without its checkpoints, is no reason to remove any. */
const lookAt = async (store: JobStore, keeper: PartKeeper, job: string): Work<Look> => {
  const seenAt = keeper.now()
  const kept = await store.checkpoints(job, { strict: true })()
  if (E.isLeft(kept)) return E.left(nothingRemoved(job, kept.left))
  // Behind the checkpoints: whose term it is now, it was when they were read.
  const record = await store.describe(job)()
  if (E.isLeft(record)) return E.left(nothingRemoved(job, record.left))
  if (record.right === undefined)
    return E.left(nothingRemoved(job, streamError('missing', 'there is no record of it')))
  const { jobId, term, epoch } = record.right
  return E.right({ jobId, term, epoch, kept: kept.right, seenAt })
}

const nothingRemoved = (job: string, cause: StreamError): StreamError =>
  streamError(
    cause.type,
    `nothing is removed from the folder of the job ${JSON.stringify(job)} while what it keeps cannot be read: ${cause.message}`,
    { ...(cause.next === undefined ? {} : { next: cause.next }), cause },
  )

/** In a folder nothing expires: what is over goes now. What earlier lives have kept is theirs. */
const sweepEnded = async (
  keeper: PartKeeper,
  { job, jobId }: Claim,
  options: EndOptions,
  { kept, epoch, seenAt }: Look,
  onTrouble: OnTrouble,
): Promise<void> => {
  const { ttlMs, resumes = false } = options
  const stays = kept.filter(manifest => !isOver(options) || manifest.jobId !== jobId)
  const works: readonly TaskEither<StreamError, unknown>[] = [
    // What has a higher id was brought for the next life of the job.
    keeper.sweep(job, { parts: partsOf(stays), newest: epoch, supersededTtlMs: 0, seenAt }),
    ...(stays.length === 0 ? [keeper.leave(job)] : []),
    ...(ttlMs !== undefined && resumes ? [keeper.expire(job, ttlMs)] : []),
  ]
  for (const work of works) {
    const done = await work()
    if (E.isLeft(done)) return onTrouble(done.left)
  }
}
