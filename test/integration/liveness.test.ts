/** Who is declared dead and who is not: a busy process lives, a frozen one is replaced and does no harm. */
import test from 'ava'
import {
  type Cli,
  eventually,
  exitOf,
  notesOf,
  pidOf,
  startCli,
  untilNoted,
} from '../support/cli.js'
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
import { stop } from '../support/stopped.js'

const heartbeatTimeoutMs = 3_000

test.before('start the servers', async () => {
  await sharedServers()
})

const settingsOf = (stem: string) => ({
  JOB: uniqueName(stem),
  IN: uniqueName('IN'),
  OUT: uniqueName('OUT'),
  SUBJECT: uniqueName('out'),
})

test.serial('an actor that blocks its event loop for 5 s is not declared dead', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const settings = { ...settingsOf('busy'), BLOCK_MS: 5_000, COUNT: 300 }
  const since = performance.now()
  const up = startCli(t, ['up', jobFile('bulk'), '--json'], { servers, settings })
  t.is((await exitOf(up)).code, 0)
  t.true(performance.now() - since > settings.BLOCK_MS)
  t.deepEqual(notesOf(up, 'worker-lost'), [])
  t.is(notesOf(up, 'generation-begun').length, 1)
  await assertCounted(t, nats, settings.OUT, numbers(settings.COUNT))
})

/** How long the coordinator had not heard of the worker that it gave up. */
const silenceOf = (cli: Cli): number =>
  Number(/no heartbeat for (\d+) ms/.exec(String(notesOf(cli, 'worker-lost')[0]?.text))?.[1])

const texts = (records: readonly unknown[]): readonly string[] =>
  records.map(record => JSON.stringify(record))

/** Workers that go on, and the one with the output, which is frozen while it has much to do. */
interface Frozen {
  readonly others: string
  readonly frozen: string
  readonly more?: Readonly<Record<string, string | number>>
}

const frozenAndThawed = test.macro({
  async exec(t, { others, frozen, more }: Frozen) {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const records = numbers(3_000)
    const settings = { ...settingsOf('frozen'), END: records.length, ...more }
    const options = { servers, settings }
    const counts = jobFile('counts')
    await streamOf(nats, settings.IN, records.slice(0, 1_000))
    const coordinator = startCli(t, ['coordinator', counts, '--json'], options)
    const worker = (...args: readonly string[]) => startCli(t, ['worker', counts, ...args], options)
    worker('--only', others)
    const sleeper = worker('--only', frozen)
    await untilNoted(coordinator, 'checkpoint-completed')
    const spare = worker('--only', frozen)
    await untilNoted(coordinator, 'worker-joined', 3)

    const before = (await messagesOf(nats, settings.OUT)).length
    const published = publish(nats, settings.IN, texts(records.slice(1_000, 2_000)))
    await eventually('more is put out', async () => {
      return (await messagesOf(nats, settings.OUT)).length > before
    })
    sleeper.signal('SIGSTOP')
    await published
    await untilNoted(coordinator, 'worker-lost')
    const silentMs = silenceOf(coordinator)
    t.log(`lost after ${silentMs} ms`)
    t.true(silentMs >= heartbeatTimeoutMs && silentMs < 2 * heartbeatTimeoutMs)
    await untilNoted(coordinator, 'running', 2)
    await publish(nats, settings.IN, texts(records.slice(2_000, 2_900)))
    await eventually('the spare one puts out', async () => {
      return (await messagesOf(nats, settings.OUT)).length >= 2_900
    })

    sleeper.signal('SIGCONT')
    await untilNoted(coordinator, 'worker-joined', 4)
    await publish(nats, settings.IN, texts(records.slice(2_900)))
    for (const cli of [coordinator, spare, sleeper]) t.is((await exitOf(cli)).code, 0)
    t.is(notesOf(coordinator, 'generation-begun').length, 2)
    await assertCounted(t, nats, settings.OUT, records)
  },
  title: (name = '') =>
    `a frozen worker is replaced by a spare one, and thaws without harm: ${name}`,
})

test.serial('its output goes with checkpoints', frozenAndThawed, {
  others: 'numbers/0,counts/0,counts/1',
  frozen: 'out/0',
})
test.serial('its output goes at once', frozenAndThawed, {
  others: 'numbers/0',
  frozen: 'counts/0',
  more: { DELIVERY: 'idempotent', PARALLELISM: 1 },
})

test.serial('a worker that stays frozen is killed and started anew by `sluice up`', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const records = numbers(600)
  const settings = { ...settingsOf('iced'), END: records.length }
  await streamOf(nats, settings.IN, records.slice(0, 300))
  const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  await untilNoted(up, 'checkpoint-completed')
  const frozen = await pidOf(up, 'counts/0')
  await stop(frozen)
  await untilNoted(up, 'worker-lost')
  t.true(silenceOf(up) < 2 * heartbeatTimeoutMs)
  await publish(nats, settings.IN, texts(records.slice(300)))
  t.is((await exitOf(up)).code, 0)
  const started = up.events().filter(e => e.type === 'process-started' && e.role === 'counts/0')
  t.is(started.length, 2)
  await assertCounted(t, nats, settings.OUT, records)
})
