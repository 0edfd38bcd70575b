/** A job store whose parts are in a folder: what fails between its steps loses nothing, and leaves nothing. */
import { randomUUID } from 'node:crypto'
import { readdir, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { storeWithParts } from '../../../lib/adapters/fs/job-store.js'
import { partFile, temporaryFile } from '../../../lib/adapters/fs/layout.js'
import { fsPartKeeper } from '../../../lib/adapters/fs/part-keeper.js'
import { askPlainly, JobData } from '../../../lib/adapters/memory/job-data.js'
import { memoryJobStore } from '../../../lib/adapters/memory/job-store.js'
import { streamError } from '../../../lib/errors.js'
import type { JobStore } from '../../../lib/ports/job-store.js'
import type { PartKeeper } from '../../../lib/ports/part-keeper.js'
import type { Manifest } from '../../../lib/protocol/manifest.js'
import {
  begin,
  commitOptions,
  complete,
  left,
  manifestOf,
  right,
  storeParts,
} from '../../contract/snapshots.js'
import { folderStores, newFolder } from './folder.js'

const job = 'job'
const noAnswer = async () => E.left(streamError('timed-out', 'no answer'))

const open = async (t: ExecutionContext) => {
  const folder = await newFolder(t)
  let lives = 0
  const truth = memoryJobStore(
    new JobData({ now: 0 }, () => {
      lives += 1
      return `life-${lives}`
    }),
    askPlainly,
  )
  const stores = folderStores(truth, folder)
  const started = await begin(t, stores, job)
  return { folder, truth, stores, ...started }
}
type Opened = Awaited<ReturnType<typeof open>>

/** Another coordinator's view of the same, in which something fails. */
const storeOver = (
  { truth, stores }: Opened,
  more: { readonly truth?: Partial<JobStore>; readonly keeper?: Partial<PartKeeper> },
) => {
  const troubles: string[] = []
  const keeper = { ...stores.keeper, ...more.keeper }
  const store = storeWithParts({ ...truth, ...more.truth }, keeper, 'store', ({ message }) =>
    troubles.push(message),
  )
  return { store, troubles }
}

const partFiles = async (folder: string): Promise<readonly string[]> =>
  (await readdir(join(folder, job))).filter(name => name.endsWith('.part')).sort()

const filesOf = (...manifests: readonly Manifest[]): readonly string[] =>
  manifests.flatMap(({ parts }) => parts.map(partFile)).sort()

/** A checkpoint whose parts are written, and that nobody has committed. */
const pending = async (t: ExecutionContext, { stores, claim, generation }: Opened) => {
  const epoch = await right(t, stores.jobs.allocate(claim, generation))
  const parts = await storeParts(t, stores, job, epoch, generation)
  return manifestOf(claim, epoch, generation, parts)
}

const commit = (store: JobStore, { claim }: Opened, manifest: Manifest) =>
  store.commit(claim, manifest, commitOptions(manifest.epoch, manifest.generation, 0))

test('PE1: nothing is committed whose parts are not there, and the one before stays', async t => {
  const world = await open(t)
  const first = await complete(t, world.stores, world.claim, world.generation, 0)
  const manifest = await pending(t, world)
  const [part] = manifest.parts
  if (part === undefined) return t.fail()
  await unlink(join(world.folder, job, partFile(part)))
  t.deepEqual(await right(t, commit(world.stores.jobs, world, manifest)), {
    type: 'parts-missing',
    subtasks: [part.subtask],
  })
  t.deepEqual((await right(t, world.truth.describe(job)))?.latest, first)
  t.true(filesOf(first).every(file => filesOf(first).includes(file)))
  for (const kept of first.parts) await right(t, world.stores.snapshots.read(job, kept))
})

test('PE1: a fenced coordinator hears that first, whether the parts are there or not', async t => {
  const world = await open(t)
  const manifest = await pending(t, world)
  for (const part of manifest.parts) await unlink(join(world.folder, job, partFile(part)))
  await right(t, world.truth.beginGeneration(world.claim))
  const outcome = await right(t, commit(world.stores.jobs, world, manifest))
  t.like(outcome, { type: 'fenced', generation: world.generation + 1 })
})

test('P5: an unknown outcome of a commit removes nothing, whether it was done or not', async t => {
  const world = await open(t)
  const first = await complete(t, world.stores, world.claim, world.generation, 0)
  const second = await pending(t, world)
  const undone = storeOver(world, { truth: { commit: () => noAnswer } })
  await left(t, 'timed-out', commit(undone.store, world, second))
  await undone.store.settled()
  t.deepEqual(await partFiles(world.folder), [...filesOf(first), ...filesOf(second)].sort())

  const done = storeOver(world, {
    truth: {
      commit:
        (...args) =>
        async () => {
          await world.truth.commit(...args)()
          return noAnswer()
        },
    },
  })
  await left(t, 'timed-out', commit(done.store, world, second))
  await done.store.settled()
  t.deepEqual(await partFiles(world.folder), [...filesOf(first), ...filesOf(second)].sort())
  // Asked again, it is known, and only now is the first one's place free.
  t.deepEqual(await right(t, commit(world.stores.jobs, world, second)), {
    type: 'already-committed',
  })
  t.deepEqual(await partFiles(world.folder), filesOf(second))
})

test('PE2: a crash between commit and sweep leaves parts that the next sweep removes', async t => {
  const world = await open(t)
  await complete(t, world.stores, world.claim, world.generation, 0)
  const second = await pending(t, world)
  // What a process does that dies right after the commit.
  await right(
    t,
    world.truth.commit(world.claim, second, {
      ...commitOptions(second.epoch, second.generation, 0),
      partsElsewhere: true,
    }),
  )
  t.is((await partFiles(world.folder)).length, 4)
  const third = await pending(t, world)
  await right(t, commit(world.stores.jobs, world, third))
  t.deepEqual(await partFiles(world.folder), filesOf(third))
})

test('PE2: a sweep that fails is told, changes no outcome, and is made up for by the next', async t => {
  const world = await open(t)
  await complete(t, world.stores, world.claim, world.generation, 0)
  const broken = storeOver(world, {
    keeper: { sweep: () => async () => E.left(streamError('unavailable', 'the folder is away')) },
  })
  const second = await pending(t, world)
  t.deepEqual(await right(t, commit(broken.store, world, second)), { type: 'committed' })
  await broken.store.settled()
  t.deepEqual(broken.troubles, ['the folder is away'])
  t.is((await partFiles(world.folder)).length, 4)
  const third = await pending(t, world)
  await right(t, commit(world.stores.jobs, world, third))
  t.deepEqual(await partFiles(world.folder), filesOf(third))
})

test('a folder that is away when a checkpoint is committed leaves its outcome open', async t => {
  const world = await open(t)
  const manifest = await pending(t, world)
  const away = storeOver(world, {
    keeper: { missing: () => async () => E.left(streamError('unavailable', 'it is away')) },
  })
  await left(t, 'unavailable', commit(away.store, world, manifest))
  t.is((await right(t, world.truth.describe(job)))?.latest, undefined)
  t.deepEqual(await right(t, commit(world.stores.jobs, world, manifest)), { type: 'committed' })
})

test('PE3: a sweep leaves the parts of a later checkpoint that may still be completed', async t => {
  const world = await open(t)
  const first = await pending(t, world)
  const second = await pending(t, world)
  await right(t, commit(world.stores.jobs, world, first))
  t.deepEqual(await partFiles(world.folder), [...filesOf(first), ...filesOf(second)].sort())
  t.deepEqual(await right(t, commit(world.stores.jobs, world, second)), { type: 'committed' })
  t.deepEqual(await partFiles(world.folder), filesOf(second))
})

test('PE4: where the record of the job, or its checkpoints, are lost, nothing is removed', async t => {
  const world = await open(t)
  const first = await complete(t, world.stores, world.claim, world.generation, 0)
  const lost = async () => E.left(streamError('lost', 'the pointer is lost'))
  for (const truth of [
    { checkpoints: () => lost },
    { checkpoints: () => async () => E.right([]), describe: () => lost },
    { checkpoints: () => async () => E.right([]), describe: () => async () => E.right(undefined) },
  ]) {
    const { store, troubles } = storeOver(world, { truth })
    await right(t, store.end(world.claim, 'failed', {}))
    t.is(troubles.length, 1)
    t.deepEqual(await partFiles(world.folder), filesOf(first))
  }
})

test('the newest checkpoints that are kept stay, and the others go', async t => {
  const world = await open(t)
  const manifests: Manifest[] = []
  for (let n = 0; n < 4; n += 1) {
    const manifest = await pending(t, world)
    const options = commitOptions(manifest.epoch, manifest.generation, 0)
    const kept = { ...options, numRetained: 2 }
    await right(t, world.stores.jobs.commit(world.claim, manifest, kept))
    manifests.push(manifest)
  }
  t.deepEqual(await partFiles(world.folder), filesOf(...manifests.slice(-2)))
})

test('what an end leaves: all to a job that goes on, nothing of one that is over', async t => {
  const goesOn = await open(t)
  const kept = await complete(t, goesOn.stores, goesOn.claim, goesOn.generation, 0)
  await pending(t, goesOn)
  await right(t, goesOn.stores.jobs.end(goesOn.claim, 'failed', {}))
  t.deepEqual(await partFiles(goesOn.folder), filesOf(kept))
  const forAWhile = await open(t)
  const later = await complete(t, forAWhile.stores, forAWhile.claim, forAWhile.generation, 0)
  const resumes = { ttlMs: 60_000, resumes: true }
  await right(t, forAWhile.stores.jobs.end(forAWhile.claim, 'failed', resumes))
  t.deepEqual(await partFiles(forAWhile.folder), filesOf(later))
  const over = await open(t)
  const last = await complete(t, over.stores, over.claim, over.generation, 0)
  // A writer was killed in the middle of it.
  const [torn = ''] = filesOf({
    ...last,
    parts: last.parts.map(part => ({ ...part, generation: 9 })),
  })
  await writeFile(join(over.folder, job, temporaryFile(torn, 1e9, randomUUID())), 'sluice pa')
  await right(t, over.stores.jobs.end(over.claim, 'finished', { ttlMs: 60_000 }))
  t.deepEqual(await readdir(over.folder), [])
})

test('a new life does not touch what an earlier one has kept', async t => {
  const world = await open(t)
  const kept = await complete(t, world.stores, world.claim, world.generation, 0)
  await right(t, world.stores.jobs.end(world.claim, 'canceled', { resumes: false }))
  const next = await begin(t, world.stores, job, { run: 'run-b' })
  t.is(next.restore, undefined)
  const fresh = await complete(t, world.stores, next.claim, next.generation, 0)
  t.deepEqual(await partFiles(world.folder), [...filesOf(kept), ...filesOf(fresh)].sort())
  await right(t, world.stores.jobs.end(next.claim, 'finished', { ttlMs: 60_000 }))
  t.deepEqual(await partFiles(world.folder), filesOf(kept))
})

test('FK3: a store that does not own the folder acquires no job in it', async t => {
  const world = await open(t)
  await complete(t, world.stores, world.claim, world.generation, 0)
  const keeper = fsPartKeeper({ folder: world.folder, now: Date.now })
  const other = storeWithParts(world.truth, keeper, 'another store', () => undefined)
  const before = await right(t, world.truth.describe(job))
  const request = { job, run: 'r', leaseMs: 1, graph: 'g', mustExist: false, now: 0 }
  await left(t, 'conflict', other.acquire(request))
  t.deepEqual(await right(t, world.truth.describe(job)), before)
})
