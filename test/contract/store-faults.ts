/** What becomes of both stores when something happens to their server, whatever it is made of. */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
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
  left,
  manifestOf,
  partOf,
  randomChunks,
  right,
  storeParts,
} from './snapshots.js'
import type { OpenStoreServer, StoreServer } from './store-server.js'

type Fact = (
  title: string,
  run: (t: ExecutionContext, server: StoreServer) => Promise<void>,
) => void

/** Registers the contract for one kind of server. */
export const storeFaultContract = (name: string, open: OpenStoreServer): void => {
  const fact: Fact = (title, run) =>
    test.serial(`${name}: ${title}`, async t => run(t, await open(t)))
  lives(fact)
  outages(fact)
  refusals(fact)
  losses(fact)
}

const job = 'job'

const isUnknown = (type: string): boolean => type === 'timed-out' || type === 'unavailable'

/** The type of the failure, or `done`. */
const failure = async (task: TaskEither<StreamError, unknown>): Promise<string> => {
  const outcome = await task()
  return E.isLeft(outcome) ? outcome.left.type : 'done'
}

/** Keys by whether they will expire. */
const lifetimes = async (server: StoreServer): Promise<Readonly<Record<string, string>>> => {
  const keys = [...(await server.keys())].sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(
    keys.map(([key, ttlMs]) => [key, ttlMs === undefined ? 'stays' : 'expires']),
  )
}

const commit = (
  { jobs }: { readonly jobs: JobStore },
  claim: Claim,
  { epoch, generation }: Manifest,
  parts: Manifest['parts'],
) =>
  jobs.commit(claim, manifestOf(claim, epoch, generation, parts), commitOptions(epoch, generation))

/** A job with one completed checkpoint, and another that is pending. */
const midway = async (t: ExecutionContext, server: StoreServer) => {
  const { claim, generation } = await begin(t, server, job)
  const manifest = await complete(t, server, claim, generation)
  const epoch = await right(t, server.jobs.allocate(claim, generation))
  const parts = await storeParts(t, server, job, epoch, generation)
  const pending = manifestOf(claim, epoch, generation, parts)
  return { claim, generation, manifest, pending }
}

const lives = (fact: Fact): void => {
  fact('which keys there are in the life of a job, and which expire', async (t, server) => {
    const { claim, pending } = await midway(t, server)
    const part = (epoch: number, subtask: string) => `sluice:{job}:part:1:${epoch}:${subtask}`
    const names = Object.keys(await lifetimes(server)).filter(key => key.includes(':part:'))
    const [done0, done1, pending0, pending1] = names
    t.is(names.length, 4, names.join(' '))
    t.true(done0?.startsWith(part(1, '')) === true && pending1?.startsWith(part(2, '')) === true)
    const record = {
      'sluice:jobs': 'stays',
      'sluice:{job}:completed': 'stays',
      'sluice:{job}:history': 'stays',
      'sluice:{job}:lease': 'expires',
      'sluice:{job}:meta': 'stays',
    }
    t.deepEqual(await lifetimes(server), {
      ...record,
      'sluice:{job}:ckpt:1': 'stays',
      [`${done0}`]: 'stays',
      [`${done1}`]: 'stays',
      [`${pending0}`]: 'expires',
      [`${pending1}`]: 'expires',
    })
    await right(t, commit(server, claim, pending, pending.parts))
    t.deepEqual(await lifetimes(server), {
      ...record,
      'sluice:{job}:ckpt:1': 'expires',
      'sluice:{job}:ckpt:2': 'stays',
      [`${done0}`]: 'expires',
      [`${done1}`]: 'expires',
      [`${pending0}`]: 'stays',
      [`${pending1}`]: 'stays',
    })
    await right(t, server.jobs.end(claim, 'finished', { ttlMs: 60_000 }))
    const ended = await lifetimes(server)
    t.false('sluice:{job}:lease' in ended)
    t.deepEqual(
      Object.keys(ended).filter(key => ended[key] === 'stays'),
      ['sluice:jobs'],
    )
  })

  fact(
    'a snapshot of which only a part was stored is damaged, until it is whole',
    async (t, server) => {
      const { snapshots } = server
      const { claim, pending } = await midway(t, server)
      const chunks = randomChunks(4)
      const part = partOf('torn/0', pending.epoch, pending.generation, chunks)
      await server.tear(job, part, chunks, 60_000)
      await left(t, 'corrupt', snapshots.read(job, part))
      const parts = [...pending.parts, part]
      t.deepEqual(await right(t, commit(server, claim, pending, parts)), {
        type: 'parts-missing',
        subtasks: ['torn/0'],
      })
      const key = [...(await server.keys()).keys()].find(name => name.includes('torn'))
      await server.elapse(50)
      await right(t, snapshots.write(job, part, chunks, 600_000))
      const ttlMs = (await server.keys()).get(key ?? '') ?? 0
      t.true(ttlMs > 0 && ttlMs <= 59_950, `a TTL counts from the first chunk, and is ${ttlMs}`)
      t.deepEqual(
        (await right(t, snapshots.read(job, part))).map(Buffer.from),
        chunks.map(Buffer.from),
      )
      t.deepEqual(await right(t, commit(server, claim, pending, parts)), { type: 'committed' })
    },
  )
}

const outages = (fact: Fact): void => {
  fact('a restart keeps everything', async (t, server) => {
    const { claim, generation, manifest, pending } = await midway(t, server)
    const before = await lifetimes(server)
    const record = await right(t, server.jobs.describe(job))
    await server.restart()
    t.deepEqual(await lifetimes(server), before)
    t.deepEqual(await right(t, server.jobs.describe(job)), record)
    for (const part of [...manifest.parts, ...pending.parts])
      await right(t, server.snapshots.read(job, part))
    t.is(await right(t, server.jobs.allocate(claim, generation)), pending.epoch + 1)
    const done = await right(t, commit(server, claim, pending, pending.parts))
    t.deepEqual(done, { type: 'committed' })
  })

  fact('nobody knows the outcome of a step during an outage', async (t, server) => {
    const { claim, generation, pending } = await midway(t, server)
    const record = await right(t, server.jobs.describe(job))
    await server.setDown(true)
    const { jobs } = server
    const steps = [
      acquire(server, job),
      jobs.renew(claim, 'run-a', 60_000),
      jobs.allocate(claim, generation),
      commit(server, claim, pending, pending.parts),
      jobs.setStatus(claim, 'failed'),
      jobs.describe(job),
      jobs.list(),
    ]
    for (const step of steps) t.true(isUnknown(await failure(step)))
    await server.setDown(false)
    t.deepEqual(await right(t, jobs.describe(job)), record)
  })

  fact(
    'a snapshot under way in an outage is there, whole, or its outcome is unknown',
    async (t, server) => {
      const chunks = randomChunks(3)
      const part = partOf('delays/0', 1, 1, chunks)
      await server.setDown(true)
      const written = failure(server.snapshots.write(job, part, chunks, 60_000))
      await server.setDown(false)
      const outcome = await written
      if (outcome === 'done') await right(t, server.snapshots.read(job, part))
      else t.true(isUnknown(outcome))
      await right(t, server.snapshots.write(job, part, chunks, 60_000))
      t.is((await right(t, server.snapshots.read(job, part))).length, 3)
    },
  )

  fact('a TTL runs on during an outage', async (t, server) => {
    const { manifest, pending } = await midway(t, server)
    const chunks = randomChunks()
    const part = partOf('short/0', 9, 1, chunks)
    await right(t, server.snapshots.write(job, part, chunks, 1_000))
    await claimOf(t, server, 'other', { leaseMs: 1_000 })
    await server.setDown(true)
    await server.elapse(1_100)
    await server.setDown(false)
    await left(t, 'missing', server.snapshots.read(job, part))
    t.is((await claimOf(t, server, 'other', { run: 'run-b' })).claim.term, 2)
    for (const { parts } of [manifest, pending])
      for (const kept of parts) await right(t, server.snapshots.read(job, kept))
  })

  fact('a step that reached a server that hung is done after all', async (t, server) => {
    const { claim, generation, pending } = await midway(t, server)
    await server.setHung(true)
    t.is(await failure(server.jobs.allocate(claim, generation)), 'timed-out')
    await server.setHung(false)
    // The id was given out, to nobody.
    t.is(await right(t, server.jobs.allocate(claim, generation)), pending.epoch + 2)
  })
}

const refusals = (fact: Fact): void => {
  fact('a full server takes no snapshot, and every step of a coordinator', async (t, server) => {
    const { jobs, snapshots } = server
    const { claim, generation, manifest, pending } = await midway(t, server)
    const chunks = randomChunks()
    const part = partOf('more/0', 3, generation, chunks)
    await server.setMode('oom')
    const { message, next } = await left(t, 'full', snapshots.write(job, part, chunks, 60_000))
    t.regex(message, /maxmemory/)
    t.truthy(next)
    // Not even one that is there already.
    const [stored] = manifest.parts
    if (stored === undefined) return t.fail()
    const again = await right(t, snapshots.read(job, stored))
    await left(t, 'full', snapshots.write(job, stored, again, 60_000))
    await right(t, jobs.renew(claim, 'run-a', 60_000))
    await right(t, jobs.recordAborted(claim, historyOf(9, generation, 'aborted'), 10))
    await right(t, jobs.allocate(claim, generation))
    await right(t, jobs.setStatus(claim, 'running'))
    t.deepEqual(await right(t, commit(server, claim, pending, pending.parts)), {
      type: 'committed',
    })
    t.is((await right(t, jobs.history(job))).length, 3)
    const other = await begin(t, server, 'other')
    await right(t, jobs.end(other.claim, 'failed', { ttlMs: 60_000 }))
    t.is((await right(t, jobs.list())).length, 2)
    await server.setMode('ok')
    await left(t, 'missing', snapshots.read(job, part))
    await right(t, snapshots.write(job, part, chunks, 60_000))
  })

  fact('a replica shows what it has, and takes no write', async (t, server) => {
    const { jobs, snapshots } = server
    const { claim, generation, manifest, pending } = await midway(t, server)
    const record = await right(t, jobs.describe(job))
    const history = await right(t, jobs.history(job))
    const before = await lifetimes(server)
    await server.setMode('readonly')
    for (const write of writes(server, claim, generation, pending))
      await left(t, 'unavailable', write)
    t.deepEqual(await right(t, jobs.describe(job)), record)
    t.deepEqual(await right(t, jobs.history(job)), history)
    await right(t, jobs.durability())
    for (const part of manifest.parts) await right(t, snapshots.read(job, part))
    await server.setMode('ok')
    t.deepEqual(await lifetimes(server), before)
    t.deepEqual(await right(t, jobs.describe(job)), record)
    t.deepEqual(await right(t, commit(server, claim, pending, pending.parts)), {
      type: 'committed',
    })
  })

  fact('a server that loads its data tells nothing but its configuration', async (t, server) => {
    const { jobs, snapshots } = server
    const { claim, generation, manifest, pending } = await midway(t, server)
    const record = await right(t, jobs.describe(job))
    const before = await lifetimes(server)
    await server.setMode('loading')
    const reads = [
      jobs.describe(job),
      jobs.history(job),
      ...manifest.parts.map(part => snapshots.read(job, part)),
    ]
    for (const request of [...reads, ...writes(server, claim, generation, pending)]) {
      const { message } = await left<unknown>(t, 'unavailable', request)
      t.regex(message, /still loading/)
    }
    await right(t, jobs.durability())
    await server.setMode('ok')
    t.deepEqual(await lifetimes(server), before)
    t.deepEqual(await right(t, jobs.describe(job)), record)
  })
}

/** Everything that writes, `list` included: it forgets the names of jobs that are gone. */
const writes = (
  server: StoreServer,
  claim: Claim,
  generation: number,
  pending: Manifest,
): readonly TaskEither<StreamError, unknown>[] => {
  const { jobs, snapshots } = server
  const chunks = randomChunks()
  const stale = { ...claim, term: claim.term - 1 }
  return [
    acquire(server, job),
    acquire(server, 'new'),
    jobs.renew(claim, 'run-a', 60_000),
    jobs.renew(stale, 'run-a', 60_000),
    jobs.release(claim, 'run-a'),
    jobs.beginGeneration(claim),
    jobs.allocate(claim, generation),
    commit(server, claim, pending, pending.parts),
    jobs.recordAborted(claim, historyOf(9, generation, 'aborted'), 10),
    jobs.setStatus(claim, 'failed'),
    jobs.end(claim, 'failed', {}),
    jobs.end(claim, 'failed', { ttlMs: 60_000 }),
    jobs.requestCancel(job),
    jobs.list(),
    snapshots.write(job, partOf('more/0', 9, generation, chunks), chunks, 60_000),
  ]
}

const losses = (fact: Fact): void => {
  fact('what a replica had not got before its promotion never was', async (t, server) => {
    const { jobs, snapshots } = server
    const { claim, generation, manifest, pending } = await midway(t, server)
    const record = await right(t, jobs.describe(job))
    const restore = await server.backup()
    await right(t, commit(server, claim, pending, pending.parts))
    const lost = await complete(t, server, claim, generation)
    const next = await begin(t, server, job)
    await restore()
    t.deepEqual(await right(t, jobs.describe(job)), record)
    t.deepEqual(record?.latest, manifest)
    for (const part of lost.parts) await left(t, 'missing', snapshots.read(job, part))
    for (const part of pending.parts) await right(t, snapshots.read(job, part))
    // Terms, generations and ids are given out again: to the old claim, and not to the new one.
    const refused = await failure(jobs.allocate(next.claim, next.generation))
    t.is(refused, 'lost')
    t.is(await right(t, jobs.allocate(claim, generation)), lost.epoch)
    const again = await begin(t, server, job)
    t.is(again.claim.term, next.claim.term)
    t.is(again.generation, next.generation)
    t.deepEqual(again.restore, manifest)
    await restore()
    t.deepEqual(await right(t, jobs.describe(job)), record)
  })

  fact('what expired before its time is gone, what has no TTL stays', async (t, server) => {
    const { jobs, snapshots } = server
    const { claim, manifest, pending } = await midway(t, server)
    const record = await right(t, jobs.describe(job))
    await server.expireNow(key => key.includes(':lease'))
    t.deepEqual(await right(t, jobs.describe(job)), { ...record, heldBy: undefined })
    for (const part of pending.parts) await right(t, snapshots.read(job, part))
    await server.expireNow(() => true)
    t.false(Object.values(await lifetimes(server)).includes('expires'))
    for (const part of pending.parts) await left(t, 'missing', snapshots.read(job, part))
    for (const part of manifest.parts) await right(t, snapshots.read(job, part))
    t.deepEqual(await right(t, commit(server, claim, pending, pending.parts)), {
      type: 'parts-missing',
      subtasks: pending.parts.map(({ subtask }) => subtask),
    })
    t.is((await claimOf(t, server, job, { run: 'run-b' })).claim.term, claim.term + 1)
  })
}
