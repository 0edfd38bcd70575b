/** Output that waits for no checkpoint, on real servers and processes. */
import test from 'ava'
import { eventually, exitOf, notesOf, pidOf, startCli, untilNoted } from '../support/cli.js'
import {
  assertCounted,
  jobFile,
  messagesOf,
  numbers,
  openNats,
  publish,
  streamOf,
  uniqueName,
} from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

test.before('start the servers', async () => {
  await sharedServers()
})

const settingsOf = (stem: string) => ({
  JOB: uniqueName(stem),
  IN: uniqueName('IN'),
  OUT: uniqueName('OUT'),
  SUBJECT: uniqueName('out'),
  DELIVERY: 'idempotent',
  PARALLELISM: 1,
})

const texts = (records: readonly unknown[]): readonly string[] =>
  records.map(record => JSON.stringify(record))

test.serial(
  'records are put out before any checkpoint covers them, and once in the end',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const records = numbers(400)
    const settings = { ...settingsOf('eager'), END: records.length, INTERVAL_MS: 15_000 }
    await streamOf(nats, settings.IN, records.slice(0, 100))
    const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
    await untilNoted(up, 'running')
    t.is((await messagesOf(nats, settings.OUT)).length, 0)
    // The first one lets output flow (IO8).
    await untilNoted(up, 'checkpoint-completed')
    await publish(nats, settings.IN, texts(records.slice(100, 300)))
    await eventually('all of it is put out', async () => {
      return (await messagesOf(nats, settings.OUT)).length === 300
    })
    t.is(notesOf(up, 'checkpoint-completed').length, 1)
    process.kill(await pidOf(up, 'counts/0'), 'SIGKILL')
    await untilNoted(up, 'running', 2)
    await publish(nats, settings.IN, texts(records.slice(300)))
    t.is((await exitOf(up)).code, 0)
    await assertCounted(t, nats, settings.OUT, records)
  },
)

test.serial(
  'a sink that is faster than its stream waits, however little may be pending',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const records = numbers(20_000)
    const limits = JSON.stringify({ sinkPendingBytesMax: 4_096 })
    const settings = { ...settingsOf('narrow'), END: records.length, LIMITS: limits }
    await streamOf(nats, settings.IN, [])
    const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
    await untilNoted(up, 'checkpoint-completed')
    await publish(nats, settings.IN, texts(records))
    t.is((await exitOf(up)).code, 0)
    t.is(notesOf(up, 'generation-begun').length, 1)
    await assertCounted(t, nats, settings.OUT, records)
  },
)

test.serial(
  'IO4: a job that makes other records of a replay is stopped, with nothing put out behind them',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const records = numbers(200)
    const settings = { ...settingsOf('wavering'), INTERVAL_MS: 15_000 }
    await streamOf(nats, settings.IN, records.slice(0, 100))
    const up = startCli(t, ['up', jobFile('wavering'), '--json'], { servers, settings })
    await untilNoted(up, 'checkpoint-completed')
    await publish(nats, settings.IN, texts(records.slice(100)))
    await eventually('all of it is put out', async () => {
      return (await messagesOf(nats, settings.OUT)).length === 200
    })
    process.kill(await pidOf(up, 'numbers/0'), 'SIGKILL')
    const { code, stdout } = await exitOf(up)
    t.not(code, 0)
    t.regex(stdout, /does not replay to the same records: record \d+ has other content/)
    t.is((await messagesOf(nats, settings.OUT)).length, 200)
  },
)

test.serial('with --twice such a job is stopped at its first record, before any crash', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const settings = settingsOf('twice')
  await streamOf(nats, settings.IN, numbers(10))
  const job = jobFile('wavering')
  const up = startCli(t, ['up', job, '--twice', '--json'], { servers, settings })
  const { code, stdout } = await exitOf(up)
  t.not(code, 0)
  t.regex(stdout, /'waver' does not do the same twice: .* emitted .* in the place of/)
  t.is(notesOf(up, 'generation-begun').length, 1)
  t.is((await messagesOf(nats, settings.OUT)).length, 0)
})

test.serial('with --twice a deterministic job puts out what it puts out without', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const records = numbers(300)
  const settings = { ...settingsOf('sober'), END: records.length }
  await streamOf(nats, settings.IN, records)
  const up = startCli(t, ['up', jobFile('counts'), '--twice', '--json'], { servers, settings })
  t.is((await exitOf(up)).code, 0)
  await assertCounted(t, nats, settings.OUT, records)
})
