/** The contract of `SnapshotStore`: what every implementation must do. */
import { randomBytes } from 'node:crypto'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { PartRef } from '../../lib/protocol/manifest.js'
import {
  hostileNames,
  jobName,
  left,
  partOf,
  randomChunks,
  right,
  type Stores,
} from './snapshots.js'

/** Registers the tests for the implementation that `open` gives. */
export const snapshotStoreContract = (
  title: string,
  open: (t: ExecutionContext) => Promise<Stores>,
): void => {
  const fact = (name: string, check: (t: ExecutionContext, stores: Stores) => Promise<void>) =>
    test(`${title}: ${name}`, async t => check(t, await open(t)))

  fact('what was written is read, chunk by chunk', async (t, { snapshots }) => {
    const chunks = [randomBytes(1), randomBytes(1_000), new Uint8Array(0), randomBytes(70_000)]
    const part = partOf('delays/1', 7, 2, chunks)
    const job = jobName()
    await right(t, snapshots.write(job, part, chunks, 60_000))
    const read = await right(t, snapshots.read(job, part))
    t.deepEqual(read.map(Buffer.from), chunks.map(Buffer.from))
  })

  fact('a part larger than what is under way at once is read whole', async (t, { snapshots }) => {
    const chunks = Array.from({ length: 22 }, () => randomBytes(512 * 1024))
    const part = partOf('delays/1', 1, 1, chunks)
    const job = jobName()
    await right(t, snapshots.write(job, part, chunks, 60_000))
    const read = await right(t, snapshots.read(job, part))
    t.true(Buffer.concat(read).equals(Buffer.concat(chunks)))
  })

  fact('a chunk that is a view into a larger buffer is stored as that view', async (t, stores) => {
    const whole = randomBytes(100)
    const view = new Uint8Array(whole.buffer, whole.byteOffset + 10, 20)
    const part = partOf('delays/1', 1, 1, [view])
    const job = jobName()
    await right(t, stores.snapshots.write(job, part, [view], 60_000))
    const [read] = await right(t, stores.snapshots.read(job, part))
    t.deepEqual(Buffer.from(read ?? []), whole.subarray(10, 30))
  })

  fact('a part without chunks is stored and read', async (t, { snapshots }) => {
    const part = partOf('map/0', 1, 1, [])
    const job = jobName()
    await right(t, snapshots.write(job, part, [], 60_000))
    t.deepEqual(await right(t, snapshots.read(job, part)), [])
  })

  fact('a write can be repeated', async (t, { snapshots }) => {
    const chunks = randomChunks()
    const part = partOf('delays/1', 1, 1, chunks)
    const job = jobName()
    await right(t, snapshots.write(job, part, chunks, 60_000))
    await right(t, snapshots.write(job, part, chunks, 60_000))
    t.is((await right(t, snapshots.read(job, part))).length, 2)
  })

  fact('a part that was never written is missing', async (t, { snapshots }) => {
    const error = await left(t, 'missing', snapshots.read('j', partOf('delays/1', 1, 1, [])))
    t.regex(error.message, /"delays\/1" at checkpoint 1 of the job "j"/)
  })

  fact('a part that was not committed is gone after its TTL', async (t, stores) => {
    const chunks = randomChunks()
    const part = partOf('delays/1', 1, 1, chunks)
    const job = jobName()
    await right(t, stores.snapshots.write(job, part, chunks, 30))
    await stores.elapse(40)
    await left(t, 'missing', stores.snapshots.read(job, part))
  })

  fact('a reference with another digest or count is never satisfied', async (t, { snapshots }) => {
    const chunks = randomChunks()
    const part = partOf('delays/1', 1, 1, chunks)
    const job = jobName()
    await right(t, snapshots.write(job, part, chunks, 60_000))
    for (const chunks of [3, 1]) await left(t, 'corrupt', snapshots.read(job, { ...part, chunks }))
    const { digest } = partOf('x', 1, 1, randomChunks())
    const other = await snapshots.read(job, { ...part, digest })()
    // Under its digest there is nothing, or something else under its name.
    if (E.isRight(other)) return t.fail('read by a digest that it has not')
    t.true(['missing', 'corrupt'].includes(other.left.type), other.left.message)
  })

  fact('writers of one part at a time leave it whole', async (t, { snapshots }) => {
    const chunks = randomChunks(3, 40_000)
    const part = partOf('delays/1', 1, 1, chunks)
    const job = jobName()
    const writing = Array.from({ length: 4 }, () => snapshots.write(job, part, chunks, 60_000)())
    for (const written of await Promise.all(writing)) t.true(E.isRight(written))
    t.deepEqual((await right(t, snapshots.read(job, part))).map(Buffer.from), chunks)
  })

  fact('a part unlike its announcement is refused before anything is stored', async (t, stores) => {
    const { snapshots } = stores
    const chunks = randomChunks()
    const part = partOf('delays/1', 1, 1, chunks)
    const large = [randomBytes(1024 * 1024 + 1)]
    const job = jobName()
    await left(t, 'invalid', snapshots.write(job, { ...part, chunks: 3 }, chunks, 60_000))
    await left(t, 'invalid', snapshots.write(job, { ...part, bytes: 1 }, chunks, 60_000))
    await left(t, 'invalid', snapshots.write(job, part, chunks, 0))
    await left(t, 'invalid', snapshots.write(job, partOf('delays/1', 1, 1, large), large, 60_000))
    await left(t, 'missing', snapshots.read(job, part))
  })

  fact('parts differ by job, generation, epoch and subtask', async (t, { snapshots }) => {
    const jobs = [jobName(), jobName()]
    const written: [string, PartRef, readonly Uint8Array[]][] = []
    for (const job of jobs) {
      for (const [subtask, epoch, generation] of [
        ['a/1', 1, 11],
        ['a/1', 11, 1],
        ['a/11', 1, 1],
        ['a/1:1', 1, 1],
      ] as const) {
        const chunks = randomChunks(1)
        const part = partOf(subtask, epoch, generation, chunks)
        await right(t, snapshots.write(job, part, chunks, 60_000))
        written.push([job, part, chunks])
      }
    }
    for (const [job, part, chunks] of written) {
      t.deepEqual((await right(t, snapshots.read(job, part))).map(Buffer.from), chunks)
    }
  })

  fact('hostile names reach only their own part', async (t, { snapshots }) => {
    const suffix = jobName('')
    const written: [string, PartRef, readonly Uint8Array[]][] = []
    for (const name of hostileNames) {
      const chunks = randomChunks(1)
      const part = partOf(name, 1, 1, chunks)
      await right(t, snapshots.write(`${name}${suffix}`, part, chunks, 60_000))
      written.push([`${name}${suffix}`, part, chunks])
    }
    for (const [job, part, chunks] of written) {
      t.deepEqual((await right(t, snapshots.read(job, part))).map(Buffer.from), chunks)
    }
  })
}
