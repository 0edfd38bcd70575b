/** What goes on in a folder beside commits: several sweeps, several coordinators, clocks that run on. */
import { randomUUID } from 'node:crypto'
import { readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { storeWithParts } from '../../../lib/adapters/fs/job-store.js'
import { expiryFile, ownerFile, partFile } from '../../../lib/adapters/fs/layout.js'
import { fsPartKeeper } from '../../../lib/adapters/fs/part-keeper.js'
import { fsSnapshotStore } from '../../../lib/adapters/fs/snapshot-store.js'
import { askPlainly, JobData } from '../../../lib/adapters/memory/job-data.js'
import { memoryJobStore } from '../../../lib/adapters/memory/job-store.js'
import { manifestKey } from '../../../lib/adapters/redis/keys.js'
import type { JobStore } from '../../../lib/ports/job-store.js'
import type { PartKeeper } from '../../../lib/ports/part-keeper.js'
import { type Manifest, neededParts } from '../../../lib/protocol/manifest.js'
import { begin, commitOptions, manifestOf, right, storeParts } from '../../contract/snapshots.js'
import { localRedis } from '../redis/local-server.js'
import { redisStores } from '../redis/stores.js'
import { newFolder } from './folder.js'

const job = 'job'
const minute = 60_000
const hour = 60 * minute

/** A folder whose clock the test sets on, and the truth that its coordinators share. */
const open = async (t: ExecutionContext, records?: JobStore) => {
  const folder = await newFolder(t)
  let aheadMs = 0
  const now = () => Date.now() + aheadMs
  const keeper = fsPartKeeper({ folder, now, graceMs: 0 })
  const truth = records ?? memoryJobStore(new JobData({ now: 0 }, randomUUID), askPlainly)
  const troubles: string[] = []
  /** A coordinator of its own, as far as the folder and its memory of it go. */
  const coordinator = (
    more: { readonly truth?: Partial<JobStore>; readonly keeper?: Partial<PartKeeper> } = {},
  ) => {
    const jobs = storeWithParts(
      { ...truth, ...more.truth },
      { ...keeper, ...more.keeper },
      'store',
      ({ message }) => void troubles.push(message),
    )
    const elapse = async (ms: number): Promise<void> => {
      aheadMs += ms
    }
    return { jobs, snapshots: fsSnapshotStore({ folder }), partsElsewhere: true, elapse }
  }
  return { folder, truth, keeper, coordinator, troubles, elapse: coordinator().elapse }
}
type World = Awaited<ReturnType<typeof open>>
type Coordinator = ReturnType<World['coordinator']>
type Life = Pick<Awaited<ReturnType<typeof begin>>, 'claim' | 'generation'>

/** A checkpoint whose parts are written, and build on those of another one. */
const pending = async (
  t: ExecutionContext,
  stores: Coordinator,
  { claim, generation }: Life,
  on?: Manifest,
): Promise<Manifest> => {
  const epoch = await right(t, stores.jobs.allocate(claim, generation))
  const written = await storeParts(t, stores, claim.job, epoch, generation)
  const parts = written.map(part => {
    const base = on?.parts.find(({ subtask }) => subtask === part.subtask)
    return base === undefined ? part : { ...part, bases: [base] }
  })
  return manifestOf(claim, epoch, generation, parts)
}

const commit = (
  { jobs }: Coordinator,
  { claim }: Life,
  manifest: Manifest,
  { supersededTtlMs = minute, numRetained = 1 } = {},
) =>
  jobs.commit(claim, manifest, {
    ...commitOptions(manifest.epoch, manifest.generation, supersededTtlMs),
    numRetained,
  })

const committed = async (t: ExecutionContext, ...args: Parameters<typeof commit>) => {
  const [stores, , manifest] = args
  t.deepEqual(await right(t, commit(...args)), { type: 'committed' })
  await stores.jobs.settled()
  return manifest
}

const filesIn = (folder: string, name = job) => readdir(join(folder, name))

const areThere = async (t: ExecutionContext, folder: string, manifest: Manifest) => {
  const files = await filesIn(folder)
  for (const part of neededParts(manifest)) t.true(files.includes(partFile(part)), part.subtask)
}

const areGone = async (t: ExecutionContext, folder: string, { parts }: Manifest) => {
  const files = await filesIn(folder)
  for (const part of parts) t.false(files.includes(partFile(part)), part.subtask)
}

/** A step that waits at a gate. */
const gated = () => {
  let open = (): void => undefined
  let arrive = (): void => undefined
  const gate = new Promise<void>(resolve => {
    open = resolve
  })
  const arrived = new Promise<void>(resolve => {
    arrive = resolve
  })
  const pass = async (): Promise<void> => {
    arrive()
    await gate
  }
  return { pass, open, arrived }
}

test('PE1: no part goes between the look at the parts of a checkpoint and its commit', async t => {
  const world = await open(t)
  const steps: string[] = []
  const log =
    <A>(name: string, work: () => Promise<A>) =>
    async (): Promise<A> => {
      steps.push(`${name} begins`)
      const done = await work()
      steps.push(`${name} ends`)
      return done
    }
  const stores = world.coordinator({
    truth: { commit: (...args) => log('commit', world.truth.commit(...args)) },
    keeper: {
      sweep: (...args) => log('sweep', world.keeper.sweep(...args)),
      missing: (...args) => log('look', world.keeper.missing(...args)),
    },
  })
  const life = await begin(t, stores, job)
  const first = await committed(t, stores, life, await pending(t, stores, life))
  const second = await pending(t, stores, life, first)
  const third = await pending(t, stores, life, first)
  steps.length = 0
  await right(t, commit(stores, life, second))
  t.deepEqual(await right(t, commit(stores, life, third)), { type: 'committed' })
  await stores.jobs.settled()
  const turn = ['look begins', 'look ends', 'commit begins', 'commit ends']
  t.deepEqual(steps, [...turn, 'sweep begins', 'sweep ends', ...turn, 'sweep begins', 'sweep ends'])
  await areThere(t, world.folder, third)
})

test('what is superseded stays as long as it is said from then on, and may be built on', async t => {
  const world = await open(t)
  const stores = world.coordinator()
  const life = await begin(t, stores, job)
  const first = await committed(t, stores, life, await pending(t, stores, life))
  await world.elapse(5 * minute)
  const second = await pending(t, stores, life)
  const third = await pending(t, stores, life, first)
  await committed(t, stores, life, second)
  await areThere(t, world.folder, first)
  // The TTL that it was written with says nothing any more.
  for (const part of first.parts) await utimes(join(world.folder, job, partFile(part)), 0, 0)
  await world.elapse(minute / 2)
  await committed(t, stores, life, third)
  await areThere(t, world.folder, third)
  await world.elapse(2 * minute)
  const fourth = await committed(t, stores, life, await pending(t, stores, life))
  await areThere(t, world.folder, third)
  await areGone(t, world.folder, second)
  await world.elapse(2 * minute)
  await committed(t, stores, life, await pending(t, stores, life))
  await areGone(t, world.folder, first)
  await areThere(t, world.folder, fourth)
})

test('PE3: who has lost the job removes nothing that its new owner may build on', async t => {
  const world = await open(t)
  const late = gated()
  const zombie = world.coordinator({
    truth: {
      checkpoints:
        (...args) =>
        async () => {
          await late.pass()
          return world.truth.checkpoints(...args)()
        },
    },
    keeper: { sweepExpired: () => async () => ({ _tag: 'Right', right: 0 }) },
  })
  const before = await begin(t, zombie, job)
  await late.arrived
  const owner = world.coordinator()
  const life = await begin(t, owner, job)
  t.true(life.claim.term > before.claim.term)
  const first = await committed(t, owner, life, await pending(t, owner, life))
  const third = await pending(t, owner, life, first)
  await committed(t, owner, life, await pending(t, owner, life))
  await world.elapse(2 * minute)
  late.open()
  await zombie.jobs.settled()
  await areThere(t, world.folder, third)
})

test('PE3: a sweep that stood still for long removes nothing that was committed since', async t => {
  const world = await open(t)
  const late = gated()
  const zombie = world.coordinator({
    keeper: {
      sweep:
        (...args) =>
        async () => {
          await late.pass()
          return world.keeper.sweep(...args)()
        },
    },
  })
  await begin(t, zombie, job)
  await late.arrived
  const owner = world.coordinator()
  const life = await begin(t, owner, job)
  const kept = await committed(t, owner, life, await pending(t, owner, life))
  await world.elapse(hour)
  late.open()
  await zombie.jobs.settled()
  await areThere(t, world.folder, kept)
})

test('PE4: nothing is removed while a kept checkpoint cannot be read, and that is told', async t => {
  const { url } = await localRedis(t)
  const { jobs, redis } = await redisStores(t, url)
  const world = await open(t, jobs)
  const stores = world.coordinator()
  const life = await begin(t, stores, job)
  const keeps = { numRetained: 3, supersededTtlMs: 0 }
  const first = await committed(t, stores, life, await pending(t, stores, life), keeps)
  const json = (await redis.get(manifestKey(job, first.epoch))) ?? ''
  await redis.set(manifestKey(job, first.epoch), json.replace('"version":1', '"version":99'))
  await committed(t, stores, life, await pending(t, stores, life), keeps)
  await areThere(t, world.folder, first)
  t.is(world.troubles.length, 1)
  t.regex(
    world.troubles[0] ?? '',
    /nothing is removed from the folder.* key sluice:\{job\}:ckpt:1 .* cannot be read/,
  )
  await redis.set(manifestKey(job, first.epoch), json)
  await committed(t, stores, life, await pending(t, stores, life), keeps)
  await committed(t, stores, life, await pending(t, stores, life), keeps)
  await areGone(t, world.folder, first)
  t.is(world.troubles.length, 1)
})

test('FK2: what has expired stays as long as the job store knows the job', async t => {
  const world = await open(t)
  const stores = world.coordinator()
  const life = await begin(t, stores, job)
  const kept = await committed(t, stores, life, await pending(t, stores, life))
  // The end of the life before said so just now, or a disk has forgotten that it was taken back.
  await right(t, world.keeper.expire(job, minute))
  await world.elapse(2 * hour)
  const other = world.coordinator()
  await begin(t, other, 'another job')
  await other.jobs.settled()
  await areThere(t, world.folder, kept)
})

test('a job that is acquired expires no more', async t => {
  const world = await open(t)
  const stores = world.coordinator()
  const request = { job, run: 'r', leaseMs: 1, graph: 'g', mustExist: false, now: 0 }
  await right(t, world.keeper.expire(job, minute))
  await right(t, stores.jobs.acquire(request))
  t.deepEqual(await filesIn(world.folder), [ownerFile])
})

test('FS4: what a writer of an owner or an end left when it died is removed with the rest', async t => {
  const world = await open(t)
  await right(t, world.keeper.own('gone', 'store'))
  await right(t, world.keeper.expire('gone', minute))
  const torn = [`${ownerFile}.60000-${randomUUID()}.tmp`, `${expiryFile}.60000-${randomUUID()}.tmp`]
  for (const name of torn) await writeFile(join(world.folder, 'gone', name), '{"vers')
  await world.elapse(2 * hour)
  const stores = world.coordinator()
  await begin(t, stores, job)
  await stores.jobs.settled()
  t.deepEqual(await readdir(world.folder), [job])
})
