/** Names are data: whatever they hold, they reach nothing but what they name. */
import test, { type ExecutionContext } from 'ava'
import type { Redis } from 'ioredis'
import type { NatsConnection } from 'nats'
import {
  type Cli,
  exitOf,
  notesOf,
  refusalOf,
  runCli,
  startCli,
  untilNoted,
} from '../support/cli.js'
import {
  jobFile,
  jobKeys,
  jobStreams,
  messagesOf,
  numbers,
  openNats,
  openRedis,
  streamOf,
  uniqueName,
} from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

test.before('start the servers', async () => {
  await sharedServers()
})

const keys = [
  '__proto__',
  'constructor',
  '',
  ' ',
  'a b',
  'a*',
  '>',
  '?',
  '[a-z]',
  '{}',
  '{a}:b',
  'a.b.c',
  'x\r\nPUB stolen 0\r\n\r\n',
  '\u0000',
  '🦆',
  'é',
]

/** Names of a job and of its vertices. */
const names: readonly (readonly [string, string])[] = [
  ['__proto__', 'x\r\nPUB stolen 0\r\n'],
  ['a\r\n*>? [b]{c}:🦆', '__proto__'],
  ['{job}', '* . > / 🦆'],
]

for (const [job, id] of names) {
  test.serial(`a job named ${JSON.stringify(job)} of ${JSON.stringify(id)} runs`, async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const redis = openRedis(t, servers.redisUrl)
    const out = uniqueName('OUT')
    const settings = { JOB: job, ID: id, KEYS: JSON.stringify(keys), SUBJECT: out, OUT: out }
    const up = startCli(t, ['up', jobFile('names'), '--json'], { servers, settings })
    t.is((await exitOf(up)).code, 0)

    const found = (await messagesOf(nats, out)).map(({ text }) => text).sort()
    const expected = keys.flatMap(key => [1, 2, 3].map(count => JSON.stringify({ key, count })))
    t.deepEqual(found, expected.sort())
    const status = await runCli(t, ['status', job, '--json'], { servers })
    t.like(JSON.parse(status.stdout).jobs[0], { job, status: 'finished' })
    t.deepEqual(await jobStreams(nats, job), [])
    const forever = [...(await jobKeys(redis, job))].filter(([, ttl]) => ttl === -1)
    t.deepEqual(forever, [])
  })
}

test.serial(
  'a subject or a stream that would reach elsewhere is refused with the reason',
  async t => {
    const servers = await sharedServers()
    const cases = [
      [{ SUBJECT: 'out\r\nPUB stolen 0\r\n' }, /holds a space or a control character/],
      [{ SUBJECT: 'a b' }, /holds a space or a control character/],
      [{ SUBJECT: 'a.*' }, /holds a wildcard/],
      [{ SUBJECT: '$JS.API.STREAM.DELETE.X' }, /reserved token \$JS/],
      [{ OUT: 'x*' }, /holds "\*"/],
      [{ OUT: '../up' }, /holds "\."/],
      [{ JOB: '' }, /job\.name: expected a text of 1 to 128 bytes/],
      [{ ID: 'x'.repeat(129) }, /of 129 bytes/],
    ] as const
    for (const [settings, reason] of cases) {
      const { message } = await refusalOf(t, ['up', jobFile('names')], { servers, settings })
      t.regex(message, reason)
    }
  },
)

interface Neighbour {
  readonly job: string
  readonly coordinator: Cli
  readonly worker: Cli
}

const startNeighbour = async (
  t: ExecutionContext,
  nats: NatsConnection,
  job: string,
): Promise<Neighbour> => {
  const servers = await sharedServers()
  const out = uniqueName('OUT')
  const settings = {
    JOB: job,
    IN: uniqueName('IN'),
    OUT: out,
    SUBJECT: out,
    END: 'none',
    PARALLELISM: 1,
  }
  await streamOf(nats, settings.IN, numbers(50))
  const options = { servers, settings }
  const coordinator = startCli(t, ['coordinator', jobFile('counts'), '--json'], options)
  const worker = startCli(t, ['worker', jobFile('counts'), '--slots', '2', '--json'], options)
  return { job, coordinator, worker }
}

/** Everything that lives on of a job: its streams, and its keys that have no time to live. */
const possessions = async (nats: NatsConnection, redis: Redis, job: string) => ({
  streams: await jobStreams(nats, job),
  kinds: [...(await jobKeys(redis, job))]
    .filter(([, ttl]) => ttl === -1)
    .map(([key]) => key.replace(/\d+/g, 'n')),
})

test.serial('cancelling a job named `a*` leaves `ab`, `a b` and `a` alone', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const redis = openRedis(t, servers.redisUrl)
  const star = await startNeighbour(t, nats, 'a*')
  const others: Neighbour[] = []
  for (const job of ['ab', 'a b', 'a']) others.push(await startNeighbour(t, nats, job))
  for (const { coordinator } of [star, ...others]) {
    await untilNoted(coordinator, 'checkpoint-completed', 2)
  }
  const before = []
  for (const { job } of others) before.push(await possessions(nats, redis, job))

  t.is((await runCli(t, ['cancel', 'a*'], { servers })).code, 0)
  t.is((await exitOf(star.coordinator)).code, 0)
  t.is((await exitOf(star.worker)).code, 0)
  t.deepEqual(await possessions(nats, redis, 'a*'), { streams: [], kinds: [] })

  for (const [i, { job, coordinator }] of others.entries()) {
    const completed = notesOf(coordinator, 'checkpoint-completed').length
    await untilNoted(coordinator, 'checkpoint-completed', completed + 2)
    t.is(notesOf(coordinator, 'generation-begun').length, 1)
    const after = await possessions(nats, redis, job)
    t.deepEqual(after.streams, before[i]?.streams)
    t.true(after.streams.length >= 2 && after.kinds.length > 0)
  }
})
