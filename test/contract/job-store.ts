/** The contract of `JobStore`: what every implementation must do. Rules P1, P5, P8–P10 by number. */
import test, { type ExecutionContext } from 'ava'
import type { StreamError } from '../../lib/errors.js'
import type { Claim, JobStore } from '../../lib/ports/job-store.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import {
  acquire,
  begin,
  claimOf,
  commitOptions,
  complete,
  historyOf,
  hostileNames,
  jobName,
  left,
  manifestOf,
  partOf,
  randomChunks,
  right,
  type Stores,
  storeParts,
} from './snapshots.js'

type Open = (t: ExecutionContext) => Promise<Stores>
type Fact = (name: string, check: (t: ExecutionContext, stores: Stores) => Promise<void>) => void

/** Registers the tests for the implementation that `open` gives. */
export const jobStoreContract = (title: string, open: Open): void => {
  const fact: Fact = (name, check) => test(`${title}: ${name}`, async t => check(t, await open(t)))
  ownership(fact)
  counters(fact)
  commits(fact)
  endings(fact)
  views(fact)
}

const ownership = (fact: Fact): void => {
  fact('a new job starts at term 1 with nothing to restore', async (t, stores) => {
    const job = jobName()
    const { claim, record, created, generation, restore } = await begin(t, stores, job)
    t.like(claim, { job, term: 1 })
    t.true(created)
    t.deepEqual(record, {
      job,
      jobId: claim.jobId,
      status: 'running',
      statusReason: undefined,
      createdAt: 1_700_000_000_000,
      term: 1,
      generation: 0,
      graph: 'graph-1',
      latest: undefined,
      cancelRequested: false,
      heldBy: 'run-a',
      completed: 0,
      failed: 0,
    })
    t.is(generation, 1)
    t.is(restore, undefined)
  })

  fact('P10: a job that must exist and does not is unknown, and is not made', async (t, stores) => {
    const job = jobName()
    t.deepEqual(await right(t, acquire(stores, job, { mustExist: true })), { type: 'unknown' })
    t.is(await right(t, stores.jobs.describe(job)), undefined)
  })

  fact('a job held by another run is refused with the rest of the lease', async (t, stores) => {
    const job = jobName()
    await claimOf(t, stores, job, { run: 'run-a', leaseMs: 60_000 })
    const outcome = await right(t, acquire(stores, job, { run: 'run-b' }))
    if (outcome.type !== 'held') return t.fail(outcome.type)
    t.is(outcome.run, 'run-a')
    t.true(outcome.leaseMs > 50_000 && outcome.leaseMs <= 60_000, `${outcome.leaseMs}`)
  })

  fact('P9: the same run takes over at once, and its old claim is refused', async (t, stores) => {
    const job = jobName()
    const old = await begin(t, stores, job)
    const manifest = await complete(t, stores, old.claim, old.generation)
    const epoch = await right(t, stores.jobs.allocate(old.claim, old.generation))
    const parts = await storeParts(t, stores, job, epoch, old.generation)
    const next = await claimOf(t, stores, job)
    t.false(next.created)
    t.is(next.claim.jobId, old.claim.jobId)
    t.is(next.claim.term, old.claim.term + 1)
    const late = manifestOf(old.claim, epoch, old.generation, parts)
    await refusedEverywhere(t, stores, old.claim, 'run-a', old.generation)
    const options = commitOptions(epoch, old.generation)
    t.deepEqual(await right(t, stores.jobs.commit(old.claim, late, options)), {
      type: 'fenced',
      term: 2,
      generation: 1,
    })
    const record = await right(t, stores.jobs.describe(job))
    t.like(record, { status: 'running', heldBy: 'run-a', generation: 1, completed: 1, failed: 0 })
    t.deepEqual(record?.latest, manifest)
  })

  fact('P9: an expired lease lets another run take over', async (t, stores) => {
    const job = jobName()
    const old = await begin(t, stores, job, { run: 'run-a', leaseMs: 30 })
    await stores.elapse(40)
    t.is((await right(t, stores.jobs.describe(job)))?.heldBy, undefined)
    const next = await claimOf(t, stores, job, { run: 'run-b' })
    t.is(next.claim.term, 2)
    await refusedEverywhere(t, stores, old.claim, 'run-a', old.generation)
    t.is((await right(t, stores.jobs.describe(job)))?.heldBy, 'run-b')
  })

  fact('a lease that is renewed outlives its first term of life', async (t, stores) => {
    const job = jobName()
    const { claim } = await claimOf(t, stores, job, { leaseMs: 1_000 })
    await right(t, stores.jobs.renew(claim, 'run-a', 60_000))
    const outcome = await right(t, acquire(stores, job, { run: 'run-b' }))
    t.true(outcome.type === 'held' && outcome.leaseMs > 1_000)
  })

  fact(
    'a lease that expired and that nobody took is taken again by renewing',
    async (t, stores) => {
      const job = jobName()
      const { claim } = await claimOf(t, stores, job, { leaseMs: 20 })
      await stores.elapse(30)
      t.deepEqual(await right(t, stores.jobs.renew(claim, 'run-a', 60_000)), {
        cancelRequested: false,
      })
      t.is((await right(t, acquire(stores, job, { run: 'run-b' }))).type, 'held')
    },
  )

  fact('a released job is free at once, and releasing can be repeated', async (t, stores) => {
    const job = jobName()
    const { claim } = await claimOf(t, stores, job)
    await right(t, stores.jobs.release(claim, 'run-a'))
    await right(t, stores.jobs.release(claim, 'run-a'))
    t.is((await claimOf(t, stores, job, { run: 'run-b' })).claim.term, 2)
    await left(t, 'fenced', stores.jobs.release(claim, 'run-a'))
    t.is((await right(t, stores.jobs.describe(job)))?.heldBy, 'run-b')
  })

  fact('a job stays new until its first generation begins', async (t, stores) => {
    const job = jobName()
    await claimOf(t, stores, job)
    // The reply of the first acquire was lost: the second must still say what the first one did.
    t.true((await claimOf(t, stores, job)).created)
    await begin(t, stores, job)
    t.false((await claimOf(t, stores, job)).created)
  })

  fact('hostile names reach only their own job', async (t, stores) => {
    const suffix = jobName('')
    const names = hostileNames.map(name => `${name}${suffix}`)
    const latest = new Map<string, Manifest>()
    for (const name of names) {
      const { claim, generation } = await begin(t, stores, name, { graph: `graph of ${name}` })
      latest.set(name, await complete(t, stores, claim, generation))
    }
    for (const name of names) {
      const record = await right(t, stores.jobs.describe(name))
      t.like(record, { job: name, graph: `graph of ${name}`, term: 1, completed: 1 })
      t.deepEqual(record?.latest, latest.get(name))
    }
    const listed = (await right(t, stores.jobs.list())).map(({ job }) => job)
    t.deepEqual(listed.filter(job => names.includes(job)).sort(), [...names].sort())
  })
}

const counters = (fact: Fact): void => {
  fact('P1: ids are never used twice, over generations, terms and ends', async (t, stores) => {
    const { jobs } = stores
    const job = jobName()
    const epochs: number[] = []
    const generations: number[] = []
    const terms: number[] = []
    const ends = [undefined, {}, { ttlMs: 600_000 }, undefined, { ttlMs: 600_000 }]
    for (const end of ends) {
      const { claim, generation } = await begin(t, stores, job)
      const again = await right(t, jobs.beginGeneration(claim))
      terms.push(claim.term)
      generations.push(generation, again.generation)
      epochs.push(await right(t, jobs.allocate(claim, again.generation)))
      epochs.push((await complete(t, stores, claim, again.generation)).epoch)
      if (end !== undefined) await right(t, jobs.end(claim, 'finished', end))
    }
    t.deepEqual(epochs, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    t.deepEqual(generations, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    t.deepEqual(terms, [1, 2, 3, 4, 5])
  })

  fact('P8: an older generation gets no id and commits nothing', async (t, stores) => {
    const { jobs } = stores
    const { claim, generation } = await begin(t, stores, jobName())
    const epoch = await right(t, jobs.allocate(claim, generation))
    const parts = await storeParts(t, stores, claim.job, epoch, generation)
    await right(t, jobs.beginGeneration(claim))
    await left(t, 'fenced', jobs.allocate(claim, generation))
    const manifest = manifestOf(claim, epoch, generation, parts)
    t.deepEqual(await right(t, jobs.commit(claim, manifest, commitOptions(epoch, generation))), {
      type: 'fenced',
      term: 1,
      generation: 2,
    })
    t.is((await right(t, jobs.describe(claim.job)))?.latest, undefined)
  })
}

const commits = (fact: Fact): void => {
  fact('a committed checkpoint is what the next generation restores', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    await complete(t, stores, claim, generation)
    const second = await complete(t, stores, claim, generation)
    const next = await right(t, stores.jobs.beginGeneration(claim))
    t.deepEqual(next, { generation: 2, restore: second })
    t.like(await right(t, stores.jobs.describe(claim.job)), { completed: 2, failed: 0 })
    t.deepEqual(await right(t, stores.jobs.history(claim.job)), [
      historyOf(2, generation),
      historyOf(1, generation),
    ])
  })

  fact('P5: a repeated commit is known as committed, and counts once', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const manifest = await complete(t, stores, claim, generation)
    const options = commitOptions(manifest.epoch, generation)
    const repeated = await right(t, stores.jobs.commit(claim, manifest, options))
    t.deepEqual(repeated, { type: 'already-committed' })
    t.is((await right(t, stores.jobs.describe(claim.job)))?.completed, 1)
    t.is((await right(t, stores.jobs.history(claim.job))).length, 1)
  })

  fact('P5: an id that is not above the latest is too late', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const slow = await right(t, stores.jobs.allocate(claim, generation))
    const latest = await complete(t, stores, claim, generation)
    for (const epoch of [slow, latest.epoch]) {
      const parts = await storeParts(t, stores, claim.job, epoch, generation, ['other/0'])
      const late = manifestOf(claim, epoch, generation, parts)
      const options = commitOptions(epoch, generation)
      const outcome = await right(t, stores.jobs.commit(claim, late, options))
      t.deepEqual(outcome, { type: 'superseded', latest: latest.epoch })
    }
    t.deepEqual((await right(t, stores.jobs.describe(claim.job)))?.latest, latest)
  })

  fact('P5: a checkpoint whose parts are not all there is refused', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const first = await complete(t, stores, claim, generation)
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const [whole] = await storeParts(t, stores, claim.job, epoch, generation, ['whole/0'])
    const [short] = await storeParts(t, stores, claim.job, epoch, generation, ['short/0'])
    const [other] = await storeParts(t, stores, claim.job, epoch, generation, ['other/0'])
    if (whole === undefined || short === undefined || other === undefined) return t.fail()
    const manifest = manifestOf(claim, epoch, generation, [
      whole,
      { ...short, chunks: 3 },
      { ...other, digest: whole.digest },
      partOf('absent/0', epoch, generation, randomChunks()),
      partOf('empty/0', epoch, generation, []),
    ])
    const options = commitOptions(epoch, generation)
    t.deepEqual(await right(t, stores.jobs.commit(claim, manifest, options)), {
      type: 'parts-missing',
      subtasks: ['short/0', 'other/0', 'absent/0', 'empty/0'],
    })
    t.deepEqual((await right(t, stores.jobs.describe(claim.job)))?.latest, first)
    t.is((await right(t, stores.jobs.history(claim.job))).length, 1)
  })

  fact('P5: a part that expired before the commit is missing', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const chunks = randomChunks()
    const part = partOf('slow/0', epoch, generation, chunks)
    await right(t, stores.snapshots.write(claim.job, part, chunks, 20))
    await stores.elapse(30)
    const manifest = manifestOf(claim, epoch, generation, [part])
    t.deepEqual(
      await right(t, stores.jobs.commit(claim, manifest, commitOptions(epoch, generation))),
      { type: 'parts-missing', subtasks: ['slow/0'] },
    )
  })

  fact('the newest checkpoint outlives every TTL, a superseded one does not', async (t, stores) => {
    const { jobs, snapshots } = stores
    const { claim, generation } = await begin(t, stores, jobName())
    const manifests: { parts: readonly ReturnType<typeof partOf>[] }[] = []
    for (let i = 0; i < 2; i += 1) {
      const epoch = await right(t, jobs.allocate(claim, generation))
      const chunks = randomChunks()
      const part = partOf('delays/0', epoch, generation, chunks)
      await right(t, snapshots.write(claim.job, part, chunks, 2_500))
      const manifest = manifestOf(claim, epoch, generation, [part])
      await right(t, jobs.commit(claim, manifest, commitOptions(epoch, generation, 30)))
      manifests.push(manifest)
    }
    await stores.elapse(2_600)
    const [first, second] = manifests.flatMap(({ parts }) => parts)
    if (first === undefined || second === undefined) return t.fail()
    await left(t, 'missing', snapshots.read(claim.job, first))
    t.is((await right(t, snapshots.read(claim.job, second))).length, 2)
    t.is((await right(t, jobs.beginGeneration(claim))).restore?.epoch, second.epoch)
  })

  fact('a superseded TTL of 0 removes at once, except what is still needed', async (t, stores) => {
    const { jobs, snapshots } = stores
    const { claim, generation } = await begin(t, stores, jobName())
    const first = await complete(t, stores, claim, generation)
    const [kept, dropped] = first.parts
    if (kept === undefined || dropped === undefined) return t.fail()
    const epoch = await right(t, jobs.allocate(claim, generation))
    const parts = await storeParts(t, stores, claim.job, epoch, generation, ['delays/0'])
    const second = manifestOf(claim, epoch, generation, [kept, ...parts])
    const options = commitOptions(epoch, generation, 0)
    t.deepEqual(await right(t, jobs.commit(claim, second, options)), { type: 'committed' })
    await left(t, 'missing', snapshots.read(claim.job, dropped))
    for (const part of second.parts) await right(t, snapshots.read(claim.job, part))
  })

  fact('a committed part is never replaced nor given a TTL by a late write', async (t, stores) => {
    const { jobs, snapshots } = stores
    const { claim, generation } = await begin(t, stores, jobName())
    const epoch = await right(t, jobs.allocate(claim, generation))
    const chunks = randomChunks()
    const part = partOf('delays/0', epoch, generation, chunks)
    await right(t, snapshots.write(claim.job, part, chunks, 60_000))
    const manifest = manifestOf(claim, epoch, generation, [part])
    await right(t, jobs.commit(claim, manifest, commitOptions(epoch, generation)))
    const forged = randomChunks()
    const other = partOf('delays/0', epoch, generation, forged)
    await left(t, 'conflict', snapshots.write(claim.job, other, forged, 60_000))
    await right(t, snapshots.write(claim.job, part, chunks, 20))
    await stores.elapse(30)
    t.deepEqual(await right(t, snapshots.read(claim.job, part)), chunks)
  })

  fact('aborted attempts are counted and kept once, newest first, bounded', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    for (const epoch of [1, 2, 3, 4]) {
      const entry = historyOf(epoch, generation, 'aborted')
      await right(t, stores.jobs.recordAborted(claim, entry, 3))
      await right(t, stores.jobs.recordAborted(claim, entry, 3))
    }
    t.is((await right(t, stores.jobs.describe(claim.job)))?.failed, 4)
    t.deepEqual(
      await right(t, stores.jobs.history(claim.job)),
      [4, 3, 2].map(epoch => historyOf(epoch, generation, 'aborted')),
    )
  })
}

const endings = (fact: Fact): void => {
  fact('a job that ended and kept its checkpoint goes on from it', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    const latest = await complete(t, stores, claim, generation)
    await right(t, stores.jobs.requestCancel(job))
    await right(t, stores.jobs.end(claim, 'failed', { reason: 'too many restarts' }))
    t.like(await right(t, stores.jobs.describe(job)), {
      status: 'failed',
      statusReason: 'too many restarts',
      heldBy: undefined,
    })
    const next = await begin(t, stores, job, { run: 'run-b', mustExist: true })
    t.is(next.claim.jobId, claim.jobId)
    t.false(next.created)
    t.deepEqual(next.restore, latest)
    t.like(next.record, {
      status: 'restarting',
      statusReason: undefined,
      completed: 1,
      cancelRequested: false,
    })
  })

  fact('a job that ended with a TTL starts afresh, and keeps counting', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    await complete(t, stores, claim, generation)
    await right(t, stores.jobs.end(claim, 'canceled', { ttlMs: 600_000 }))
    t.is((await right(t, stores.jobs.describe(job)))?.latest?.epoch, 1)
    const next = await begin(t, stores, job, { run: 'run-b', now: 1_800_000_000_000 })
    t.true(next.created)
    t.not(next.claim.jobId, claim.jobId)
    t.is(next.restore, undefined)
    t.like(next.record, {
      status: 'running',
      completed: 0,
      latest: undefined,
      createdAt: 1_800_000_000_000,
    })
    t.deepEqual(await right(t, stores.jobs.history(job)), [])
    t.is((await complete(t, stores, next.claim, next.generation)).epoch, 2)
    await refusedEverywhere(t, stores, claim, 'run-a', generation)
  })

  fact('P10: a job that ended with a TTL is unknown to whoever must go on', async (t, stores) => {
    const job = jobName()
    const { claim } = await begin(t, stores, job)
    await right(t, stores.jobs.end(claim, 'finished', { ttlMs: 600_000 }))
    t.deepEqual(await right(t, acquire(stores, job, { mustExist: true })), { type: 'unknown' })
    t.is((await right(t, stores.jobs.describe(job)))?.status, 'finished')
  })

  fact('everything of a job that ended is gone after the TTL', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    const { parts } = await complete(t, stores, claim, generation)
    await right(t, stores.jobs.end(claim, 'finished', { ttlMs: 50 }))
    await stores.elapse(60)
    t.is(await right(t, stores.jobs.describe(job)), undefined)
    t.deepEqual(await right(t, stores.jobs.history(job)), [])
    for (const part of parts) await left(t, 'missing', stores.snapshots.read(job, part))
    const listed = await right(t, stores.jobs.list())
    t.false(listed.some(record => record.job === job))
    t.true((await claimOf(t, stores, job)).created)
  })

  fact('an end can be repeated; everything else is refused after it', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    const { jobs } = stores
    const end = jobs.end(claim, 'finished', { ttlMs: 600_000 })
    await right(t, end)
    await right(t, end)
    await left(t, 'fenced', jobs.end(claim, 'failed', {}))
    await left(t, 'fenced', jobs.renew(claim, 'run-a', 60_000))
    await left(t, 'fenced', jobs.setStatus(claim, 'running'))
    await left(t, 'fenced', jobs.allocate(claim, generation))
    await right(t, jobs.release(claim, 'run-a'))
    t.like(await right(t, jobs.describe(job)), { status: 'finished', heldBy: undefined })
  })
}

const views = (fact: Fact): void => {
  fact('a cancel request reaches the coordinator and survives its death', async (t, stores) => {
    const { jobs } = stores
    const job = jobName()
    t.is(await right(t, jobs.requestCancel(job)), 'unknown')
    const { claim } = await begin(t, stores, job)
    t.is(await right(t, jobs.requestCancel(job)), 'requested')
    t.is(await right(t, jobs.requestCancel(job)), 'requested')
    t.deepEqual(await right(t, jobs.renew(claim, 'run-a', 60_000)), { cancelRequested: true })
    const next = await claimOf(t, stores, job)
    t.true(next.record.cancelRequested)
    await right(t, jobs.end(next.claim, 'canceled', { ttlMs: 600_000 }))
    t.is(await right(t, jobs.requestCancel(job)), 'ended')
  })

  fact('a status and its reason are seen', async (t, stores) => {
    const { claim } = await begin(t, stores, jobName())
    await right(t, stores.jobs.setStatus(claim, 'restarting', 'delays/0 died'))
    const seen = await right(t, stores.jobs.describe(claim.job))
    t.like(seen, { status: 'restarting', statusReason: 'delays/0 died' })
    await right(t, stores.jobs.setStatus(claim, 'running'))
    t.like(await right(t, stores.jobs.describe(claim.job)), {
      status: 'running',
      statusReason: undefined,
    })
  })

  fact('the list holds every job that is there', async (t, stores) => {
    const names = [jobName(), jobName(), jobName()]
    for (const name of names) await begin(t, stores, name)
    const listed = (await right(t, stores.jobs.list())).map(({ job }) => job)
    for (const name of names) t.is(listed.filter(job => job === name).length, 1)
  })

  fact('a job that does not exist is described as such', async (t, { jobs }) => {
    t.is(await right(t, jobs.describe(jobName())), undefined)
    t.deepEqual(await right(t, jobs.history(jobName())), [])
  })
}

/** Every write of a claim that is not current is `fenced`, and changes nothing. */
const refusedEverywhere = async (
  t: ExecutionContext,
  { jobs }: Stores,
  claim: Claim,
  run: string,
  generation: number,
): Promise<void> => {
  const before = await right(t, jobs.describe(claim.job))
  const history = await right(t, jobs.history(claim.job))
  const refusals: readonly StreamError[] = [
    await left(t, 'fenced', jobs.renew(claim, run, 60_000)),
    await left(t, 'fenced', jobs.release(claim, run)),
    await left(t, 'fenced', jobs.beginGeneration(claim)),
    await left(t, 'fenced', jobs.allocate(claim, generation)),
    await left(t, 'fenced', jobs.recordAborted(claim, historyOf(9, generation, 'aborted'), 10)),
    await left(t, 'fenced', jobs.setStatus(claim, 'failed', 'stale')),
    await left(t, 'fenced', jobs.end(claim, 'failed', {})),
    await left(t, 'fenced', jobs.end(claim, 'finished', { ttlMs: 1 })),
  ]
  for (const { message, next } of refusals) {
    t.regex(message, new RegExp(`holds term ${claim.term} .* at term ${claim.term + 1}`))
    t.truthy(next)
  }
  const commit: ReturnType<JobStore['commit']> = jobs.commit(
    claim,
    manifestOf(claim, 99, generation, []),
    commitOptions(99, generation),
  )
  t.is((await right(t, commit)).type, 'fenced')
  t.deepEqual(await right(t, jobs.describe(claim.job)), before)
  t.deepEqual(await right(t, jobs.history(claim.job)), history)
}
