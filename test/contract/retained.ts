/** The contract of `JobStore` on what is kept of checkpoints, and on starting a job from one. */
import type { ExecutionContext } from 'ava'
import type { Claim } from '../../lib/ports/job-store.js'
import type { Manifest, PartRef } from '../../lib/protocol/manifest.js'
import type { Fact } from './facts.js'
import {
  acquire,
  begin,
  commitOptions,
  complete,
  historyOf,
  jobName,
  left,
  manifestOf,
  right,
  type Stores,
  storeParts,
} from './snapshots.js'

const keeping = (epoch: number, generation: number, numRetained: number, supersededTtlMs = 0) => ({
  ...commitOptions(epoch, generation, supersededTtlMs),
  numRetained,
})

/** Commits a checkpoint of these parts and one of its own. */
const commitWith = async (
  t: ExecutionContext,
  stores: Stores,
  claim: Claim,
  generation: number,
  numRetained: number,
  shared: readonly PartRef[] = [],
): Promise<Manifest> => {
  const epoch = await right(t, stores.jobs.allocate(claim, generation))
  const parts = await storeParts(t, stores, claim.job, epoch, generation, ['delays/0'])
  const manifest = manifestOf(claim, epoch, generation, [...shared, ...parts])
  const options = keeping(epoch, generation, numRetained)
  t.deepEqual(await right(t, stores.jobs.commit(claim, manifest, options)), { type: 'committed' })
  return manifest
}

const keptIds = async (t: ExecutionContext, { jobs }: Stores, job: string) =>
  (await right(t, jobs.checkpoints(job))).map(({ epoch }) => epoch)

/** Which of the parts are there. */
const there = async (t: ExecutionContext, stores: Stores, of: Manifest) => {
  const found: boolean[] = []
  for (const part of of.parts) {
    const read = await stores.snapshots.read(of.job, part)()
    found.push(read._tag === 'Right')
  }
  t.is(found.length, of.parts.length)
  return found
}

/** What is kept while a job runs, and after its end. */
export const retained = (fact: Fact): void => {
  fact('the newest N checkpoints are kept whole, newest first', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const manifests: Manifest[] = []
    for (let i = 0; i < 4; i += 1) manifests.push(await commitWith(t, stores, claim, generation, 3))
    const [first, second, third, fourth] = manifests
    if (first === undefined || second === undefined) return t.fail()
    t.deepEqual(await right(t, stores.jobs.checkpoints(claim.job)), [fourth, third, second])
    t.deepEqual(await there(t, stores, first), [false])
    for (const manifest of manifests.slice(1)) t.deepEqual(await there(t, stores, manifest), [true])
  })

  fact('a part that any kept checkpoint needs stays', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const first = await commitWith(t, stores, claim, generation, 2)
    const second = await commitWith(t, stores, claim, generation, 2, first.parts)
    await commitWith(t, stores, claim, generation, 2)
    t.deepEqual(await there(t, stores, second), [true, true])
    await commitWith(t, stores, claim, generation, 2)
    t.deepEqual(await there(t, stores, second), [false, false])
  })

  fact('keeping fewer than before lets all others go at once', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    for (let i = 0; i < 3; i += 1) await commitWith(t, stores, claim, generation, 5)
    t.deepEqual(await keptIds(t, stores, claim.job), [3, 2, 1])
    await commitWith(t, stores, claim, generation, 1)
    t.deepEqual(await keptIds(t, stores, claim.job), [4])
  })

  fact('parts that are kept elsewhere are left alone', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const options = { numRetained: 1, partsElsewhere: true }
    const nowhere: PartRef[] = [
      { subtask: 'delays/0', epoch: 1, generation, digest: 'd', chunks: 1, bytes: 1 },
    ]
    // Whoever has them elsewhere verifies them there.
    const verified = stores.partsElsewhere === true
    for (const epoch of [1, 2]) {
      const manifest = manifestOf(claim, epoch, generation, nowhere)
      const more = { ...keeping(epoch, generation, 1), ...options }
      const { type } = await right(t, stores.jobs.commit(claim, manifest, more))
      t.is(type, verified ? 'parts-missing' : 'committed')
    }
    t.deepEqual(await keptIds(t, stores, claim.job), verified ? [] : [2])
  })

  fact('what a subtask took for a checkpoint is in the history', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const took = { bytes: 10, writtenBytes: 4, alignmentMs: 1.5, syncMs: 0.1, asyncMs: 7 }
    const entry = {
      ...historyOf(3, generation, 'aborted'),
      writtenBytes: 4,
      subtasks: [{ subtask: 'delays/0', ...took }],
    }
    await right(t, stores.jobs.recordAborted(claim, entry, 3))
    t.deepEqual(await right(t, stores.jobs.history(claim.job)), [entry])
  })

  fact('an end with a TTL lets all kept checkpoints go', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const kept = [
      await commitWith(t, stores, claim, generation, 2),
      await commitWith(t, stores, claim, generation, 2),
    ]
    await right(t, stores.jobs.end(claim, 'finished', { ttlMs: 50 }))
    await stores.elapse(60)
    t.deepEqual(await keptIds(t, stores, claim.job), [])
    for (const manifest of kept) t.deepEqual(await there(t, stores, manifest), [false])
  })

  fact('a job that may go on until its TTL has passed goes on without one', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    await commitWith(t, stores, claim, generation, 2)
    const newest = await commitWith(t, stores, claim, generation, 2)
    await right(t, stores.jobs.end(claim, 'failed', { ttlMs: 1_500, resumes: true }))
    const next = await begin(t, stores, job, { run: 'run-b', mustExist: true })
    t.false(next.created)
    t.deepEqual(next.restore, newest)
    await stores.elapse(1_600)
    t.deepEqual(await keptIds(t, stores, job), [2, 1])
    t.deepEqual(await there(t, stores, newest), [true])
    t.is((await right(t, stores.jobs.describe(job)))?.status, 'restarting')
  })

  fact('a job that may go on is gone when its TTL has passed', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    await commitWith(t, stores, claim, generation, 1)
    await right(t, stores.jobs.end(claim, 'failed', { ttlMs: 50, resumes: true }))
    await stores.elapse(60)
    const next = await begin(t, stores, job)
    t.true(next.created)
    t.is(next.restore, undefined)
  })

  fact('what a life keeps outlives the next ones, whatever their end', async (t, stores) => {
    const job = jobName()
    const one = await begin(t, stores, job)
    const kept = await commitWith(t, stores, one.claim, one.generation, 1)
    await right(t, stores.jobs.end(one.claim, 'canceled', { resumes: false }))
    t.deepEqual(await right(t, acquire(stores, job, { mustExist: true })), { type: 'unknown' })
    const two = await begin(t, stores, job)
    t.true(two.created)
    t.is(two.restore, undefined)
    const later = await commitWith(t, stores, two.claim, two.generation, 1)
    t.deepEqual(await keptIds(t, stores, job), [later.epoch, kept.epoch])
    await right(t, stores.jobs.end(two.claim, 'finished', { ttlMs: 50 }))
    await stores.elapse(60)
    t.deepEqual(await right(t, stores.jobs.checkpoints(job)), [kept])
    t.deepEqual(await there(t, stores, kept), [true])
    // Ids go on, so that no key of what is kept is used again.
    const three = await begin(t, stores, job)
    t.is((await complete(t, stores, three.claim, three.generation)).epoch, 3)
  })
}

/** A checkpoint as a new job brings it: its parts are written under the name of that job. */
const broughtTo = async (
  t: ExecutionContext,
  stores: Stores,
  job: string,
  epoch: number,
  ttlMs = 600_000,
): Promise<Manifest> => {
  const parts = await storeParts(t, stores, job, epoch, 0, ['delays/0'], ttlMs)
  const source = { job: 'source', jobId: 'the source', term: 1 }
  const output = { epoch: 5, jobIds: ['the source'] }
  return {
    ...manifestOf(source, epoch, 0, parts),
    job,
    origin: { job: 'source', epoch: 5, output },
  }
}

/** Starting from what another job has left. */
export const starting = (fact: Fact): void => {
  fact('a job that starts from a checkpoint has it from its first instant', async (t, stores) => {
    const job = jobName()
    const from = await broughtTo(t, stores, job, 5, 5_000)
    const { claim, created, record, restore, generation } = await begin(t, stores, job, { from })
    t.true(created)
    t.like(record, { epoch: 5, completed: 0, generation: 0 })
    t.deepEqual(restore, { ...from, jobId: claim.jobId })
    t.deepEqual(await keptIds(t, stores, job), [5])
    await stores.elapse(5_100)
    t.deepEqual(await there(t, stores, from), [true])
    // Whoever takes over before anything of its own has completed restores the same.
    const again = await begin(t, stores, job)
    t.deepEqual(again.restore, restore)
    const own = await complete(t, stores, again.claim, generation + 1, 0)
    t.is(own.epoch, 6)
    t.deepEqual(await there(t, stores, from), [false])
  })

  fact('a job that runs or may go on is not started from anything', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    const latest = await complete(t, stores, claim, generation)
    const from = await broughtTo(t, stores, job, 7)
    t.like(await right(t, acquire(stores, job, { from, run: 'run-b' })), { type: 'held' })
    const resumable = async (status: string) =>
      t.deepEqual(await right(t, acquire(stores, job, { from })), { type: 'resumable', status })
    await resumable('running')
    await right(t, stores.jobs.end(claim, 'failed', {}))
    await resumable('failed')
    t.deepEqual((await right(t, stores.jobs.describe(job)))?.latest, latest)
  })

  fact('a job that has ended for good starts from a checkpoint anew', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    await complete(t, stores, claim, generation)
    await right(t, stores.jobs.end(claim, 'finished', { ttlMs: 600_000 }))
    const from = await broughtTo(t, stores, job, 5)
    const next = await begin(t, stores, job, { from })
    t.not(next.claim.jobId, claim.jobId)
    t.is(next.restore?.epoch, 5)
    t.deepEqual(await right(t, stores.jobs.history(job)), [])
  })

  fact('P1: a checkpoint is not brought under an id that was given out', async (t, stores) => {
    const job = jobName()
    const { claim, generation } = await begin(t, stores, job)
    await complete(t, stores, claim, generation)
    await right(t, stores.jobs.end(claim, 'finished', { ttlMs: 600_000 }))
    const from = await broughtTo(t, stores, job, 1)
    await left(t, 'conflict', acquire(stores, job, { from }))
    t.is((await right(t, stores.jobs.describe(job)))?.status, 'finished')
  })

  fact(
    'P5: a job does not start from a checkpoint whose parts are not there',
    async (t, stores) => {
      const job = jobName()
      const from = await broughtTo(t, stores, job, 5, 50)
      await stores.elapse(60)
      await left(t, 'missing', acquire(stores, job, { from }))
      t.is(await right(t, stores.jobs.describe(job)), undefined)
    },
  )
}
