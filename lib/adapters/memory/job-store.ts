/**
 * The job store in memory: each step happens whole, in the order in which steps are asked for.
 *
 *   MJ1. It mirrors `lib/adapters/redis/scripts.ts`, step by step: one contract suite holds both.
 *   MJ2. How a step is reached is its owner's affair: in a coordinator by a plain call, in a simulated
 *       world over a wire on which it may be lost, late or done by half.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../errors.js'
import type {
  AcquireOutcome,
  Claim,
  CommitOptions,
  CommitOutcome,
  EndOptions,
  JobRecord,
  JobStore,
} from '../../ports/job-store.js'
import { type Manifest, neededParts, type StoredPart } from '../../protocol/manifest.js'
import type { ExpiringMap } from './expiring-map.js'
import type { Answer, AskData, JobData, JobMeta } from './job-data.js'

type Refusal = { readonly meta: JobMeta } | { readonly error: StreamError; readonly meta?: JobMeta }

/** A step under a claim: refused unless term and job id are current and the job has not ended. */
const claimedSteps =
  (data: JobData, ask: AskData) =>
  <A>(
    claim: Claim,
    doing: string,
    step: (meta: JobMeta) => Answer<A>,
  ): TaskEither<StreamError, A> =>
    ask(`${doing} ${claim.job}`, 'writing', () => {
      const checked = check(data, claim)
      return 'error' in checked ? E.left(checked.error) : step(checked.meta)
    })

/** A job store on data in memory. */
export const memoryJobStore = (data: JobData, ask: AskData): JobStore => {
  const claimed = claimedSteps(data, ask)
  return {
    acquire: request =>
      ask(`acquire ${request.job}`, 'writing', torn => acquire(data, request, torn)),
    renew: (claim, run, leaseMs) =>
      claimed(claim, 'renew', meta => {
        const holder = data.leases.get(claim.job)
        if (holder !== undefined && holder !== run) return E.left(fenced(claim, meta))
        data.leases.set(claim.job, run, Math.max(1, Math.ceil(leaseMs)))
        return E.right({ cancelRequested: meta.cancel })
      }),
    release: (claim, run) =>
      ask(`release ${claim.job}`, 'writing', () => {
        const checked = check(data, claim)
        if ('error' in checked) {
          const over = checked.meta !== undefined && checked.meta.ended !== 'no'
          return over && checked.meta.term === claim.term
            ? E.right(undefined)
            : E.left(checked.error)
        }
        if (data.leases.get(claim.job) === run) data.leases.delete(claim.job)
        return E.right(undefined)
      }),
    beginGeneration: claim => claimed(claim, 'begin', meta => beginGeneration(data, claim, meta)),
    allocate: (claim, generation) =>
      claimed(claim, 'allocate', meta => {
        if (meta.generation !== generation)
          return E.left(meta.generation < generation ? behind(claim, meta) : fenced(claim, meta))
        meta.epoch += 1
        return E.right(meta.epoch)
      }),
    commit: (claim, manifest, options) =>
      ask(`commit ${claim.job}`, 'writing', () => {
        const checked = check(data, claim)
        if (!('error' in checked)) return commit(data, claim, checked.meta, manifest, options)
        const { meta, error } = checked
        if (meta === undefined) return E.left(error)
        return E.right({ type: 'fenced', term: meta.term, generation: meta.generation })
      }),
    recordAborted: (claim, entry, historyMax) =>
      claimed(claim, 'record-aborted', meta => {
        const known = data.histories.get(claim.job) ?? []
        if (known.some(other => JSON.stringify(other) === JSON.stringify(entry)))
          return E.right(undefined)
        meta.failed += 1
        remember(data.histories, claim.job, { ...entry }, historyMax)
        return E.right(undefined)
      }),
    setStatus: (claim, status, reason = '') =>
      claimed(claim, 'set-status', meta => {
        meta.status = status
        meta.reason = reason
        return E.right(undefined)
      }),
    end: (claim, status, options) =>
      ask(`end ${claim.job}`, 'writing', torn => end(data, claim, status, options, torn)),
    requestCancel: job =>
      ask(`cancel ${job}`, 'writing', () => {
        const meta = data.metas.get(job)
        if (meta === undefined) return E.right('unknown')
        if (meta.ended !== 'no') return E.right('ended')
        meta.cancel = true
        return E.right('requested')
      }),
    describe: job => ask(`describe ${job}`, 'data', () => describe(data, job)),
    history: job =>
      ask(`history ${job}`, 'data', () => E.right([...(data.histories.get(job) ?? [])])),
    checkpoints: job => ask(`checkpoints ${job}`, 'data', () => E.right(keptOf(data, job))),
    // Forgets the names of jobs that are gone, which is a write.
    list: () => ask('list', 'writing', () => list(data)),
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

const check = (data: JobData, claim: Claim): Refusal => {
  const meta = data.metas.get(claim.job)
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

type AcquireRequest = Parameters<JobStore['acquire']>[0]

const acquire = (data: JobData, request: AcquireRequest, torn: boolean): Answer<AcquireOutcome> => {
  const { job, run, leaseMs, graph, from } = request
  prune(data)
  const holder = data.leases.get(job)
  if (holder !== undefined && holder !== run)
    return E.right({ type: 'held', run: holder, leaseMs: data.leases.ttl(job) ?? 0 })
  const found = data.metas.get(job)
  if (found === undefined && data.listed.get(job) === Number.POSITIVE_INFINITY)
    return E.left(lost(job, 'record'))
  const taken =
    from === undefined ? takeJob(data, request, found) : takeFrom(data, request, from, found)
  if (E.isLeft(taken)) return taken
  if ('type' in taken.right) return E.right(taken.right)
  const meta = taken.right
  meta.term += 1
  meta.graph = graph
  data.leases.set(job, run, Math.max(1, Math.ceil(leaseMs)))
  // A step of its own.
  if (!torn) data.listed.set(job, Number.POSITIVE_INFINITY)
  const record = recordOf(data, job, meta)
  if (E.isLeft(record)) return record
  const claim = { job, jobId: meta.jobId, term: meta.term }
  return E.right({ type: 'acquired', claim, record: record.right, created: meta.fresh })
}

/** A new life: it goes on counting, and knows what earlier ones have left. */
const startAfresh = (
  data: JobData,
  { job, graph, now }: AcquireRequest,
  found: JobMeta | undefined,
): JobMeta => {
  const { kept = [], retained = [], ended } = found ?? {}
  const meta: JobMeta = {
    term: found?.term ?? 0,
    generation: found?.generation ?? 0,
    epoch: found?.epoch ?? 0,
    graph,
    jobId: data.newJobId(),
    createdAt: Math.floor(now),
    status: 'running',
    reason: '',
    latest: undefined,
    kept: [],
    retained: ended === 'retained' ? [...kept, ...retained] : retained,
    completed: 0,
    failed: 0,
    cancel: false,
    ended: 'no',
    fresh: true,
  }
  data.metas.set(job, meta)
  data.completed.delete(job)
  data.histories.delete(job)
  return meta
}

const takeJob = (
  data: JobData,
  request: AcquireRequest,
  found: JobMeta | undefined,
): Answer<JobMeta | { readonly type: 'unknown' }> => {
  const { job, mustExist } = request
  const over = found?.ended === 'expires' || found?.ended === 'retained'
  if (found === undefined || over)
    return E.right(mustExist ? { type: 'unknown' } : startAfresh(data, request, found))
  if (found.ended === 'no') return E.right(found)
  if (found.ended === 'kept-expires') {
    data.metas.persist(job)
    data.completed.persist(job)
    data.histories.persist(job)
    for (const manifest of keptManifests(data, job, found.kept)) {
      data.manifests.persist(data.names.manifest(job, manifest.epoch))
      for (const part of neededParts(manifest)) data.parts.persist(data.names.part(job, part))
    }
  }
  Object.assign(found, { status: 'restarting', reason: '', cancel: false, ended: 'no' })
  return E.right(found)
}

const takeFrom = (
  data: JobData,
  request: AcquireRequest,
  from: Manifest,
  found: JobMeta | undefined,
): Answer<JobMeta | { readonly type: 'resumable'; readonly status: JobMeta['status'] }> => {
  const { job } = request
  const over = found === undefined || found.ended === 'expires' || found.ended === 'retained'
  if (!over) return E.right({ type: 'resumable', status: found.status })
  if ((found?.epoch ?? 0) >= from.epoch)
    return E.left(streamError('conflict', `the checkpoints of ${quoted(job)} have changed`))
  const parts = request.partsElsewhere === true ? [] : neededParts(from)
  const missing = missingParts(data, job, parts)
  if (missing.length > 0)
    return E.left(streamError('missing', `the parts of ${missing.join(', ')} are not there`))
  const meta = startAfresh(data, request, found)
  const { epoch } = from
  data.manifests.set(data.names.manifest(job, epoch), copied({ ...from, jobId: meta.jobId }))
  for (const part of parts) data.parts.persist(data.names.part(job, part))
  Object.assign(meta, { latest: epoch, kept: [epoch], epoch })
  return E.right(meta)
}

const copied = (manifest: Manifest): Manifest => JSON.parse(JSON.stringify(manifest))

/** Subtasks whose parts are not there, or not whole. */
const missingParts = (
  data: JobData,
  job: string,
  parts: readonly StoredPart[],
): readonly string[] =>
  parts
    .filter(part => {
      const stored = data.parts.get(data.names.part(job, part))
      return stored?.digest !== part.digest || stored.chunks.size !== part.chunks
    })
    .map(part => part.subtask)

const keptManifests = (
  data: JobData,
  job: string,
  epochs: readonly number[],
): readonly Manifest[] =>
  epochs.flatMap(epoch => data.manifests.get(data.names.manifest(job, epoch)) ?? [])

const keptOf = (data: JobData, job: string): readonly Manifest[] => {
  const meta = data.metas.get(job)
  return meta === undefined ? [] : keptManifests(data, job, [...meta.kept, ...meta.retained])
}

/** The manifest that a record points to (P10). */
const latestOf = (data: JobData, job: string, meta: JobMeta): Answer<Manifest | undefined> => {
  if (meta.latest === undefined)
    return meta.completed > 0 ? E.left(lost(job, 'pointer')) : E.right(undefined)
  const manifest = data.manifests.get(data.names.manifest(job, meta.latest))
  return manifest === undefined ? E.left(lost(job, 'manifest')) : E.right(manifest)
}

const beginGeneration = (
  data: JobData,
  claim: Claim,
  meta: JobMeta,
): Answer<{ readonly generation: number; readonly restore: Manifest | undefined }> => {
  const restore = latestOf(data, claim.job, meta)
  if (E.isLeft(restore)) return restore
  meta.fresh = false
  meta.generation += 1
  return E.right({ generation: meta.generation, restore: restore.right })
}

/** The commit point (P5): nothing is written before every check has passed. */
const commit = (
  data: JobData,
  claim: Claim,
  meta: JobMeta,
  manifest: Manifest,
  options: CommitOptions,
): Answer<CommitOutcome> => {
  const { job } = claim
  const { epoch } = manifest
  const { latest } = meta
  if (meta.generation < manifest.generation) return E.left(behind(claim, meta))
  if (meta.generation !== manifest.generation)
    return E.right({ type: 'fenced', term: meta.term, generation: meta.generation })
  const same = JSON.stringify(data.manifests.get(data.names.manifest(job, epoch)))
  if (latest === epoch && same === JSON.stringify(manifest))
    return E.right({ type: 'already-committed' })
  if (latest !== undefined && epoch <= latest) return E.right({ type: 'superseded', latest })
  const { numRetained = 1, partsElsewhere = false, supersededTtlMs } = options
  const parts = partsElsewhere ? [] : neededParts(manifest)
  const missing = missingParts(data, job, parts)
  if (missing.length > 0) return E.right({ type: 'parts-missing', subtasks: missing })
  data.manifests.set(data.names.manifest(job, epoch), copied(manifest))
  for (const part of parts) data.parts.persist(data.names.part(job, part))
  const staying = meta.kept.slice(0, Math.max(1, numRetained) - 1)
  const falling = meta.kept.slice(staying.length)
  if (!partsElsewhere) {
    const needed = [manifest, ...keptManifests(data, job, staying)]
    const keys = new Set(
      needed.flatMap(other => neededParts(other).map(part => data.names.part(job, part))),
    )
    for (const part of keptManifests(data, job, falling).flatMap(neededParts))
      if (!keys.has(data.names.part(job, part)))
        data.parts.expire(data.names.part(job, part), supersededTtlMs)
  }
  for (const old of falling) data.manifests.expire(data.names.manifest(job, old), supersededTtlMs)
  meta.kept = [epoch, ...staying]
  meta.latest = epoch
  meta.completed += 1
  meta.epoch = Math.max(meta.epoch, epoch)
  remember(data.completed, job, epoch, options.historyMax)
  remember(data.histories, job, { ...options.history }, options.historyMax)
  return E.right({ type: 'committed' })
}

const end = (
  data: JobData,
  claim: Claim,
  status: 'finished' | 'canceled' | 'failed',
  { reason = '', ttlMs, resumes = ttlMs === undefined }: EndOptions,
  torn: boolean,
): Answer<void> => {
  const { job } = claim
  const checked = check(data, claim)
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
  // Its record stays, for the sake of what earlier lives have left.
  const stays = meta.retained.length > 0
  // A step of its own.
  if (ttlMs !== undefined && !stays) data.listed.set(job, data.time.now + Math.ceil(ttlMs))
  if (ttlMs !== undefined && torn) return E.right(undefined)
  data.leases.delete(job)
  const ended =
    ttlMs === undefined ? (resumes ? 'kept' : 'retained') : resumes ? 'kept-expires' : 'expires'
  Object.assign(meta, { status, reason, ended })
  if (ttlMs === undefined) return E.right(undefined)
  if (!stays) data.metas.expire(job, ttlMs)
  data.completed.expire(job, ttlMs)
  data.histories.expire(job, ttlMs)
  for (const manifest of keptManifests(data, job, meta.kept)) {
    data.manifests.expire(data.names.manifest(job, manifest.epoch), ttlMs)
    for (const part of neededParts(manifest)) data.parts.expire(data.names.part(job, part), ttlMs)
  }
  return E.right(undefined)
}

const recordOf = (data: JobData, job: string, meta: JobMeta): Answer<JobRecord> => {
  const latest = latestOf(data, job, meta)
  if (E.isLeft(latest)) return latest
  return E.right({
    job,
    jobId: meta.jobId,
    status: meta.status,
    statusReason: meta.reason === '' ? undefined : meta.reason,
    createdAt: meta.createdAt,
    term: meta.term,
    generation: meta.generation,
    epoch: meta.epoch,
    graph: meta.graph,
    latest: latest.right,
    cancelRequested: meta.cancel,
    heldBy: data.leases.get(job),
    completed: meta.completed,
    failed: meta.failed,
  })
}

const describe = (data: JobData, job: string): Answer<JobRecord | undefined> => {
  const meta = data.metas.get(job)
  return meta === undefined ? E.right(undefined) : recordOf(data, job, meta)
}

/** A job that cannot be described whole is listed with the reason. */
const list = (data: JobData): Answer<readonly JobRecord[]> => {
  prune(data)
  const records: JobRecord[] = []
  for (const job of data.listed.keys()) {
    const described = describe(data, job)
    const meta = data.metas.get(job)
    if (E.isRight(described) && described.right !== undefined) records.push(described.right)
    if (E.isRight(described) || meta === undefined) continue
    const partial = { ...meta, latest: undefined, completed: 0, reason: described.left.message }
    const record = recordOf(data, job, partial)
    if (E.isRight(record)) records.push({ ...record.right, completed: meta.completed })
  }
  return E.right(records)
}

const prune = (data: JobData): void => {
  for (const [job, until] of data.listed) if (until <= data.time.now) data.listed.delete(job)
}
