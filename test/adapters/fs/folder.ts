/** A folder for one test or one file of tests, and the stores in it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { storeWithParts } from '../../../lib/adapters/fs/job-store.js'
import { fsPartKeeper } from '../../../lib/adapters/fs/part-keeper.js'
import { type Files, fsSnapshotStore } from '../../../lib/adapters/fs/snapshot-store.js'
import type { JobStore } from '../../../lib/ports/job-store.js'
import type { PartKeeper } from '../../../lib/ports/part-keeper.js'
import type { Stores } from '../../contract/snapshots.js'
import type { Teardown } from '../redis/local-server.js'

export const newFolder = async (t: Teardown): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-parts-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export interface FolderStores extends Stores {
  readonly keeper: PartKeeper
}

/** Both stores, with the records of the jobs in another store. Whatever is to be swept, is: at once. */
export const folderStores = (
  records: JobStore,
  folder: string,
  { identity = 'store', files }: { readonly identity?: string; readonly files?: Files } = {},
): FolderStores => {
  const place = { folder, ...(files === undefined ? {} : { files }) }
  const keeper = fsPartKeeper({ ...place, now: Date.now, graceMs: 0 })
  const snapshots = fsSnapshotStore(place)
  const jobs = storeWithParts(records, keeper, identity, error => {
    throw new Error(error.message)
  })
  const known = new Set<string>()
  return {
    keeper,
    partsElsewhere: true,
    jobs: {
      ...jobs,
      commit:
        (...args) =>
        async () => {
          const done = await jobs.commit(...args)()
          await jobs.settled()
          return done
        },
    },
    snapshots: {
      ...snapshots,
      write: (job, ...args) => {
        known.add(job)
        return snapshots.write(job, ...args)
      },
    },
    elapse: async ms => {
      const end = Date.now() + ms
      while (Date.now() < end) await new Promise(resolve => setTimeout(resolve, 5))
      await jobs.settled()
      for (const job of known) await sweep(records, keeper, job)
    },
  }
}

const sweep = async (records: JobStore, keeper: PartKeeper, job: string): Promise<void> => {
  const kept = await records.checkpoints(job)()
  const record = await records.describe(job)()
  // A job that is gone, or whose checkpoints have expired while its record was read.
  if (E.isLeft(kept) || E.isLeft(record)) return
  await keeper.sweep(job, {
    parts: kept.right.flatMap(({ parts }) => parts),
    newest: record.right?.latest?.epoch ?? 0,
    supersededTtlMs: 60_000,
    seenAt: keeper.now(),
  })()
}
