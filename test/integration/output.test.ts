/** What reaches the output stream is exact, without any help of the server's memory of message ids. */
import test from 'ava'
import { type NatsConnection, nanos } from 'nats'
import { eventually, exitOf, gone, pidOf, startCli, untilNoted } from '../support/cli.js'
import {
  assertCounted,
  jobFile,
  messagesOf,
  numbers,
  openNats,
  uniqueName,
} from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

const bulk = jobFile('bulk')
const windowMs = 100

test.before('start the servers', async () => {
  await sharedServers()
})

const lastSequence = async (nats: NatsConnection, stream: string): Promise<number> => {
  const manager = await nats.jetstreamManager()
  return (await manager.streams.info(stream)).state.last_seq
}

/** A place in the chain of what a sink puts out. */
const placeOf = (message: Awaited<ReturnType<typeof messagesOf>>[number] | undefined) => ({
  epoch: Number(message?.headers?.get('Sluice-Epoch')),
  index: Number(message?.headers?.get('Sluice-Index')),
  generation: Number(message?.headers?.get('Sluice-Generation')),
})

test.serial(
  'a sink that dies in the middle of an epoch and stays away for longer than the dedupe window neither loses nor doubles',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const [job, out] = [uniqueName('window'), uniqueName('OUT')]
    const manager = await nats.jetstreamManager()
    await manager.streams.add({ name: out, subjects: [job], duplicate_window: nanos(windowMs) })
    const settings = { JOB: job, OUT: out, SUBJECT: job, COUNT: 20_000, INTERVAL_MS: 1_000 }
    const options = { servers, settings }

    const first = startCli(t, ['up', bulk, '--json'], options)
    const sink = await pidOf(first, 'out/0')
    await eventually('the sink publishes', async () => (await lastSequence(nats, out)) > 100)
    process.kill(sink, 'SIGKILL')
    first.signal('SIGKILL')
    await exitOf(first)
    await gone(first)
    const published = await lastSequence(nats, out)

    const second = startCli(t, ['up', bulk, '--json'], options)
    t.is((await exitOf(second)).code, 0)
    await assertCounted(t, nats, out, numbers(20_000))

    const messages = await messagesOf(nats, out)
    const before = messages[published - 1]
    const after = messages[published]
    const [was, is] = [placeOf(before), placeOf(after)]
    t.deepEqual({ epoch: is.epoch, index: is.index }, { epoch: was.epoch, index: was.index + 1 })
    t.true(is.generation > was.generation)
    const awayMs = (after?.timeMs ?? 0) - (before?.timeMs ?? 0)
    t.log(`killed after ${published} of ${messages.length} messages; away for ${awayMs} ms`)
    t.true(awayMs > windowMs)
  },
)

test.serial(
  'an output stream is shared with other subjects and other writers, and a sink is killed meanwhile',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const [job, out] = [uniqueName('shared'), uniqueName('OUT')]
    const manager = await nats.jetstreamManager()
    await manager.streams.add({
      name: out,
      subjects: [`${job}.>`],
      duplicate_window: nanos(windowMs),
    })
    const settings = { JOB: job, OUT: out, SUBJECT: `${job}.counted`, COUNT: 2_000 }
    let foreign = 0
    let writing = true
    const writer = (async () => {
      const js = nats.jetstream()
      while (writing) {
        await js.publish(`${job}.foreign`, String(foreign))
        foreign += 1
      }
    })()

    const up = startCli(t, ['up', bulk, '--json'], { servers, settings })
    const count = async (): Promise<number> =>
      (await messagesOf(nats, out, settings.SUBJECT)).length
    await untilNoted(up, 'checkpoint-completed')
    await eventually('the sink publishes', async () => (await count()) > 0)
    process.kill(await pidOf(up, 'out/0'), 'SIGKILL')
    t.is((await exitOf(up)).code, 0)
    writing = false
    await writer

    await assertCounted(t, nats, out, numbers(2_000), settings.SUBJECT)
    const strangers = await messagesOf(nats, out, `${job}.foreign`)
    t.deepEqual(
      strangers.map(({ text }) => Number(text)),
      Array.from({ length: foreign }, (_, i) => i),
    )
    t.log(`${foreign} messages of the other writer in between`)
  },
)
