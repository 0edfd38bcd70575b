/** The contract of `JobStore`: what every implementation must do. Rules P1, P5, P8–P10 by number. */
import test, { type ExecutionContext } from 'ava'
import type { Manifest } from '../../lib/protocol/manifest.js'
import { commits, endings } from './checkpoints.js'
import { counterexamples } from './counterexamples.js'
import { type Fact, refusedEverywhere } from './facts.js'
import { retained, starting } from './retained.js'
import {
  acquire,
  begin,
  claimOf,
  commitOptions,
  complete,
  hostileNames,
  jobName,
  left,
  manifestOf,
  right,
  type Stores,
  storeParts,
} from './snapshots.js'

type Open = (t: ExecutionContext) => Promise<Stores>

/** Registers the tests for the implementation that `open` gives. */
export const jobStoreContract = (title: string, open: Open): void => {
  const fact: Fact = (name, check) => test(`${title}: ${name}`, async t => check(t, await open(t)))
  ownership(fact)
  counters(fact)
  commits(fact)
  endings(fact)
  retained(fact)
  starting(fact)
  counterexamples(fact)
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
      epoch: 0,
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

  fact('a store that is behind what it has given out is lost, not fenced', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    const later = { ...claim, term: claim.term + 1 }
    const { jobs } = stores
    await left(t, 'lost', jobs.renew(later, 'run-a', 60_000))
    await left(t, 'lost', jobs.beginGeneration(later))
    await left(t, 'lost', jobs.allocate(later, generation))
    await left(t, 'lost', jobs.end(later, 'finished', {}))
    await left(t, 'lost', jobs.allocate(claim, generation + 1))
    const parts = await storeParts(t, stores, job, 1, generation + 1)
    const manifest = manifestOf(claim, 1, generation + 1, parts)
    await left(t, 'lost', jobs.commit(claim, manifest, commitOptions(1, generation + 1)))
    // A job of the same name that was started afresh counts from 1 again.
    await left(t, 'fenced', jobs.renew({ ...later, jobId: 'another life' }, 'run-a', 60_000))
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
