import * as E from 'fp-ts/lib/Either.js'
import type { PartRef } from '../../lib/protocol/manifest.js'
import { type Fact, refusedEverywhere } from './facts.js'
import {
  acquire,
  begin,
  commitOptions,
  complete,
  historyOf,
  jobName,
  left,
  manifestOf,
  partOf,
  randomChunks,
  right,
  storeParts,
} from './snapshots.js'

/** Committing, superseding, aborting. */
export const commits = (fact: Fact): void => {
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

  fact('IP2: what the manifest holds itself is neither looked for nor lost', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const [base] = await storeParts(t, stores, claim.job, epoch, generation, ['mixed/0'])
    if (base === undefined) return t.fail()
    const inline = ['AQID', 'BAU=']
    const small = (subtask: string, at = epoch): PartRef => ({
      ...partOf(subtask, at, generation, randomChunks()),
      inline,
    })
    const first = manifestOf(claim, epoch, generation, [base, small('small/0')])
    const options = commitOptions(epoch, generation)
    const history = { ...options.history, writtenBytes: 7, inlineBytes: 5 }
    const committed = await right(t, stores.jobs.commit(claim, first, { ...options, history }))
    t.deepEqual(committed, { type: 'committed' })
    const again = await right(t, stores.jobs.commit(claim, first, { ...options, history }))
    t.deepEqual(again, { type: 'already-committed' })
    const next = await right(t, stores.jobs.allocate(claim, generation))
    const second = manifestOf(claim, next, generation, [
      { ...small('mixed/0', next), bases: [base] },
      { ...small('small/0', next), bases: [small('small/0')] },
    ])
    const more = commitOptions(next, generation, 0)
    t.deepEqual(await right(t, stores.jobs.commit(claim, second, more)), { type: 'committed' })
    t.deepEqual((await right(t, stores.jobs.beginGeneration(claim))).restore, second)
    t.deepEqual(await right(t, stores.jobs.checkpoints(claim.job)), [second])
    t.like((await right(t, stores.jobs.history(claim.job)))[1], { writtenBytes: 7, inlineBytes: 5 })
    // What is built on stays in the store, though what builds on it is not there.
    t.is((await right(t, stores.snapshots.read(claim.job, base))).length, 2)
  })

  fact(
    'IP2: a new job starts from a checkpoint that needs nothing of the store',
    async (t, stores) => {
      const { jobs } = stores
      const job = jobName()
      const inline = ['AQID']
      const parts = [{ ...partOf('small/0', 5, 0, randomChunks(1, 3)), inline }]
      const from = manifestOf({ job, jobId: '', term: 0 }, 5, 0, parts)
      const outcome = await right(t, acquire(stores, job, { from }))
      if (outcome.type !== 'acquired') return t.fail(outcome.type)
      const { restore } = await right(t, jobs.beginGeneration(outcome.claim))
      t.deepEqual(restore?.parts, parts)
    },
  )

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

  fact(
    'what a snapshot of changes builds on stays as long as it does, and goes with it',
    async (t, stores) => {
      const { jobs, snapshots } = stores
      const { claim, generation } = await begin(t, stores, jobName())
      const chain: ReturnType<typeof partOf>[] = []
      const commit = async (bases: readonly ReturnType<typeof partOf>[]) => {
        const epoch = await right(t, jobs.allocate(claim, generation))
        const [part] = await storeParts(t, stores, claim.job, epoch, generation, ['delays/0'])
        if (part === undefined) return t.fail()
        const newest = bases.length === 0 ? part : { ...part, bases }
        const manifest = manifestOf(claim, epoch, generation, [newest])
        const options = commitOptions(epoch, generation, 0)
        t.deepEqual(await right(t, jobs.commit(claim, manifest, options)), { type: 'committed' })
        t.deepEqual((await right(t, jobs.describe(claim.job)))?.latest, manifest)
        chain.push(part)
      }
      await commit([])
      await commit(chain.slice(0, 1))
      await commit(chain.slice(0, 2))
      for (const part of chain) await right(t, snapshots.read(claim.job, part))
      // A chain that skips one, as after a completion that was not heard of.
      await commit(chain.slice(0, 1))
      const [whole, second, third, fourth] = chain
      if (!whole || !second || !third || !fourth) return t.fail()
      for (const part of [whole, fourth]) await right(t, snapshots.read(claim.job, part))
      for (const part of [second, third]) await left(t, 'missing', snapshots.read(claim.job, part))
      await commit([])
      for (const part of [whole, fourth]) await left(t, 'missing', snapshots.read(claim.job, part))
    },
  )

  fact('P5: a checkpoint that builds on what is gone is refused', async (t, stores) => {
    const { claim, generation } = await begin(t, stores, jobName())
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const [part] = await storeParts(t, stores, claim.job, epoch, generation, ['delays/0'])
    if (part === undefined) return t.fail()
    const gone = partOf('delays/0', epoch - 1, generation, randomChunks())
    const manifest = manifestOf(claim, epoch, generation, [{ ...part, bases: [gone] }])
    t.deepEqual(
      await right(t, stores.jobs.commit(claim, manifest, commitOptions(epoch, generation))),
      { type: 'parts-missing', subtasks: ['delays/0'] },
    )
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
    const written = await snapshots.write(claim.job, other, forged, 60_000)()
    // Refused, or kept apart.
    if (E.isLeft(written)) t.is(written.left.type, 'conflict', written.left.message)
    await right(t, snapshots.write(claim.job, part, chunks, 20))
    await stores.elapse(30)
    t.deepEqual((await right(t, snapshots.read(claim.job, part))).map(Buffer.from), chunks)
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

/** Ending for good, and ending to go on later. */
export const endings = (fact: Fact): void => {
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
    const next = await begin(t, stores, job)
    t.true(next.created)
    // The terms of a job that expired start again: only the job id tells the old claim apart.
    t.is(next.claim.term, claim.term)
    await left(t, 'fenced', stores.jobs.renew(claim, 'run-a', 60_000))
    await left(t, 'fenced', stores.jobs.allocate(claim, next.generation))
    await left(t, 'fenced', stores.jobs.end(claim, 'failed', {}))
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

  fact('an end that is refused leaves the job in the list', async (t, stores) => {
    const job = jobName()
    const { jobs } = stores
    const { claim } = await begin(t, stores, job)
    await right(t, jobs.end(claim, 'failed', {}))
    await left(t, 'fenced', jobs.end(claim, 'canceled', { ttlMs: 30 }))
    await stores.elapse(40)
    t.like(await right(t, jobs.describe(job)), { status: 'failed' })
    const listed = await right(t, jobs.list())
    t.true(listed.some(record => record.job === job))
  })
}
