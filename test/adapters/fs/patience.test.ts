/** A folder that answers nothing, as on a server of files that is away. */
import * as fs from 'node:fs/promises'
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { storeWithParts } from '../../../lib/adapters/fs/job-store.js'
import { fsPartKeeper } from '../../../lib/adapters/fs/part-keeper.js'
import { type Files, fsSnapshotStore } from '../../../lib/adapters/fs/snapshot-store.js'
import { askPlainly, JobData } from '../../../lib/adapters/memory/job-data.js'
import { memoryJobStore } from '../../../lib/adapters/memory/job-store.js'
import {
  begin,
  commitOptions,
  left,
  manifestOf,
  partOf,
  randomChunks,
  right,
  storeParts,
} from '../../contract/snapshots.js'
import { until } from '../redis/stores.js'
import { newFolder } from './folder.js'

const job = 'job'
const patienceMs = 50
const chunks = randomChunks()
const part = partOf('delays/1', 1, 1, chunks)

/** Files that stand still until they are let go. */
const standing = () => {
  const waiting: (() => void)[] = []
  let stands = true
  const answer = () =>
    stands ? new Promise<void>(resolve => void waiting.push(resolve)) : Promise.resolve()
  const files: Files = {
    ...fs,
    open: async (...args) => {
      await answer()
      return fs.open(...args)
    },
  }
  const letGo = (): void => {
    stands = false
    for (const go of waiting.splice(0)) go()
  }
  return { files, calls: () => waiting.length, letGo }
}

test('FP1: a write is given up when the folder does not answer, and succeeds when it does', async t => {
  const folder = await newFolder(t)
  const { files, letGo } = standing()
  const store = fsSnapshotStore({ folder, files, patienceMs })
  const error = await left(t, 'timed-out', store.write(job, part, chunks, 60_000))
  t.regex(error.message, /could not store the snapshot of "delays\/1".* has not answered for 50 ms/)
  letGo()
  // A busy disk may take longer than this test is patient.
  await until(t, 'a write', async () => E.isRight(await store.write(job, part, chunks, 60_000)()))
  const read = await right(t, fsSnapshotStore({ folder }).read(job, part))
  t.deepEqual(read.map(Buffer.from), chunks)
})

test('FP2: what does not answer is not asked again meanwhile, and nothing is made up for', async t => {
  const folder = await newFolder(t)
  const { files, calls, letGo } = standing()
  await right(t, fsSnapshotStore({ folder }).write(job, part, chunks, 60_000))
  const keeper = fsPartKeeper({ folder, files, patienceMs, now: Date.now })
  for (let tries = 0; tries < 3; tries += 1)
    await left(t, 'timed-out', keeper.missing(job, [part], []))
  await left(t, 'timed-out', keeper.own('another', 'store'))
  t.is(calls(), 1)
  letGo()
  await until(t, 'a look', async () => E.isRight(await keeper.missing(job, [part], [])()))
  t.deepEqual(await fs.readdir(folder), [job])
})

test('FP1: a commit behind a sweep that stands still is answered, and so is an end', async t => {
  const folder = await newFolder(t)
  const truth = memoryJobStore(new JobData({ now: 0 }, () => 'life'), askPlainly)
  const keeper = fsPartKeeper({ folder, now: Date.now })
  let letGo = (): void => undefined
  const standsStill = new Promise<void>(resolve => {
    letGo = resolve
  })
  const slow: typeof keeper = {
    ...keeper,
    sweep:
      (...args) =>
      async () => {
        await standsStill
        return keeper.sweep(...args)()
      },
  }
  const troubles: string[] = []
  const onTrouble = ({ message }: { readonly message: string }) => void troubles.push(message)
  const jobs = storeWithParts(truth, slow, 'store', onTrouble, patienceMs)
  const snapshots = fsSnapshotStore({ folder })
  const stores = { jobs, snapshots, partsElsewhere: true, elapse: async () => undefined }
  const { claim, generation } = await begin(t, stores, job)
  const epoch = await right(t, jobs.allocate(claim, generation))
  const parts = await storeParts(t, stores, job, epoch, generation)
  const manifest = manifestOf(claim, epoch, generation, parts)
  const commit = jobs.commit(claim, manifest, commitOptions(epoch, generation))
  const error = await left(t, 'timed-out', commit)
  t.regex(error.message, /files are being removed, has not answered for 50 ms/)
  t.is((await right(t, truth.describe(job)))?.latest, undefined)
  t.deepEqual(troubles, [])
  await right(t, jobs.end(claim, 'failed', {}))
  t.is(troubles.length, 1)
  letGo()
  await jobs.settled()
})
