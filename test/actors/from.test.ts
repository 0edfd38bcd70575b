/** What a start from another job's checkpoint leaves in a folder when it comes to nothing. */
import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { claimFrom } from '../../actors/from.js'
import { storeWithParts } from '../../lib/adapters/fs/job-store.js'
import { fsPartKeeper } from '../../lib/adapters/fs/part-keeper.js'
import { fsSnapshotStore } from '../../lib/adapters/fs/snapshot-store.js'
import { askPlainly, JobData } from '../../lib/adapters/memory/job-data.js'
import { memoryJobStore } from '../../lib/adapters/memory/job-store.js'
import { streamError } from '../../lib/errors.js'
import type { SnapshotStore } from '../../lib/ports/job-store.js'
import { newFolder } from '../adapters/fs/folder.js'
import { begin, complete, right } from '../contract/snapshots.js'
import { MemoryBroker } from '../support/memory-broker.js'
import { memoryEventLog } from '../support/memory-event-log.js'
import { memoryDigests } from '../support/memory-job.js'
import { MemoryProcess, memoryScheduler, VirtualTime } from '../support/memory-time.js'
import { MemoryWire } from '../support/memory-wire.js'

const hour = 3_600_000
const isPart = (name: string): boolean => name.endsWith('.part')

/** A job with a checkpoint in a folder, and others that start from it. */
const open = async (t: ExecutionContext) => {
  const folder = await newFolder(t)
  const keeperIn = (ms: number) => fsPartKeeper({ folder, now: () => Date.now() + ms, graceMs: 0 })
  const truth = memoryJobStore(new JobData({ now: 0 }, randomUUID), askPlainly)
  const coordinatorIn = (ms: number) =>
    storeWithParts(truth, keeperIn(ms), 'store', ({ message }) => t.fail(message))
  const snapshots = fsSnapshotStore({ folder })
  const jobs = coordinatorIn(0)
  const stores = { jobs, snapshots, partsElsewhere: true, elapse: async () => undefined }
  const { claim, generation } = await begin(t, stores, 'before')
  await complete(t, stores, claim, generation)
  await jobs.settled()
  const time = new VirtualTime()
  const process = new MemoryProcess('run', time)
  const wire = new MemoryWire({ time, process, latencyMs: () => 1, timeoutMs: 2_000, hooks: {} })
  const ports = {
    store: jobs,
    log: memoryEventLog(new MemoryBroker(time), wire),
    scheduler: memoryScheduler(time, process),
    expectParts: jobs.expectParts,
    digests: memoryDigests,
  }
  /** The start of a job whose second copy cannot be written. */
  const fails = async (job: string): Promise<void> => {
    let writes = 0
    const broken: SnapshotStore = {
      ...snapshots,
      write: (...args) => {
        writes += 1
        return writes === 1
          ? snapshots.write(...args)
          : async () => E.left(streamError('full', 'the disk is full'))
      },
    }
    const graphShape = { maxParallelism: 128, subtasks: ['source/0', 'delays/0'] }
    const request = { job, run: 'run', graph: 'graph-1', leaseMs: 9_000, fresh: false }
    const failed = await claimFrom(
      { ...request, from: 'before', graphShape, onWaiting: () => undefined },
      { ...ports, snapshots: broken },
    )
    t.like(failed, { left: { type: 'full' } })
  }
  /** What another job's coordinator removes when it starts so much later. */
  const sweepIn = async (ms: number): Promise<void> => {
    const later = coordinatorIn(ms)
    await begin(t, { ...stores, jobs: later }, `starts in ${ms}`)
    await later.settled()
  }
  return { folder, keeper: keeperIn(0), snapshots, stores, fails, sweepIn }
}

test('FR2: a start that fails after a copy leaves nothing for ever', async t => {
  const { folder, fails, sweepIn } = await open(t)
  await fails('after')
  t.is((await readdir(join(folder, 'after'))).filter(isPart).length, 1)
  await sweepIn(hour)
  t.is((await readdir(join(folder, 'after'))).filter(isPart).length, 1)
  await sweepIn(3 * hour)
  t.false((await readdir(folder)).includes('after'))
  t.is((await readdir(join(folder, 'before'))).filter(isPart).length, 2)
})

test('FR2: it lets no parts expire that were there before, of a job without a record', async t => {
  const { folder, keeper, snapshots, fails, sweepIn } = await open(t)
  await right(t, keeper.own('lost', 'store'))
  const chunks = [Buffer.from('state')]
  const part = { subtask: 'a/0', epoch: 1, generation: 1, digest: 'd'.repeat(64) }
  await right(t, snapshots.write('lost', { ...part, chunks: 1, bytes: 5 }, chunks, hour))
  await fails('lost')
  await sweepIn(9 * hour)
  t.is((await readdir(join(folder, 'lost'))).filter(isPart).length, 2)
})
