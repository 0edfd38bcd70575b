/** `--from`: a new job starts from a kept checkpoint of another, and needs nothing of it any more. */
import test, { type ExecutionContext } from 'ava'
import type { Redis } from 'ioredis'
import { manifestKey, metaKey, partKey } from '../../lib/adapters/redis/keys.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import { token } from '../../lib/protocol/names.js'
import {
  type Cli,
  eventually,
  exitOf,
  notesOf,
  pidOf,
  refusalOf,
  runCli,
  startCli,
  untilNoted,
} from '../support/cli.js'
import {
  assertCounted,
  type Counted,
  countedOf,
  jobFile,
  messagesOf,
  numbers,
  openNats,
  openRedis,
  publish,
  streamOf,
  uniqueName,
} from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'
import { keptOf, partTtls, ttlOf } from './kept.js'

const counts = jobFile('counts')

test.before('start the servers', async () => {
  await sharedServers()
})

const settingsOf = (more: Readonly<Record<string, string | number>> = {}) => ({
  JOB: uniqueName('from'),
  IN: uniqueName('IN'),
  OUT: uniqueName('OUT'),
  SUBJECT: uniqueName('out'),
  END: 'none',
  RETENTION: 'retain-on-cancellation',
  NUM_RETAINED: 3,
  PARALLELISM: 2,
  ...more,
})
type Settings = ReturnType<typeof settingsOf>

const up = async (t: ExecutionContext, settings: Settings, ...args: readonly string[]) =>
  startCli(t, ['up', counts, '--json', ...args], { servers: await sharedServers(), settings })

/** A job that has put out 300 records, and was canceled; its checkpoints are kept. */
const canceledJob = async (
  t: ExecutionContext,
  more: Readonly<Record<string, string | number>> = {},
) => {
  const servers = await sharedServers()
  const settings = settingsOf(more)
  const nats = await openNats(t, servers.natsUrl)
  const redis = openRedis(t, servers.redisUrl)
  await streamOf(nats, settings.IN, numbers(300))
  const cli = await up(t, settings)
  await eventually('everything is put out', async () => {
    return (await messagesOf(nats, settings.OUT)).length >= 300
  })
  // Whatever is kept in the end is younger than all of that output.
  const completed = notesOf(cli, 'checkpoint-completed').length
  await untilNoted(cli, 'checkpoint-completed', completed + 4)
  t.is((await runCli(t, ['cancel', settings.JOB], { servers })).code, 0)
  t.is((await exitOf(cli)).code, 0)
  const kept = await keptOf(redis, settings.JOB)
  t.is(kept.length, 3)
  return { servers, settings, nats, redis, kept }
}

/** What nobody may have touched: the checkpoint is as it was, without a TTL. */
const assertUntouched = async (
  t: ExecutionContext,
  redis: Redis,
  manifests: readonly Manifest[],
) => {
  for (const manifest of manifests) {
    const key = manifestKey(manifest.job, manifest.epoch)
    t.deepEqual(JSON.parse((await redis.get(key)) ?? ''), manifest)
    const fates = [await ttlOf(redis, key), ...(await partTtls(redis, manifest))]
    t.true(fates.every(fate => fate === 'kept'))
  }
}

const more = (from: number, to: number) => numbers(to).slice(from)

const texts = (records: readonly unknown[]) => records.map(record => JSON.stringify(record))

const historyIds = async (t: ExecutionContext, job: string): Promise<readonly number[]> => {
  const servers = await sharedServers()
  const { stdout } = await runCli(t, ['checkpoints', job, '--json'], { servers })
  const answer: { checkpoints: readonly { epoch: number }[] } = JSON.parse(stdout)
  return answer.checkpoints.map(({ epoch }) => epoch)
}

/** Resolves when the job has put so many records into the stream, and has completed and stopped. */
const putOut = async (t: ExecutionContext, cli: Cli, stream: string, records: number) => {
  const nats = await openNats(t, (await sharedServers()).natsUrl)
  await eventually(`${records} records are put out`, async () => {
    return (await messagesOf(nats, stream)).length >= records
  })
  await untilNoted(cli, 'checkpoint-completed')
  cli.signal('SIGINT')
  t.is((await exitOf(cli)).code, 0)
}

for (const incremental of ['no', 'yes']) {
  const kind = incremental === 'yes' ? 'incremental ' : ''
  test.serial(`a new job goes on from ${kind}checkpoints of another, exactly once`, async t => {
    const { settings, nats, redis, kept } = await canceledJob(t, { INCREMENTAL: incremental })
    const isOfChanges = ({ parts }: Manifest) => parts.some(part => part.bases !== undefined)
    const source = incremental === 'yes' ? kept.find(isOfChanges) : kept[0]
    if (source === undefined) return t.fail()
    const from = incremental === 'yes' ? `${settings.JOB}/${source.epoch}` : settings.JOB
    await publish(nats, settings.IN, texts(more(300, 600)))
    const next = { ...settings, JOB: uniqueName('next') }
    await putOut(t, await up(t, next, '--from', from), settings.OUT, 600)
    await assertCounted(t, nats, settings.OUT, numbers(600))
    const ids = await historyIds(t, next.JOB)
    t.is(Math.min(...ids), source.epoch + 1)
    t.not(await redis.hget(metaKey(next.JOB), 'jobId'), source.jobId)
    await assertUntouched(t, redis, kept)
  })
}

for (const delivery of ['transactional', 'idempotent']) {
  const title = `one that writes elsewhere begins at the checkpoint that is named (${delivery})`
  test.serial(title, async t => {
    // The records of several subtasks would come in no certain order.
    const shape = delivery === 'idempotent' ? { PARALLELISM: 1 } : {}
    const { settings, nats, redis, kept } = await canceledJob(t, { DELIVERY: delivery, ...shape })
    const oldest = kept.at(-1)
    if (oldest === undefined) return t.fail()
    await publish(nats, settings.IN, texts(more(300, 400)))
    const elsewhere = { OUT: uniqueName('OUT'), SUBJECT: uniqueName('out') }
    const next = { ...settings, ...elsewhere, JOB: uniqueName('next') }
    const cli = await up(t, next, '--from', `${settings.JOB}/${oldest.epoch}`)
    await putOut(t, cli, next.OUT, 100)
    t.is(Math.min(...(await historyIds(t, next.JOB))), oldest.epoch + 1)
    // State came along: what is put out counts on, and ends as if one job had read all of it.
    const found = (await messagesOf(nats, next.OUT)).map(({ text }): Counted => JSON.parse(text))
    const expected = countedOf(numbers(400))
    const lines = new Set(texts(expected))
    t.true(found.length >= 100)
    t.true(found.every(line => lines.has(JSON.stringify(line))))
    const last = new Set(texts(expected.slice(300)))
    t.is(texts(found).filter(line => last.has(line)).length, 100)
    await assertUntouched(t, redis, kept)
  })
}

test.serial('a sink that delivers in another way than the checkpoint holds is named', async t => {
  const { settings } = await canceledJob(t, { PARALLELISM: 1 })
  const next = { ...settings, JOB: uniqueName('next'), DELIVERY: 'idempotent' }
  const { code, stdout } = await exitOf(await up(t, next, '--from', settings.JOB))
  t.is(code, 1)
  t.regex(stdout, /sink 'out' has delivery 'idempotent' now; .* one with delivery 'transactional'/)
})

test.serial('a job that has ended starts again under its name, above all its ids', async t => {
  const { settings, nats, redis, kept } = await canceledJob(t)
  await publish(nats, settings.IN, texts(more(300, 500)))
  await putOut(t, await up(t, settings, '--from', settings.JOB), settings.OUT, 500)
  await assertCounted(t, nats, settings.OUT, numbers(500))
  const [newest] = kept
  t.true(Math.min(...(await historyIds(t, settings.JOB))) > (newest?.epoch ?? 0))
  await assertUntouched(t, redis, kept)
})

test.serial('a crash before the first own checkpoint restores the same once more', async t => {
  const { settings, nats, redis, kept } = await canceledJob(t)
  const next = { ...settings, JOB: uniqueName('next'), INTERVAL_MS: 3_600_000 }
  const cli = await up(t, next, '--from', settings.JOB)
  await untilNoted(cli, 'running')
  // Nothing of the old job is needed any more.
  for await (const keys of redis.scanStream({ match: `sluice:{${token(settings.JOB)}}:*` }))
    if (keys.length > 0) await redis.del(...keys)
  process.kill(await pidOf(cli, 'coordinator'), 'SIGKILL')
  await untilNoted(cli, 'running', 2)
  const restored = notesOf(cli, 'generation-begun').map(({ text }) => text)
  t.deepEqual(restored, [
    `generation 1 starts from checkpoint ${kept[0]?.epoch}`,
    `generation 2 starts from checkpoint ${kept[0]?.epoch}`,
  ])
  cli.signal('SIGINT')
  t.is((await exitOf(cli)).code, 0)
  // Started again, with or without the option, it goes on: nothing of its own has completed.
  await publish(nats, settings.IN, texts(more(300, 400)))
  const again = { ...next, INTERVAL_MS: 100 }
  await putOut(t, await up(t, again, '--from', settings.JOB), settings.OUT, 400)
  await assertCounted(t, nats, settings.OUT, numbers(400))
})

/** The job does not exist, and nothing of it was started. */
const assertRefused = async (
  t: ExecutionContext,
  settings: Settings,
  from: string,
  ...args: readonly string[]
) => {
  const servers = await sharedServers()
  const before = await openRedis(t, servers.redisUrl).hgetall(metaKey(settings.JOB))
  const refused = ['up', counts, '--from', from, ...args]
  const { message, next } = await refusalOf(t, refused, { servers, settings })
  const after = await openRedis(t, servers.redisUrl).hgetall(metaKey(settings.JOB))
  t.deepEqual({ ...after }, { ...before })
  return `${message} ${next ?? ''}`
}

test.serial('what is not there, does not fit or is not whole is refused', async t => {
  const { settings, redis, kept } = await canceledJob(t)
  const { JOB: source } = settings
  const next = { ...settings, JOB: uniqueName('next') }
  t.regex(await assertRefused(t, next, 'nobody'), /keeps no checkpoint of a job 'nobody'/)
  const ids = kept.map(({ epoch }) => epoch)
  const unknown = await assertRefused(t, next, `${source}/99999`)
  t.regex(unknown, /keeps no checkpoint 99999/)
  t.true(unknown.includes(ids.join(', ')))
  const misfit = await assertRefused(t, { ...next, PARALLELISM: 3 }, source)
  t.regex(misfit, /does not fit the job: it has .*counts\/1/)
  const [newest] = kept
  const [part] = newest?.parts ?? []
  if (newest === undefined || part === undefined) return t.fail()
  await redis.del(partKey(source, part))
  const broken = await assertRefused(t, next, source)
  t.regex(broken, new RegExp(`checkpoint ${newest.epoch} of job '${source}' is not whole`))
  // The one before is.
  const cli = await up(t, next, '--from', `${source}/${kept[1]?.epoch}`)
  await untilNoted(cli, 'running')
})

test.serial('a job that runs, or that goes on when it is started, is refused', async t => {
  const { settings } = await canceledJob(t)
  const busy = settingsOf({ IN: settings.IN })
  const cli = await up(t, busy)
  await untilNoted(cli, 'checkpoint-completed')
  cli.signal('SIGINT')
  t.is((await exitOf(cli)).code, 0)
  t.regex(await assertRefused(t, busy, settings.JOB), /is running, or goes on when it is started/)
})
