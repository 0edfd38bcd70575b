import test, { type ExecutionContext } from 'ava'
import {
  acquire,
  begin,
  claimOf,
  commitOptions,
  complete,
  historyOf,
  left,
  manifestOf,
  right,
  storeParts,
} from '../../contract/snapshots.js'
import { type LocalRedisOptions, localRedis } from './local-server.js'
import { redisStores, ttls, until } from './stores.js'

const open = async (t: ExecutionContext, options: LocalRedisOptions = {}) =>
  redisStores(t, (await localRedis(t, options)).url)

test.serial(
  'pending parts have a TTL, the newest checkpoint has none, a superseded one has',
  async t => {
    const stores = await open(t)
    const { claim, generation } = await begin(t, stores, 'job')
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const parts = await storeParts(t, stores, 'job', epoch, generation, ['delays/0'])
    const pending = 'sluice:{job}:part:1:1:delays=2f0'
    const before = (await ttls(stores.redis)).get(pending) ?? -1
    t.true(before > 590_000 && before <= 600_000, `${before}`)

    const first = manifestOf(claim, epoch, generation, parts)
    await right(t, stores.jobs.commit(claim, first, commitOptions(epoch, generation)))
    const committed = await ttls(stores.redis)
    t.is(committed.get(pending), -1)
    t.is(committed.get('sluice:{job}:ckpt:1'), -1)

    await complete(t, stores, claim, generation, 30_000)
    const after = await ttls(stores.redis)
    for (const key of [pending, 'sluice:{job}:ckpt:1']) {
      const ttl = after.get(key) ?? -1
      t.true(ttl > 20_000 && ttl <= 30_000, `${key}: ${ttl}`)
    }
    for (const kind of ['ckpt:2', 'part:1:2:delays=2f0', 'part:1:2:source=2f0', 'meta']) {
      t.is(after.get(`sluice:{job}:${kind}`), -1, kind)
    }
    t.true((after.get('sluice:{job}:lease') ?? -1) > 0)
  },
)

test.serial('after an end with a TTL every key of the job has one or is gone', async t => {
  const stores = await open(t)
  const { claim, generation } = await begin(t, stores, 'job')
  await complete(t, stores, claim, generation, 600_000)
  await complete(t, stores, claim, generation, 600_000)
  const pending = await right(t, stores.jobs.allocate(claim, generation))
  await storeParts(t, stores, 'job', pending, generation)
  await right(t, stores.jobs.recordAborted(claim, historyOf(pending, generation, 'aborted'), 10))
  await right(t, stores.jobs.end(claim, 'finished', { ttlMs: 5_000 }))
  // Whatever comes late must not leave a key for ever either.
  await left(t, 'fenced', stores.jobs.renew(claim, 'run-a', 60_000))
  const late = historyOf(9, generation, 'aborted')
  await left(t, 'fenced', stores.jobs.recordAborted(claim, late, 10))
  await right(t, stores.jobs.requestCancel('job'))
  await storeParts(t, stores, 'job', 9, generation)
  const keys = await ttls(stores.redis)
  const own = [...keys].filter(([key]) => key.startsWith('sluice:{job}:'))
  t.true(own.length >= 9, `${own.length}`)
  for (const [key, ttl] of own) t.true(ttl > 0, `${key}: ${ttl}`)
  t.false(keys.has('sluice:{job}:lease'))
  const kept = ['meta', 'history', 'completed', 'ckpt:2', 'part:1:2:delays=2f0']
  for (const kind of kept) t.true((keys.get(`sluice:{job}:${kind}`) ?? -1) <= 5_000, kind)
})

test.serial('an end without a TTL keeps the newest checkpoint for ever', async t => {
  const stores = await open(t)
  const { claim, generation } = await begin(t, stores, 'job')
  await complete(t, stores, claim, generation)
  await right(t, stores.jobs.end(claim, 'failed', {}))
  const keys = await ttls(stores.redis)
  t.false(keys.has('sluice:{job}:lease'))
  for (const [key, ttl] of keys) t.is(ttl, -1, key)
})

test.serial(
  'a fresh start takes the TTL from the record, and leaves it on the old checkpoint',
  async t => {
    const stores = await open(t)
    const { claim, generation } = await begin(t, stores, 'job')
    await complete(t, stores, claim, generation)
    await right(t, stores.jobs.end(claim, 'finished', { ttlMs: 60_000 }))
    await begin(t, stores, 'job')
    const keys = await ttls(stores.redis)
    t.is(keys.get('sluice:{job}:meta'), -1)
    t.true((keys.get('sluice:{job}:ckpt:1') ?? -1) > 0)
    t.true((keys.get('sluice:{job}:part:1:1:delays=2f0') ?? -1) > 0)
    t.is(await stores.redis.zscore('sluice:jobs', 'job'), 'inf')
  },
)

test.serial(
  'P5: a commit whose reply is lost is known as committed when it is tried again',
  async t => {
    const stores = await redisStores(t, (await localRedis(t)).url, { commandTimeoutMs: 300 })
    const { claim, generation } = await begin(t, stores, 'job')
    // The server knows the script from here on, so that the next commit is one command.
    await complete(t, stores, claim, generation)
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const parts = await storeParts(t, stores, 'job', epoch, generation)
    const manifest = manifestOf(claim, epoch, generation, parts)
    const commit = stores.jobs.commit(claim, manifest, commitOptions(epoch, generation))
    // Reads pass, so that the commit itself is what waits; it runs when nobody listens any more.
    await stores.redis.call('CLIENT', 'PAUSE', '450', 'WRITE')
    t.regex((await left(t, 'timed-out', commit)).message, /outcome is unknown/)
    await until(
      t,
      'committed',
      async () => (await stores.redis.exists('sluice:{job}:ckpt:2')) === 1,
    )
    t.deepEqual(await right(t, commit), { type: 'already-committed' })
    t.is((await right(t, stores.jobs.describe('job')))?.completed, 2)
  },
)

test.serial(
  'commits that race leave one pointer, and no key without a TTL but its own',
  async t => {
    const stores = await open(t)
    const { claim, generation } = await begin(t, stores, 'job')
    await complete(t, stores, claim, generation)
    const commits = []
    for (let i = 0; i < 4; i += 1) {
      const epoch = await right(t, stores.jobs.allocate(claim, generation))
      const parts = await storeParts(t, stores, 'job', epoch, generation)
      const manifest = manifestOf(claim, epoch, generation, parts)
      commits.push(stores.jobs.commit(claim, manifest, commitOptions(epoch, generation)))
    }
    const outcomes = await Promise.all(commits.map(commit => right(t, commit)))
    t.true(outcomes.every(({ type }) => type === 'committed' || type === 'superseded'))
    const latest = (await right(t, stores.jobs.describe('job')))?.latest?.epoch
    t.is(latest, 5)
    const forever = [...(await ttls(stores.redis))].filter(([, ttl]) => ttl === -1)
    t.deepEqual(
      forever
        .map(([key]) => key)
        .filter(key => /:(ckpt|part):/.test(key))
        .sort(),
      [
        'sluice:{job}:ckpt:5',
        'sluice:{job}:part:1:5:delays=2f0',
        'sluice:{job}:part:1:5:source=2f0',
      ],
    )
  },
)

test.serial('scripts that the server forgot are sent again', async t => {
  const stores = await open(t)
  const { claim, generation } = await begin(t, stores, 'job')
  await stores.redis.script('FLUSH')
  await complete(t, stores, claim, generation)
  t.is((await right(t, stores.jobs.describe('job')))?.completed, 1)
})

test.serial('P10: a record that is gone is lost, never a fresh start', async t => {
  const stores = await open(t)
  await begin(t, stores, 'job')
  await stores.redis.del('sluice:{job}:meta', 'sluice:{job}:lease')
  for (const mustExist of [true, false]) {
    const error = await left(t, 'lost', acquire(stores, 'job', { mustExist }))
    t.regex(error.message, /"job" has existed, and Redis at redis:\/\/127\.0\.0\.1:\d+ has lost/)
    t.truthy(error.next)
  }
})

test.serial('P10: writes after the record is gone are lost too', async t => {
  const stores = await open(t)
  const { claim, generation } = await begin(t, stores, 'job')
  await stores.redis.del('sluice:{job}:meta')
  await left(t, 'lost', stores.jobs.renew(claim, 'run-a', 60_000))
  await left(t, 'lost', stores.jobs.beginGeneration(claim))
  const manifest = manifestOf(claim, 1, generation, [])
  await left(t, 'lost', stores.jobs.commit(claim, manifest, commitOptions(1, generation)))
  t.deepEqual([...(await ttls(stores.redis)).keys()].sort(), ['sluice:jobs', 'sluice:{job}:lease'])
})

test.serial('P10: a missing manifest or pointer is lost, and does not hide other jobs', async t => {
  const stores = await open(t)
  const { claim, generation } = await begin(t, stores, 'job')
  await begin(t, stores, 'other')
  await complete(t, stores, claim, generation)
  await stores.redis.del('sluice:{job}:ckpt:1')
  const lost = /has lost the manifest of checkpoint 1, the newest of the job "job"/
  t.regex((await left(t, 'lost', stores.jobs.beginGeneration(claim))).message, lost)
  t.regex((await left(t, 'lost', stores.jobs.describe('job'))).message, lost)
  t.regex((await left(t, 'lost', acquire(stores, 'job'))).message, lost)
  const listed = await right(t, stores.jobs.list())
  t.deepEqual(listed.map(({ job }) => job).sort(), ['job', 'other'])
  t.regex(listed.find(({ job }) => job === 'job')?.statusReason ?? '', lost)

  await stores.redis.hset('sluice:{job}:meta', 'latest', '')
  const nameless = /has lost which one is the newest/
  t.regex((await left(t, 'lost', acquire(stores, 'job'))).message, nameless)
  const next = { ...claim, term: claim.term + 2 }
  t.regex((await left(t, 'lost', stores.jobs.beginGeneration(next))).message, nameless)
})

test.serial(
  'a manifest that cannot be read is corrupt, and the next commit deletes nothing',
  async t => {
    const stores = await open(t)
    const { claim, generation } = await begin(t, stores, 'job')
    await complete(t, stores, claim, generation)
    await stores.redis.set('sluice:{job}:ckpt:1', '{"version":1}')
    const error = await left(t, 'corrupt', stores.jobs.beginGeneration(claim))
    t.regex(error.message, /sluice:\{job\}:ckpt:1/)
    await left(t, 'corrupt', stores.jobs.describe('job'))
    const current = (await stores.redis.hget('sluice:{job}:meta', 'generation')) ?? ''
    await complete(t, stores, claim, Number(current), 0)
    t.is((await ttls(stores.redis)).get('sluice:{job}:part:1:1:delays=2f0'), -1)
  },
)

test.serial('a record or a history that cannot be read is corrupt', async t => {
  const stores = await open(t)
  const { claim } = await begin(t, stores, 'job')
  const entry = historyOf(1, 1, 'aborted')
  await right(t, stores.jobs.recordAborted(claim, entry, 10))
  await stores.redis.lpush('sluice:{job}:history', 'no json')
  t.regex((await left(t, 'corrupt', stores.jobs.history('job'))).message, /no JSON/)
  await stores.redis.hset('sluice:{job}:meta', 'generation', 'many')
  await left(t, 'corrupt', stores.jobs.describe('job'))
  await left(t, 'corrupt', acquire(stores, 'job'))
})

test.serial('a fenced coordinator that ends the job leaves it in the list for ever', async t => {
  const stores = await open(t)
  const old = await claimOf(t, stores, 'job')
  await claimOf(t, stores, 'job')
  await left(t, 'fenced', stores.jobs.end(old.claim, 'finished', { ttlMs: 1 }))
  t.is(await stores.redis.zscore('sluice:jobs', 'job'), 'inf')
})

test.serial('a key of Sluice that holds something else is a conflict', async t => {
  const stores = await open(t)
  await stores.redis.set('sluice:{job}:meta', 'text')
  await left(t, 'conflict', acquire(stores, 'job'))
})

test.serial('an end that meets a commit leaves no key without a TTL', async t => {
  const stores = await open(t)
  for (let head = 0; head < 8; head += 1) {
    const job = `job-${head}`
    const { claim, generation } = await begin(t, stores, job)
    await complete(t, stores, claim, generation)
    const epoch = await right(t, stores.jobs.allocate(claim, generation))
    const parts = await storeParts(t, stores, job, epoch, generation)
    const manifest = manifestOf(claim, epoch, generation, parts)
    const end = right(t, stores.jobs.end(claim, 'canceled', { ttlMs: 60_000 }))
    // The commit starts that many commands after the end, so that it falls into each of its gaps.
    for (let i = 0; i < head; i += 1) await stores.control.redis.ping()
    const options = commitOptions(epoch, generation)
    const outcome = await right(t, stores.jobs.commit(claim, manifest, options))
    t.true(outcome.type === 'committed' || outcome.type === 'fenced')
    await end
    const own = [...(await ttls(stores.redis))].filter(([key]) => key.includes(`{${job}}`))
    for (const [key, ttl] of own) t.true(ttl > 0, `${key}: ${ttl}`)
  }
})

test.serial('P1: ids stay above a committed one though a failover lost the counter', async t => {
  const stores = await open(t)
  const { claim, generation } = await begin(t, stores, 'job')
  await stores.redis.hset('sluice:{job}:meta', 'epoch', '6')
  const parts = await storeParts(t, stores, 'job', 7, generation)
  const manifest = manifestOf(claim, 7, generation, parts)
  const outcome = await right(t, stores.jobs.commit(claim, manifest, commitOptions(7, generation)))
  t.deepEqual(outcome, { type: 'committed' })
  t.is(await right(t, stores.jobs.allocate(claim, generation)), 8)
})
