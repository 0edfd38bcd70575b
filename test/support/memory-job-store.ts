/** The job store of one process on a Redis in memory. Mirrors `lib/adapters/redis/scripts.ts`. */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type {
  AcquireOutcome,
  Claim,
  CommitOutcome,
  JobRecord,
  JobStore,
} from '../../lib/ports/job-store.js'
import { type Manifest, neededParts } from '../../lib/protocol/manifest.js'
import type { Answer } from './memory-broker.js'
import type { ExpiringMap } from './memory-expiring-map.js'
import { type JobMeta, type MemoryRedis, manifestKey, type Needs, partKey } from './memory-redis.js'
import type { MemoryWire } from './memory-wire.js'

type Refusal = { readonly meta: JobMeta } | { readonly error: StreamError; readonly meta?: JobMeta }

export const memoryJobStore = (redis: MemoryRedis, wire: MemoryWire): JobStore => {
  const ask = <A>(request: string, needs: Needs, step: (torn: boolean) => Answer<A>) =>
    redis.ask(wire, request, needs, step)
  /** A step under a claim: refused unless term and job id are current and the job has not ended. */
  const claimed = <A>(
    claim: Claim,
    doing: string,
    step: (meta: JobMeta) => Answer<A>,
  ): TaskEither<StreamError, A> =>
    ask(`${doing} ${claim.job}`, 'writing', () => {
      const checked = check(redis, claim)
      return 'error' in checked ? E.left(checked.error) : step(checked.meta)
    })
  return {
    acquire: request =>
      ask(`acquire ${request.job}`, 'writing', torn => acquire(redis, request, torn)),
    renew: (claim, run, leaseMs) =>
      claimed(claim, 'renew', meta => {
        const holder = redis.leases.get(claim.job)
        if (holder !== undefined && holder !== run) return E.left(fenced(claim, meta))
        redis.leases.set(claim.job, run, Math.max(1, Math.ceil(leaseMs)))
        return E.right({ cancelRequested: meta.cancel })
      }),
    release: (claim, run) =>
      ask(`release ${claim.job}`, 'writing', () => {
        const checked = check(redis, claim)
        if ('error' in checked) {
          const over = checked.meta !== undefined && checked.meta.ended !== 'no'
          return over && checked.meta.term === claim.term
            ? E.right(undefined)
            : E.left(checked.error)
        }
        if (redis.leases.get(claim.job) === run) redis.leases.delete(claim.job)
        return E.right(undefined)
      }),
    beginGeneration: claim => claimed(claim, 'begin', meta => beginGeneration(redis, claim, meta)),
    allocate: (claim, generation) =>
      claimed(claim, 'allocate', meta => {
        if (meta.generation !== generation)
          return E.left(meta.generation < generation ? behind(claim, meta) : fenced(claim, meta))
        meta.epoch += 1
        return E.right(meta.epoch)
      }),
    commit: (claim, manifest, options) =>
      ask(`commit ${claim.job}`, 'writing', () => {
        const checked = check(redis, claim)
        if (!('error' in checked)) return commit(redis, claim, checked.meta, manifest, options)
        const { meta, error } = checked
        if (meta === undefined) return E.left(error)
        return E.right({ type: 'fenced', term: meta.term, generation: meta.generation })
      }),
    recordAborted: (claim, entry, historyMax) =>
      claimed(claim, 'record-aborted', meta => {
        const known = redis.histories.get(claim.job) ?? []
        if (known.some(other => JSON.stringify(other) === JSON.stringify(entry)))
          return E.right(undefined)
        meta.failed += 1
        remember(redis.histories, claim.job, { ...entry }, historyMax)
        return E.right(undefined)
      }),
    setStatus: (claim, status, reason = '') =>
      claimed(claim, 'set-status', meta => {
        meta.status = status
        meta.reason = reason
        return E.right(undefined)
      }),
    end: (claim, status, options) =>
      ask(`end ${claim.job}`, 'writing', torn => end(redis, claim, status, options, torn)),
    requestCancel: job =>
      ask(`cancel ${job}`, 'writing', () => {
        const meta = redis.metas.get(job)
        if (meta === undefined) return E.right('unknown')
        if (meta.ended !== 'no') return E.right('ended')
        meta.cancel = true
        return E.right('requested')
      }),
    describe: job => ask(`describe ${job}`, 'data', () => describe(redis, job)),
    history: job =>
      ask(`history ${job}`, 'data', () => E.right([...(redis.histories.get(job) ?? [])])),
    // Forgets the names of jobs that are gone, which is a write.
    list: () => ask('list', 'writing', () => list(redis)),
    durability: () =>
      ask('durability', 'an answer', () =>
        E.right({ evicts: false, policy: 'noeviction', appendOnly: true, fsync: 'everysec' }),
      ),
  }
}

const quoted = (job: string): string => JSON.stringify(job)

const fenced = (claim: Claim, meta: JobMeta): StreamError =>
  streamError(
    'fenced',
    `this coordinator holds term ${claim.term} of the job ${quoted(claim.job)}, which is at term ${meta.term}, generation ${meta.generation} now`,
    { next: 'Stop this coordinator.' },
  )

const behind = ({ job, term }: Claim, meta: JobMeta): StreamError =>
  streamError(
    'lost',
    `the store is at term ${meta.term}, generation ${meta.generation} of the job ${quoted(job)}, and has given later ones to this coordinator of term ${term}: it has gone back`,
  )

const lost = (job: string, what: string): StreamError =>
  streamError('lost', `the job ${quoted(job)} has existed, and its ${what} is lost`)

const check = (redis: MemoryRedis, claim: Claim): Refusal => {
  const meta = redis.metas.get(claim.job)
  if (meta === undefined) return { error: lost(claim.job, 'record') }
  if (meta.jobId === claim.jobId && meta.term < claim.term) return { error: behind(claim, meta) }
  if (meta.term !== claim.term || meta.jobId !== claim.jobId)
    return { error: fenced(claim, meta), meta }
  if (meta.ended === 'no') return { meta }
  const text = `the job ${quoted(claim.job)} has ended (${meta.status})`
  return { error: streamError('fenced', text), meta }
}

/** Puts something in front of a bounded list, which keeps its TTL. */
const remember = <A>(
  lists: ExpiringMap<readonly A[]>,
  job: string,
  entry: A,
  max: number,
): void => {
  if (max <= 0) return
  lists.set(job, [entry, ...(lists.get(job) ?? [])].slice(0, max), lists.ttl(job))
}

const acquire = (
  redis: MemoryRedis,
  request: Parameters<JobStore['acquire']>[0],
  torn: boolean,
): Answer<AcquireOutcome> => {
  const { job, run, leaseMs, graph, mustExist, now } = request
  prune(redis)
  const holder = redis.leases.get(job)
  if (holder !== undefined && holder !== run)
    return E.right({ type: 'held', run: holder, leaseMs: redis.leases.ttl(job) ?? 0 })
  let meta = redis.metas.get(job)
  const afresh = {
    jobId: redis.newJobId(),
    createdAt: Math.floor(now),
    status: 'running',
    reason: '',
    latest: undefined,
    completed: 0,
    failed: 0,
    cancel: false,
    ended: 'no',
    fresh: true,
  } as const
  if (meta === undefined) {
    if (redis.listed.get(job) === Number.POSITIVE_INFINITY) return E.left(lost(job, 'record'))
    if (mustExist) return E.right({ type: 'unknown' })
    meta = { ...afresh, term: 0, generation: 0, epoch: 0, graph }
    redis.metas.set(job, meta)
  } else if (meta.ended === 'expires') {
    if (mustExist) return E.right({ type: 'unknown' })
    redis.metas.persist(job)
    redis.completed.delete(job)
    redis.histories.delete(job)
    Object.assign(meta, afresh)
  } else if (meta.ended === 'kept') {
    Object.assign(meta, { status: 'restarting', reason: '', cancel: false, ended: 'no' })
  }
  meta.term += 1
  meta.graph = graph
  redis.leases.set(job, run, Math.max(1, Math.ceil(leaseMs)))
  // A step of its own.
  if (!torn) redis.listed.set(job, Number.POSITIVE_INFINITY)
  const record = recordOf(redis, job, meta)
  if (E.isLeft(record)) return record
  const claim = { job, jobId: meta.jobId, term: meta.term }
  return E.right({ type: 'acquired', claim, record: record.right, created: meta.fresh })
}

/** The manifest that a record points to (P10). */
const latestOf = (redis: MemoryRedis, job: string, meta: JobMeta): Answer<Manifest | undefined> => {
  if (meta.latest === undefined)
    return meta.completed > 0 ? E.left(lost(job, 'pointer')) : E.right(undefined)
  const manifest = redis.manifests.get(manifestKey(job, meta.latest))
  return manifest === undefined ? E.left(lost(job, 'manifest')) : E.right(manifest)
}

const beginGeneration = (
  redis: MemoryRedis,
  claim: Claim,
  meta: JobMeta,
): Answer<{ readonly generation: number; readonly restore: Manifest | undefined }> => {
  const restore = latestOf(redis, claim.job, meta)
  if (E.isLeft(restore)) return restore
  meta.fresh = false
  meta.generation += 1
  return E.right({ generation: meta.generation, restore: restore.right })
}

const partsOf = (redis: MemoryRedis, job: string, epoch: number | undefined): readonly string[] => {
  const manifest = epoch === undefined ? undefined : redis.manifests.get(manifestKey(job, epoch))
  return manifest === undefined ? [] : neededParts(manifest).map(part => partKey(job, part))
}

/** The commit point (P5): nothing is written before every check has passed. */
const commit = (
  redis: MemoryRedis,
  claim: Claim,
  meta: JobMeta,
  manifest: Manifest,
  options: Parameters<JobStore['commit']>[2],
): Answer<CommitOutcome> => {
  const { job } = claim
  const { epoch } = manifest
  const { latest } = meta
  if (meta.generation < manifest.generation) return E.left(behind(claim, meta))
  if (meta.generation !== manifest.generation)
    return E.right({ type: 'fenced', term: meta.term, generation: meta.generation })
  const same = JSON.stringify(redis.manifests.get(manifestKey(job, epoch)))
  if (latest === epoch && same === JSON.stringify(manifest))
    return E.right({ type: 'already-committed' })
  if (latest !== undefined && epoch <= latest) return E.right({ type: 'superseded', latest })
  const missing = neededParts(manifest).filter(part => {
    const stored = redis.parts.get(partKey(job, part))
    return stored?.digest !== part.digest || stored.chunks.size !== part.chunks
  })
  if (missing.length > 0)
    return E.right({ type: 'parts-missing', subtasks: missing.map(part => part.subtask) })
  redis.manifests.set(manifestKey(job, epoch), JSON.parse(JSON.stringify(manifest)))
  const kept = new Set(neededParts(manifest).map(part => partKey(job, part)))
  for (const key of kept) redis.parts.persist(key)
  for (const key of partsOf(redis, job, latest))
    if (!kept.has(key)) redis.parts.expire(key, options.supersededTtlMs)
  if (latest !== undefined)
    redis.manifests.expire(manifestKey(job, latest), options.supersededTtlMs)
  meta.latest = epoch
  meta.completed += 1
  meta.epoch = Math.max(meta.epoch, epoch)
  remember(redis.completed, job, epoch, options.historyMax)
  remember(redis.histories, job, { ...options.history }, options.historyMax)
  return E.right({ type: 'committed' })
}

const end = (
  redis: MemoryRedis,
  claim: Claim,
  status: 'finished' | 'canceled' | 'failed',
  { reason = '', ttlMs }: Parameters<JobStore['end']>[2],
  torn: boolean,
): Answer<void> => {
  const { job } = claim
  const checked = check(redis, claim)
  const { meta } = checked
  if ('error' in checked) {
    const repeated =
      meta !== undefined &&
      meta.term === claim.term &&
      meta.jobId === claim.jobId &&
      meta.ended !== 'no' &&
      meta.status === status
    if (!repeated) return E.left(checked.error)
  }
  if (meta === undefined) return E.left(lost(job, 'record'))
  // A step of its own.
  if (ttlMs !== undefined) redis.listed.set(job, redis.time.now + Math.ceil(ttlMs))
  if (ttlMs !== undefined && torn) return E.right(undefined)
  redis.leases.delete(job)
  Object.assign(meta, { status, reason, ended: ttlMs === undefined ? 'kept' : 'expires' })
  if (ttlMs === undefined) return E.right(undefined)
  redis.metas.expire(job, ttlMs)
  redis.completed.expire(job, ttlMs)
  redis.histories.expire(job, ttlMs)
  if (meta.latest !== undefined) redis.manifests.expire(manifestKey(job, meta.latest), ttlMs)
  for (const key of partsOf(redis, job, meta.latest)) redis.parts.expire(key, ttlMs)
  return E.right(undefined)
}

const recordOf = (redis: MemoryRedis, job: string, meta: JobMeta): Answer<JobRecord> => {
  const latest = latestOf(redis, job, meta)
  if (E.isLeft(latest)) return latest
  return E.right({
    job,
    jobId: meta.jobId,
    status: meta.status,
    statusReason: meta.reason === '' ? undefined : meta.reason,
    createdAt: meta.createdAt,
    term: meta.term,
    generation: meta.generation,
    graph: meta.graph,
    latest: latest.right,
    cancelRequested: meta.cancel,
    heldBy: redis.leases.get(job),
    completed: meta.completed,
    failed: meta.failed,
  })
}

const describe = (redis: MemoryRedis, job: string): Answer<JobRecord | undefined> => {
  const meta = redis.metas.get(job)
  return meta === undefined ? E.right(undefined) : recordOf(redis, job, meta)
}

/** A job that cannot be described whole is listed with the reason. */
const list = (redis: MemoryRedis): Answer<readonly JobRecord[]> => {
  prune(redis)
  const records: JobRecord[] = []
  for (const job of redis.listed.keys()) {
    const described = describe(redis, job)
    const meta = redis.metas.get(job)
    if (E.isRight(described) && described.right !== undefined) records.push(described.right)
    if (E.isRight(described) || meta === undefined) continue
    const partial = { ...meta, latest: undefined, completed: 0, reason: described.left.message }
    const record = recordOf(redis, job, partial)
    if (E.isRight(record)) records.push({ ...record.right, completed: meta.completed })
  }
  return E.right(records)
}

const prune = (redis: MemoryRedis): void => {
  for (const [job, until] of redis.listed) if (until <= redis.time.now) redis.listed.delete(job)
}
