import test from 'ava'
import { jobStoreContract } from '../../contract/job-store.js'
import { snapshotStoreContract } from '../../contract/snapshot-store.js'
import { localRedis } from '../redis/local-server.js'
import { redisStores } from '../redis/stores.js'
import { type FolderStores, folderStores, newFolder } from './folder.js'

// One server and one folder for the file: the contract's tests name their jobs apart.
const ends: (() => Promise<unknown>)[] = []
let stores: FolderStores

test.before(async () => {
  const t = { teardown: (end: () => Promise<void>) => void ends.unshift(end) }
  const { url } = await localRedis(t)
  const { jobs } = await redisStores(t, url)
  stores = folderStores(jobs, await newFolder(t))
})

test.after.always(async () => {
  for (const end of ends) await end()
})

jobStoreContract('fs', async () => stores)
snapshotStoreContract('fs', async () => stores)
