import test from 'ava'
import { jobStoreContract } from '../../contract/job-store.js'
import { snapshotStoreContract } from '../../contract/snapshot-store.js'
import { localRedis } from './local-server.js'
import { type RedisStores, redisStores } from './stores.js'

// One server for the file: the contract's tests name their jobs apart.
const ends: (() => Promise<void>)[] = []
let stores: RedisStores

test.before(async () => {
  const t = { teardown: (end: () => Promise<void>) => void ends.unshift(end) }
  const { url } = await localRedis(t)
  stores = await redisStores(t, url)
})

test.after.always(async () => {
  for (const end of ends) await end()
})

jobStoreContract('redis', async () => stores)
snapshotStoreContract('redis', async () => stores)
