/**
 * A job store whose parts are elsewhere: what it commits names parts that a keeper has.
 *
 *   verify the parts → commit, in the job store (the commit point, fenced) → remove what nobody names
 *
 * Invariants
 *   PE1. Nothing is committed whose parts were not there, whole, a moment before; no part can go in that
 *       moment, because it has most of its TTL left (P11) and only the sweep removes parts.
 *   PE2. The sweep goes by what the job store says after the commit, never by what this process believes:
 *       a crash, or an unknown outcome, before it loses nothing, and the next sweep removes the same (P5).
 *   PE3. A checkpoint that may still be completed has a higher id than the newest one that the sweep saw:
 *       whatever it may name is removed by its TTL only (P1, K4).
 *   PE4. Where the job store has lost what it knew, nothing is removed.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../errors.js'
import type { Claim, CommitOutcome, EndOptions, JobStore } from '../../ports/job-store.js'
import type { PartKeeper } from '../../ports/part-keeper.js'
import type { Epoch } from '../../protocol/ids.js'
import { type Manifest, neededParts, type StoredPart } from '../../protocol/manifest.js'

/** What becomes of parts that cannot be removed: told, and tried again with the next checkpoint. */
export type OnTrouble = (error: StreamError) => void

/** A job store, and what goes on beside it. */
export interface StoreWithParts extends JobStore {
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
      return store.acquire({ ...request, partsElsewhere })()
    },
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
      const missing = await missingOf(store, keeper, claim, manifest)
      if (E.isLeft(missing)) return missing
      if (missing.right.length > 0) return unlessSettled(store, claim, manifest, missing.right)
      const outcome = await store.commit(claim, manifest, { ...options, partsElsewhere: true })()
      if (E.isRight(outcome) && isDone(outcome.right)) sweeps.start(claim, options.supersededTtlMs)
      return outcome
    },
    end: (claim, status, options) => async () => {
      // What is over may be forgotten right after its end; what goes on may still change before it.
      const before = isOver(options) ? await lookAt(store, claim.job) : undefined
      const ended = await store.end(claim, status, options)()
      if (E.isLeft(ended)) return ended
      const seen = before ?? (await lookAt(store, claim.job))
      // Not in the background: this process has nothing else to do and may be gone.
      if (E.isRight(seen)) await sweepEnded(keeper, claim, options, seen.right, onTrouble)
      else onTrouble(seen.left)
      return ended
    },
    settled: sweeps.settled,
  }
}

const isDone = ({ type }: CommitOutcome): boolean =>
  type === 'committed' || type === 'already-committed'

const missingOf = async (
  store: JobStore,
  keeper: PartKeeper,
  { job }: Claim,
  manifest: Manifest,
): Work<readonly string[]> => {
  const needed = neededParts(manifest)
  const isCarried = needed.some(part => part.epoch !== manifest.epoch)
  const kept: E.Either<StreamError, readonly Manifest[]> = isCarried
    ? await store.checkpoints(job)()
    : E.right([])
  if (E.isLeft(kept)) return kept
  return keeper.missing(job, needed, partsOf(kept.right))()
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
  let others = true
  const superseded = recentlyNamed()
  const waiting = new Map<string, { readonly claim: Claim; readonly supersededTtlMs: number }>()
  let running: Promise<void> | undefined
  const run = async (): Promise<void> => {
    // A map may grow while it is walked.
    for (const [job, { claim, supersededTtlMs }] of waiting) {
      waiting.delete(job)
      const swept = await sweepOnce(store, keeper, claim, supersededTtlMs, superseded)
      if (E.isLeft(swept)) onTrouble(swept.left)
    }
    // Once in a coordinator's life, for the jobs that nobody starts again.
    const expired = others ? await keeper.sweepExpired(identity)() : undefined
    if (expired !== undefined && E.isLeft(expired)) onTrouble(expired.left)
    others = false
    running = undefined
  }
  return {
    start: (claim: Claim, supersededTtlMs: number): void => {
      waiting.set(claim.job, { claim, supersededTtlMs })
      running ??= run()
    },
    settled: async (): Promise<void> => {
      while (running !== undefined) await running
    },
  }
}

/** Parts that a checkpoint of the job named until so many milliseconds ago, as this process saw it. */
type RecentlyNamed = (
  job: string,
  named: readonly StoredPart[],
  ttlMs: number,
) => readonly StoredPart[]

/**
 * A worker that has not heard of the newest checkpoint may still build on one that it superseded: for a
 * while its parts stay, as they do in Redis.
 */
const recentlyNamed = (): RecentlyNamed => {
  const seen = new Map<
    string,
    readonly { readonly at: number; readonly parts: readonly StoredPart[] }[]
  >()
  return (job, parts, ttlMs) => {
    const at = performance.now()
    const recent = (seen.get(job) ?? []).filter(look => at - look.at < ttlMs)
    seen.set(job, [{ at, parts }, ...recent])
    return recent.flatMap(look => look.parts)
  }
}

const sweepOnce = async (
  store: JobStore,
  keeper: PartKeeper,
  { job, jobId }: Claim,
  supersededTtlMs: number,
  superseded: RecentlyNamed,
): Work<number> => {
  const checkpoints = await keptOf(store, job)
  if (E.isLeft(checkpoints)) return checkpoints
  const named = partsOf(checkpoints.right)
  const own = checkpoints.right.filter(manifest => manifest.jobId === jobId)
  return keeper.sweep(job, {
    parts: [...named, ...superseded(job, named, supersededTtlMs)],
    newest: own.reduce((newest, { epoch }) => Math.max(newest, epoch), 0),
    supersededTtlMs,
  })()
}

/** PE4: a record that is gone, or without its checkpoints, is no reason to remove any. */
const keptOf = async (store: JobStore, job: string): Work<readonly Manifest[]> => {
  const kept = await store.checkpoints(job)()
  if (E.isLeft(kept) || kept.right.length > 0) return kept
  const record = await store.describe(job)()
  if (E.isLeft(record)) return record
  return record.right === undefined
    ? E.left(streamError('missing', `there is no record of the job ${JSON.stringify(job)}`))
    : kept
}

/** With a TTL, and not to go on: nothing of this life is needed any more. */
const isOver = ({ ttlMs, resumes = false }: EndOptions): boolean => ttlMs !== undefined && !resumes

/** What the job store has of a job. */
interface Look {
  readonly kept: readonly Manifest[]
  /** The highest checkpoint id that was given out. */
  readonly epoch: Epoch
}

const lookAt = async (store: JobStore, job: string): Work<Look> => {
  const kept = await keptOf(store, job)
  if (E.isLeft(kept)) return kept
  const record = await store.describe(job)()
  if (E.isLeft(record)) return record
  return E.right({ kept: kept.right, epoch: record.right?.epoch ?? 0 })
}

/** In a folder nothing expires: what is over goes now. What earlier lives have kept is theirs. */
const sweepEnded = async (
  keeper: PartKeeper,
  { job, jobId }: Claim,
  options: EndOptions,
  { kept, epoch }: Look,
  onTrouble: OnTrouble,
): Promise<void> => {
  const { ttlMs, resumes = false } = options
  const stays = kept.filter(manifest => !isOver(options) || manifest.jobId !== jobId)
  const works: readonly TaskEither<StreamError, unknown>[] = [
    // What has a higher id was brought for the next life of the job.
    keeper.sweep(job, { parts: partsOf(stays), newest: epoch, supersededTtlMs: 0 }),
    ...(stays.length === 0 ? [keeper.leave(job)] : []),
    ...(ttlMs !== undefined && resumes ? [keeper.expire(job, ttlMs)] : []),
  ]
  for (const work of works) {
    const done = await work()
    if (E.isLeft(done)) return onTrouble(done.left)
  }
}
