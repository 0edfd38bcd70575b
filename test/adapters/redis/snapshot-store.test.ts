import test, { type ExecutionContext } from 'ava'
import { left, partOf, randomChunks, right } from '../../contract/snapshots.js'
import { type LocalRedisOptions, localRedis } from './local-server.js'
import { redisStores, ttls } from './stores.js'

const open = async (t: ExecutionContext, options: LocalRedisOptions = {}) =>
  redisStores(t, (await localRedis(t, options)).url)

test.serial('a part is never seen without a TTL while it is written', async t => {
  const stores = await open(t)
  const chunks = randomChunks(64, 64 * 1024)
  const part = partOf('delays/0', 1, 1, chunks)
  const seen: number[] = []
  let done = false
  const look = async () => {
    while (!done) seen.push(await stores.redis.pttl('sluice:{job}:part:1:1:delays=2f0'))
  }
  const looking = look()
  await right(t, stores.snapshots.write('job', part, chunks, 60_000))
  done = true
  await looking
  t.true(seen.some(ttl => ttl > 0))
  t.false(seen.includes(-1), `${seen.length} looks`)
})

test.serial('a damaged snapshot is found: bytes, a chunk less, a chunk more', async t => {
  const stores = await open(t)
  const key = 'sluice:{job}:part:1:1:delays=2f0'
  const damages: readonly (() => Promise<unknown>)[] = [
    () => stores.redis.hset(key, 'c1', 'x'.repeat(64)),
    () => stores.redis.hdel(key, 'c1'),
    () => stores.redis.hset(key, 'c2', ''),
    () => stores.redis.multi().hdel(key, 'c1').hset(key, 'c9', 'x').exec(),
    () => stores.redis.hset(key, 'digest', 'another'),
  ]
  const chunks = randomChunks()
  const part = partOf('delays/0', 1, 1, chunks)
  for (const damage of damages) {
    await stores.redis.del(key)
    await right(t, stores.snapshots.write('job', part, chunks, 60_000))
    await damage()
    const error = await left(t, 'corrupt', stores.snapshots.read('job', part))
    t.regex(error.message, /"delays\/0" at checkpoint 1 of the job "job"/)
  }
})

test.serial('bytes that were left by somebody else and never committed are replaced', async t => {
  const stores = await open(t)
  const [old, fresh] = [randomChunks(3), randomChunks(2)]
  const stale = partOf('delays/0', 1, 1, old)
  const part = partOf('delays/0', 1, 1, fresh)
  await right(t, stores.snapshots.write('job', stale, old, 60_000))
  await right(t, stores.snapshots.write('job', part, fresh, 60_000))
  t.deepEqual(await right(t, stores.snapshots.read('job', part)), fresh)
})

test.serial('a part that did not fit leaves no key without a TTL', async t => {
  const stores = await open(t, { memoryMax: '4mb' })
  const chunks = randomChunks(16, 512 * 1024)
  const part = partOf('delays/0', 1, 1, chunks)
  await left(t, 'full', stores.snapshots.write('job', part, chunks, 60_000))
  for (const [key, ttl] of await ttls(stores.redis)) t.true(ttl > 0, key)
})
