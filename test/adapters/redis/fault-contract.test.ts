import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { Redis } from 'ioredis'
import { partKey } from '../../../lib/adapters/redis/keys.js'
import { runScript, storeChunk } from '../../../lib/adapters/redis/scripts.js'
import { storeFaultContract } from '../../contract/store-faults.js'
import type { StoreServer } from '../../contract/store-server.js'
import { goOn, stop } from '../../support/stopped.js'
import { localRedis } from './local-server.js'
import { type RedisStores, redisStores, ttls, until } from './stores.js'

/** Short, because tests wait for it. */
const commandTimeoutMs = 700

/** So many keys, loaded so slowly, keep a server loading for as long as a test may need. */
const loadedKeys = 4_000
const loadDelayUs = 5_000

const folder = async (t: ExecutionContext): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), 'sluice-redis-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Has the server read its data again, slowly. Resolves when it does; returns what ends it. */
const load = async (t: ExecutionContext, { redis }: RedisStores, url: string) => {
  const loader = new Redis(url)
  t.teardown(() => loader.disconnect())
  const pipeline = redis.pipeline()
  for (let n = 0; n < loadedKeys; n += 1) pipeline.set(`filler:${n}`, 'x'.repeat(100))
  await pipeline.exec()
  await redis.config('SET', 'loading-process-events-interval-bytes', '1024')
  await redis.config('SET', 'key-load-delay', `${loadDelayUs}`)
  const loaded = loader.call('DEBUG', 'RELOAD')
  const isLoading = () =>
    redis.ping().then(
      () => false,
      (thrown: Error) => thrown.message.startsWith('LOADING'),
    )
  await until(t, 'loading', isLoading)
  return async (): Promise<void> => {
    await redis.config('SET', 'key-load-delay', '0')
    await loaded
    loader.disconnect()
    await redis.unlink(...Array.from({ length: loadedKeys }, (_, n) => `filler:${n}`))
  }
}

storeFaultContract('redis', async (t): Promise<StoreServer> => {
  const dir = await folder(t)
  const server = await localRedis(t, { dir, appendOnly: true, debug: true })
  const stores = await redisStores(t, server.url, { commandTimeoutMs })
  const { redis, control } = stores
  const isBack = () => until(t, 'ready', () => control.redis.status === 'ready')
  const setDown = async (down: boolean): Promise<void> => {
    if (down) {
      await server.kill()
      await until(t, 'down', () => control.redis.status !== 'ready')
    } else {
      await server.start()
      await isBack()
    }
  }
  let endMode: () => Promise<unknown> = async () => undefined
  return {
    jobs: stores.jobs,
    snapshots: stores.snapshots,
    elapse: async ms => {
      const end = Date.now() + ms
      await until(t, 'later', () => Date.now() >= end)
    },
    setDown,
    restart: async () => {
      await setDown(true)
      await setDown(false)
    },
    setHung: async hung => {
      await (hung ? stop(server.pid) : goOn(server.pid))
      if (!hung) await isBack()
    },
    setMode: async mode => {
      await endMode()
      endMode = async () => undefined
      if (mode === 'oom') {
        await redis.config('SET', 'maxmemory', '1mb')
        endMode = () => redis.config('SET', 'maxmemory', '0')
      }
      if (mode === 'readonly') {
        await redis.call('REPLICAOF', '127.0.0.1', '1')
        endMode = () => redis.call('REPLICAOF', 'NO', 'ONE')
      }
      if (mode === 'loading') endMode = await load(t, stores, server.url)
    },
    backup: async () => {
      const kept = await folder(t)
      const data = join(dir, 'appendonlydir')
      await cp(data, kept, { recursive: true })
      return async () => {
        await setDown(true)
        await rm(data, { recursive: true })
        await cp(kept, data, { recursive: true })
        await setDown(false)
      }
    },
    expireNow: async filter => {
      for (const [key, ttlMs] of await ttls(redis))
        if (ttlMs >= 0 && filter(key)) await redis.pexpireat(key, 1)
    },
    keys: async () =>
      new Map([...(await ttls(redis))].map(([key, ttl]) => [key, ttl < 0 ? undefined : ttl])),
    tear: async (job, part, chunks, ttlMs) => {
      const key = partKey(job, part)
      const chunk = Buffer.from(chunks[0] ?? [])
      await runScript(redis, storeChunk, [key], [ttlMs, part.digest])
      await runScript(redis, storeChunk, [key], [ttlMs, part.digest, 'c0', chunk])
    },
  }
})
