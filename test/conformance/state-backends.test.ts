/** State backends: whole jobs on real processes, with their state in each of them. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { NatsConnection } from 'nats'
import type { StateBackendOptions } from '../../lib/job/settings.js'
import { newFolder } from '../adapters/fs/folder.js'
import {
  type Cli,
  type CliOptions,
  eventually,
  exitOf,
  notesOf,
  pidOf,
  refusalOf,
  startCli,
  untilNoted,
} from '../support/cli.js'
import {
  assertCounted,
  jobFile,
  jobKeys,
  messagesOf,
  numbers,
  openNats,
  openRedis,
  publish,
  streamOf,
  uniqueName,
} from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

const counts = jobFile('counts')
const withBackend = jobFile('counts-backend')
const records = numbers(800)
/** So many are there from the start; the job cannot end before the rest. */
const early = 400
const jsonOf = (value: unknown): string => JSON.stringify(value)

test.before('start the servers', async () => {
  await sharedServers()
})

const settingsOf = (stem: string, backend?: StateBackendOptions) => ({
  JOB: uniqueName(stem),
  IN: uniqueName('IN'),
  OUT: uniqueName('OUT'),
  SUBJECT: uniqueName('out'),
  END: records.length,
  DELAY_MS: 0,
  INTERVAL_MS: 100,
  ...(backend === undefined ? {} : { BACKEND: JSON.stringify(backend) }),
})
type Settings = ReturnType<typeof settingsOf>

/** NATS alone. */
const withoutRedis = async (settings: Settings): Promise<CliOptions> => {
  const { natsUrl } = await sharedServers()
  return { settings, env: { NATS_URL: natsUrl, REDIS_URL: '' } }
}

const withRedis = async (settings: Settings): Promise<CliOptions> => ({
  settings,
  servers: await sharedServers(),
})

const prepared = async (t: ExecutionContext, { IN }: Settings) => {
  const { natsUrl } = await sharedServers()
  const nats = await openNats(t, natsUrl)
  await streamOf(nats, IN, records.slice(0, early))
  return nats
}

/** Lets a job come to its end. */
const release = (nats: NatsConnection, { IN }: Settings): Promise<void> =>
  publish(nats, IN, records.slice(early).map(jsonOf))

const kill = async (cli: Cli, role: string): Promise<void> => {
  process.kill(await pidOf(cli, role), 'SIGKILL')
}

/** Kills a worker after some checkpoints, and asserts that the whole output is as if nothing had been. */
const surviveWorker = async (
  t: ExecutionContext,
  job: string,
  settings: Settings,
  options: CliOptions,
): Promise<Cli> => {
  const nats = await prepared(t, settings)
  const up = startCli(t, ['up', job, '--json'], options)
  await untilNoted(up, 'checkpoint-completed', 3)
  await kill(up, 'counts/1')
  await untilNoted(up, 'generation-begun', 2)
  await release(nats, settings)
  const { code, stdout } = await exitOf(up)
  t.is(code, 0)
  t.regex(stdout, /"status":"finished"/)
  const [, restored] = notesOf(up, 'generation-begun')
  t.regex(String(restored?.text), /generation 2 starts from checkpoint \d+/)
  await assertCounted(t, nats, settings.OUT, records)
  return up
}

const partsIn = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { recursive: true })).filter(name => /\.(part|tmp)$/.test(name))

test.serial('redis: a job whose worker is killed goes on from its checkpoint', async t => {
  const settings = settingsOf('on-redis', { type: 'redis' })
  await surviveWorker(t, withBackend, settings, await withRedis(settings))
})

test.serial('fs: so it does, with every part in the folder and none in Redis', async t => {
  const folder = join(await newFolder(t), 'state')
  const settings = settingsOf('on-fs', { type: 'fs', folder })
  const options = await withRedis(settings)
  const { redisUrl } = await sharedServers()
  await surviveWorker(t, withBackend, settings, options)
  const keys = [...(await jobKeys(openRedis(t, redisUrl), settings.JOB)).keys()]
  t.true(keys.length > 0)
  t.deepEqual(
    keys.filter(key => key.includes(':part:')),
    [],
  )
  // Finished, it needs none any more.
  t.deepEqual(await readdir(folder), [])
})

test.serial('fs: a job goes on where it was when its coordinator is killed', async t => {
  const folder = await newFolder(t)
  const settings = settingsOf('fs-coordinator', { type: 'fs', folder })
  const nats = await prepared(t, settings)
  const up = startCli(t, ['up', withBackend, '--json'], await withRedis(settings))
  await untilNoted(up, 'checkpoint-completed', 3)
  await kill(up, 'coordinator')
  await untilNoted(up, 'generation-begun', 2)
  await release(nats, settings)
  t.is((await exitOf(up)).code, 0)
  t.regex(String(notesOf(up, 'generation-begun')[1]?.text), /starts from checkpoint \d+/)
  await assertCounted(t, nats, settings.OUT, records)
})

test.serial('fs: a job goes on where it was when everything is killed', async t => {
  const folder = await newFolder(t)
  const settings = settingsOf('fs-all', { type: 'fs', folder })
  const nats = await prepared(t, settings)
  const first = startCli(t, ['up', withBackend, '--json'], await withRedis(settings))
  await untilNoted(first, 'checkpoint-completed', 3)
  first.signal('SIGKILL')
  await exitOf(first)
  t.true((await partsIn(folder)).length >= 4)
  const second = startCli(t, ['up', withBackend, '--json'], await withRedis(settings))
  await untilNoted(second, 'running')
  await release(nats, settings)
  t.is((await exitOf(second)).code, 0)
  t.regex(String(notesOf(second, 'generation-begun')[0]?.text), /starts from checkpoint \d+/)
  await assertCounted(t, nats, settings.OUT, records)
  t.deepEqual(await partsIn(folder), [])
})

test.serial('fs: a folder holds what its checkpoints need, and little more', async t => {
  const folder = await newFolder(t)
  const backend: StateBackendOptions = { type: 'fs', folder }
  const settings = {
    ...settingsOf('fs-few', backend),
    LIMITS: JSON.stringify({ supersededTtlMs: 1 }),
  }
  const nats = await prepared(t, settings)
  const up = startCli(t, ['up', withBackend, '--json'], await withRedis(settings))
  await untilNoted(up, 'checkpoint-completed', 10)
  const subtasks = 4
  // The kept one, one that is being written, and one that was superseded a moment ago.
  await eventually('few parts', async () => (await partsIn(folder)).length <= 3 * subtasks)
  t.true((await partsIn(folder)).length >= subtasks)
  await release(nats, settings)
  t.is((await exitOf(up)).code, 0)
})

test.serial(
  'memory: without Redis a job says where its state is, and survives a worker',
  async t => {
    const settings = settingsOf('in-memory')
    const up = await surviveWorker(t, counts, settings, await withoutRedis(settings))
    t.regex(
      `${up.stdout()}${up.stderr()}`,
      /no Redis is configured: state is kept in the coordinator's memory and is gone when that process ends; at most 5242880 bytes/,
    )
  },
)

test.serial('memory: nothing of a job is in the Redis that it was given', async t => {
  const settings = settingsOf('memory-chosen', { type: 'memory' })
  await surviveWorker(t, withBackend, settings, await withRedis(settings))
  const { redisUrl } = await sharedServers()
  t.is((await jobKeys(openRedis(t, redisUrl), settings.JOB)).size, 0)
})

test.serial(
  'P10 memory: a job fails with its coordinator, and starts afresh only when told',
  async t => {
    const settings = settingsOf('memory-lost')
    const options = await withoutRedis(settings)
    const nats = await prepared(t, settings)
    const up = startCli(t, ['up', counts, '--json'], options)
    await untilNoted(up, 'checkpoint-completed', 2)
    await kill(up, 'coordinator')
    const { code, stdout } = await exitOf(up)
    t.is(code, 1)
    t.regex(
      stdout,
      /failed: its coordinator ended with SIGKILL: .* memory of a coordinator that is gone.*--fresh/,
    )

    const { message, next } = await refusalOf(t, ['up', counts], options)
    t.regex(message, /has run before, and its checkpoints were in the memory of a coordinator/)
    t.regex(next ?? '', /--fresh/)

    const manager = await nats.jetstreamManager()
    await manager.streams.purge(settings.OUT)
    await release(nats, settings)
    const fresh = startCli(t, ['up', counts, '--json', '--fresh'], options)
    t.is((await exitOf(fresh)).code, 0)
    await assertCounted(t, nats, settings.OUT, records)
  },
)

test.serial('memory: a second run of a job is refused while the first one lives', async t => {
  const settings = settingsOf('memory-twice')
  const options = await withoutRedis(settings)
  const nats = await prepared(t, settings)
  const up = startCli(t, ['up', counts, '--json'], options)
  await untilNoted(up, 'checkpoint-completed')
  const { message } = await refusalOf(t, ['up', counts, '--fresh'], options)
  t.regex(message, /is already running/)
  await release(nats, settings)
  t.is((await exitOf(up)).code, 0)
  await assertCounted(t, nats, settings.OUT, records)
})

test.serial(
  'memory: a state above the limit aborts its checkpoint, and the reason says all',
  async t => {
    const settings = settingsOf('memory-large', { type: 'memory', stateBytesMax: 100 })
    await prepared(t, settings)
    const up = startCli(t, ['up', withBackend, '--json'], await withoutRedis(settings))
    const { text } = await untilNoted(up, 'checkpoint-aborted')
    t.regex(
      String(text),
      /the snapshot of "[a-z]+\/\d" at checkpoint \d+ of the job .* has \d+ bytes, and the state backend 'memory' takes 100 of a subtask/,
    )
    up.signal('SIGINT')
    await exitOf(up)
  },
)

test.serial('fs and redis are refused without Redis', async t => {
  const folder = await newFolder(t)
  for (const backend of [{ type: 'fs', folder }, { type: 'redis' }] as const) {
    const settings = settingsOf('no-redis', backend)
    const refusal = await refusalOf(t, ['up', withBackend], await withoutRedis(settings))
    t.is(refusal.type, 'invalid')
    t.regex(refusal.message, new RegExp(`backend '${backend.type}' .* no Redis is configured`))
    t.regex(refusal.next ?? '', /--redis/)
  }
})

test.serial(
  'a job is not started with another backend than the one that has its state',
  async t => {
    const folder = await newFolder(t)
    const fs: StateBackendOptions = { type: 'fs', folder }
    const settings = { ...settingsOf('switched', fs), END: 'none', DELAY_MS: 0 }
    const servers = await sharedServers()
    const { natsUrl, redisUrl } = servers
    const nats = await openNats(t, natsUrl)
    await streamOf(nats, settings.IN, records.slice(0, 300))
    const runUntil = async (count: number): Promise<Cli> => {
      const up = startCli(t, ['up', withBackend, '--json'], { servers, settings })
      await eventually('everything is put out', async () => {
        return (await messagesOf(nats, settings.OUT)).length >= count
      })
      up.signal('SIGINT')
      t.is((await exitOf(up)).code, 0)
      return up
    }
    await runUntil(300)
    const before = await openRedis(t, redisUrl).hgetall(`sluice:{${settings.JOB}}:meta`)

    const onRedis = { servers, settings: { ...settings, BACKEND: '{"type":"redis"}' } }
    const refused = await refusalOf(t, ['up', withBackend], onRedis)
    t.regex(refused.message, /are in the state backend 'fs', and it is started with 'redis'/)
    t.regex(refused.next ?? '', /'fs' again; .*--fresh/)
    t.deepEqual(await openRedis(t, redisUrl).hgetall(`sluice:{${settings.JOB}}:meta`), before)
    const inMemory = { servers, settings: { ...settings, BACKEND: '{"type":"memory"}' } }
    t.regex((await refusalOf(t, ['up', withBackend], inMemory)).message, /has run before/)

    await publish(nats, settings.IN, records.slice(300, 400).map(jsonOf))
    const again = await runUntil(400)
    t.regex(String(notesOf(again, 'generation-begun')[0]?.text), /starts from checkpoint \d+/)
    await assertCounted(t, nats, settings.OUT, records.slice(0, 400))
  },
)

test.serial('fs: a folder with checkpoints that another Redis knows is refused', async t => {
  const folder = await newFolder(t)
  const settings = settingsOf('foreign', { type: 'fs', folder })
  await prepared(t, settings)
  const up = startCli(t, ['up', withBackend, '--json'], await withRedis(settings))
  await untilNoted(up, 'checkpoint-completed', 2)
  up.signal('SIGINT')
  await exitOf(up)
  const { redisUrl } = await sharedServers()
  const redis = openRedis(t, redisUrl)
  const identity = (await redis.get('sluice:identity')) ?? ''
  await redis.set('sluice:identity', 'another')
  const parts = await partsIn(folder)
  const { message } = await refusalOf(t, ['up', withBackend], await withRedis(settings))
  t.regex(message, /holds checkpoints of a job .* that are recorded in another Redis/)
  t.deepEqual(await partsIn(folder), parts)
  await redis.set('sluice:identity', identity)
})
