/** Servers that cannot carry a job, or do not let it in, are named with what to do about them. */
import test from 'ava'
import { type CliExit, refusalOf, runCli } from '../support/cli.js'
import { assertCounted, jobFile, numbers, openNats, openRedis, streamOf } from '../support/jobs.js'
import { sharedServers, withServers } from '../support/servers.js'

const natsPassword = 'nightingale'
const redisPassword = 'red%kite'
const servers = () =>
  sharedServers({
    natsOptions: { user: 'sluice', password: natsPassword },
    redisOptions: { password: redisPassword },
  })
const counts = jobFile('counts')

test.before('start the servers', async () => {
  await servers()
})

const withPassword = (address: string, user: string, password: string): string => {
  const url = new URL(address)
  url.username = user
  url.password = password
  return url.href
}

test.serial('a NATS server without JetStream is refused', async t => {
  const { redisUrl } = await servers()
  const { natsUrl } = await withServers(t, { redis: false, natsOptions: { jetstream: false } })
  const refusal = await refusalOf(t, ['up', counts], { servers: { natsUrl, redisUrl } })
  t.is(refusal.type, 'refused')
  t.regex(refusal.message, /NATS server at 127\.0\.0\.1:\d+ runs without JetStream/)
  t.regex(refusal.next ?? '', /nats-server .*-js|jetstream/i)
})

test.serial('a wrong NATS password is refused, and not printed', async t => {
  const { natsUrl, redisUrl } = await servers()
  const wrong = withPassword(natsUrl, 'sluice', 'cuckoo')
  const refusal = await refusalOf(t, ['up', counts], { servers: { natsUrl: wrong, redisUrl } })
  t.is(refusal.type, 'refused')
  t.regex(refusal.message, /NATS server at 127\.0\.0\.1:\d+ refused the user name or password/)
  t.regex(refusal.next ?? '', /nats:\/\/user:password@host:port/)
  t.notRegex(JSON.stringify(refusal), /cuckoo/)
})

test.serial('a wrong Redis password is refused, and not printed', async t => {
  const { natsUrl, redisUrl } = await servers()
  const wrong = withPassword(redisUrl, '', 'cuckoo')
  const refusal = await refusalOf(t, ['up', counts], { servers: { natsUrl, redisUrl: wrong } })
  t.is(refusal.type, 'refused')
  t.regex(refusal.message, /Redis at redis:\/\/127\.0\.0\.1:\d+ refused the user name or password/)
  t.notRegex(JSON.stringify(refusal), /cuckoo/)
})

test.serial('a missing Redis password is asked for', async t => {
  const { natsUrl, redisUrl } = await servers()
  const none = withPassword(redisUrl, '', '')
  const { message, next } = await refusalOf(t, ['up', counts], {
    servers: { natsUrl, redisUrl: none },
  })
  t.regex(message, /asks for a password/)
  t.regex(next ?? '', /redis:\/\/user:password@host:port/)
})

test.serial('a Redis that may evict checkpoints is refused', async t => {
  const redis = openRedis(t, (await servers()).redisUrl)
  await redis.config('SET', 'maxmemory-policy', 'volatile-lru')
  t.teardown(() => redis.config('SET', 'maxmemory-policy', 'noeviction'))
  for (const settings of [{}, { DURABILITY: 'none' }]) {
    const refusal = await refusalOf(t, ['up', counts], { servers: await servers(), settings })
    t.is(refusal.type, 'refused')
    t.regex(refusal.message, /may evict checkpoints: its maxmemory-policy is 'volatile-lru'/)
    t.regex(refusal.next ?? '', /maxmemory-policy noeviction/)
  }
})

test.serial("a Redis that cannot sync every write is refused by durability 'strict'", async t => {
  const refusal = await refusalOf(t, ['up', counts], {
    servers: await servers(),
    settings: { DURABILITY: 'strict' },
  })
  t.regex(refusal.message, /'strict' needs Redis to sync every write.*'everysec'/)
  t.regex(refusal.next ?? '', /appendfsync always/)
})

test.serial(
  "without an append-only file a job runs only with durability 'none', which says what it gives up",
  async t => {
    const { natsUrl, redisUrl } = await servers()
    const nats = await openNats(t, natsUrl)
    const redis = openRedis(t, redisUrl)
    await redis.config('SET', 'appendonly', 'no')
    t.teardown(() => redis.config('SET', 'appendonly', 'yes'))
    const records = numbers(200)
    await streamOf(nats, 'NUMBERS', records)

    const refusal = await refusalOf(t, ['up', counts], { servers: await servers() })
    t.is(refusal.type, 'refused')
    t.regex(refusal.message, /keeps no append-only file/)
    t.regex(refusal.next ?? '', /appendonly yes.*durability: 'none'/)

    const run = await runCli(t, ['up', counts, '--verbose'], {
      servers: await servers(),
      settings: { DURABILITY: 'none' },
    })
    t.is(run.code, 0)
    t.regex(run.stdout, /durability 'none': a restart of Redis may lose every checkpoint/)
    t.regex(run.stdout, /job 'counts' is finished/)
    assertSilentOnPasswords(run)
    await assertCounted(t, nats, 'COUNTED', records)

    function assertSilentOnPasswords({ stdout, stderr }: CliExit): void {
      t.false((stdout + stderr).includes(natsPassword))
      t.false((stdout + stderr).includes(redisPassword))
    }
  },
)
