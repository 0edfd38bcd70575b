import test, { type ExecutionContext } from 'ava'
import { Redis } from 'ioredis'
import {
  begin,
  commitOptions,
  complete,
  historyOf,
  jobName,
  left,
  manifestOf,
  partOf,
  randomChunks,
  right,
  storeParts,
} from '../../contract/snapshots.js'
import { type LocalRedisOptions, localRedis } from './local-server.js'
import { redisStores, until } from './stores.js'

const open = async (t: ExecutionContext, options: LocalRedisOptions = {}) =>
  redisStores(t, (await localRedis(t, options)).url)

test.serial('kill -9 under AOF everysec keeps the pointer, the counters and the parts', async t => {
  const server = await localRedis(t, { appendOnly: true, appendFsync: 'everysec' })
  const stores = await redisStores(t, server.url)
  const job = jobName()
  const { claim, generation } = await begin(t, stores, job)
  const manifest = await complete(t, stores, claim, generation)
  await right(t, stores.jobs.allocate(claim, generation))
  await server.kill()
  await server.start()
  await until(t, 'ready', () => stores.control.redis.status === 'ready')
  const next = await begin(t, stores, job)
  t.deepEqual(next.restore, manifest)
  t.is(next.claim.term, claim.term + 1)
  t.is(next.generation, generation + 1)
  t.is(await right(t, stores.jobs.allocate(next.claim, next.generation)), manifest.epoch + 2)
  for (const part of manifest.parts) await right(t, stores.snapshots.read(job, part))
})

test.serial('a full server takes no snapshot, and still lets the coordinator work', async t => {
  const stores = await open(t)
  const { claim, generation } = await begin(t, stores, 'job')
  const manifest = await complete(t, stores, claim, generation)
  const epoch = await right(t, stores.jobs.allocate(claim, generation))
  const parts = await storeParts(t, stores, 'job', epoch, generation)
  await stores.redis.config('SET', 'maxmemory', '1mb')
  const chunks = randomChunks()
  const part = partOf('delays/1', epoch, generation, chunks)
  const error = await left(t, 'full', stores.snapshots.write('job', part, chunks, 60_000))
  t.regex(error.message, /has reached its maxmemory/)
  t.regex(error.next ?? '', /Raise maxmemory/)

  await right(t, stores.jobs.renew(claim, 'run-a', 60_000))
  await right(t, stores.jobs.recordAborted(claim, historyOf(epoch, generation, 'aborted'), 10))
  const next = await begin(t, stores, 'job')
  t.deepEqual(next.restore, manifest)
  const late = manifestOf(next.claim, epoch + 1, next.generation, parts)
  const options = commitOptions(epoch + 1, next.generation)
  t.deepEqual(await right(t, stores.jobs.commit(next.claim, late, options)), { type: 'committed' })
  await right(t, stores.jobs.end(next.claim, 'failed', { ttlMs: 60_000 }))
})

test.serial(
  'a replica, and a primary without its replicas, take no write and do no half of one',
  async t => {
    const stores = await open(t)
    const { claim, generation } = await begin(t, stores, 'job')
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const parts = await storeParts(t, stores, 'job', epoch, generation)
    const before = await stores.redis.hgetall('sluice:{job}:meta')
    const manifest = manifestOf(claim, epoch, generation, parts)
    const commit = stores.jobs.commit(claim, manifest, commitOptions(epoch, generation))
    await stores.redis.config('SET', 'min-replicas-to-write', '1')
    t.regex((await left(t, 'unavailable', commit)).message, /fewer replicas/)
    await stores.redis.config('SET', 'min-replicas-to-write', '0')
    await stores.redis.call('REPLICAOF', '127.0.0.1', '1')
    t.regex((await left(t, 'unavailable', commit)).message, /is a replica/)
    await stores.redis.config('SET', 'replica-serve-stale-data', 'no')
    t.regex((await left(t, 'unavailable', commit)).message, /lost its primary/)
    await stores.redis.call('REPLICAOF', 'NO', 'ONE')
    t.deepEqual(await stores.redis.hgetall('sluice:{job}:meta'), before)
    t.deepEqual(await right(t, commit), { type: 'committed' })
  },
)

test.serial('durability tells an evicting policy and the append-only file', async t => {
  const plain = await open(t)
  t.deepEqual(await right(t, plain.jobs.durability()), {
    evicts: false,
    policy: 'noeviction',
    appendOnly: false,
    fsync: 'everysec',
  })
  const strict = await open(t, { policy: 'allkeys-lru', appendOnly: true, appendFsync: 'always' })
  t.deepEqual(await right(t, strict.jobs.durability()), {
    evicts: true,
    policy: 'allkeys-lru',
    appendOnly: true,
    fsync: 'always',
  })
})

test.serial('a configuration that may not be read is refused, with what to grant', async t => {
  const { url } = await localRedis(t)
  const admin = new Redis(url)
  t.teardown(() => admin.disconnect())
  await admin.call('ACL', 'SETUSER', 'job', 'on', '>pw', '~sluice:*', '+@all', '-config')
  const stores = await redisStores(t, url.replace('//', '//job:pw@'))
  const error = await left(t, 'refused', stores.jobs.durability())
  t.regex(error.message, /does not show its configuration/)
  t.regex(error.next ?? '', /\+config\|get/)
})

test.serial('a user that may reach the keys of Sluice only can run a job', async t => {
  const { url } = await localRedis(t)
  const admin = new Redis(url)
  t.teardown(() => admin.disconnect())
  await admin.call(
    'ACL',
    'SETUSER',
    'job',
    'on',
    '>pw',
    '~sluice:*',
    '+@all',
    '-@dangerous',
    '+info',
  )
  const stores = await redisStores(t, url.replace('//', '//job:pw@'))
  const { claim, generation } = await begin(t, stores, 'job')
  await complete(t, stores, claim, generation)
  await right(t, stores.jobs.end(claim, 'finished', { ttlMs: 60_000 }))
  t.is((await right(t, stores.jobs.list())).length, 1)
})
