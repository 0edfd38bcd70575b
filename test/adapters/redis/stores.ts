/** Both stores over one local server, and what the tests look at behind their backs. */

import type { ExecutionContext } from 'ava'
import { Redis } from 'ioredis'
import {
  connectRedis,
  type RedisConnection,
  type RedisRequest,
  type RedisStatus,
} from '../../../lib/adapters/redis/connection.js'
import { redisSnapshotStore } from '../../../lib/adapters/redis/snapshot-store.js'
import { redisJobStore } from '../../../lib/adapters/redis/store.js'
import type { Stores } from '../../contract/snapshots.js'
import type { Teardown } from './local-server.js'

export interface RedisStores extends Stores {
  readonly control: RedisConnection
  /** A connection of the test's own. */
  readonly redis: Redis
  /** What the control connection reported. */
  readonly statuses: readonly RedisStatus[]
}

/** Connects, or throws the sentence. */
export const connected = async (request: RedisRequest): Promise<RedisConnection> => {
  const done = await connectRedis(request)()
  if (done._tag === 'Left') throw new Error(done.left.message)
  return done.right
}

export const redisStores = async (
  t: Teardown,
  url: string,
  more: { readonly commandTimeoutMs?: number } = {},
): Promise<RedisStores> => {
  const statuses: RedisStatus[] = []
  const onStatus = (status: RedisStatus) => void statuses.push(status)
  const control = await connected({ url, name: 'control', role: 'control', onStatus, ...more })
  const snapshots = await connected({ url, name: 'snapshots', role: 'snapshots', onStatus: ignore })
  const redis = new Redis(url)
  redis.on('error', ignore)
  t.teardown(async () => {
    await Promise.all([control.close(), snapshots.close()])
    redis.disconnect()
  })
  return {
    jobs: redisJobStore(control),
    snapshots: redisSnapshotStore(snapshots),
    elapse: ms => elapse(redis, ms),
    control,
    redis,
    statuses,
  }
}

const ignore = (): void => undefined

/** Waits until the server's own clock, which its TTLs follow, has gone on by that much. */
const elapse = async (redis: Redis, ms: number): Promise<void> => {
  const end = (await serverTime(redis)) + ms
  while ((await serverTime(redis)) < end) await new Promise(resolve => setTimeout(resolve, 5))
}

const serverTime = async (redis: Redis): Promise<number> => {
  const [seconds, microseconds] = await redis.time()
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000)
}

/** Every key of the server with its TTL in milliseconds; -1: none. */
export const ttls = async (redis: Redis): Promise<ReadonlyMap<string, number>> => {
  const found = new Map<string, number>()
  let cursor = '0'
  do {
    const [next, keys] = await redis.scan(cursor)
    for (const key of keys) found.set(key, await redis.pttl(key))
    cursor = next
  } while (cursor !== '0')
  return found
}

/** Waits for a condition, up to ten seconds. */
export const until = async (
  t: ExecutionContext,
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> => {
  const end = performance.now() + 10_000
  while (!(await condition())) {
    if (performance.now() > end) return t.fail(`never came true: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
