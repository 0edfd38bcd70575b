import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { natsEventLog } from '../../../lib/adapters/nats/event-log.js'
import type { EventLog } from '../../../lib/ports/event-log.js'
import { numbers, observe, publish, publishNumbers, right } from '../../contract/event-log.js'
import { connected, type WatchedLink } from './fixtures.js'
import { type LocalNats, localNats } from './local-server.js'

interface World extends WatchedLink {
  readonly server: LocalNats
  readonly log: EventLog
}

const world = async (t: ExecutionContext, storeDir?: string): Promise<World> => {
  const server = await localNats(t, storeDir === undefined ? {} : { storeDir })
  const watched = await connected(t, server.url)
  const log = natsEventLog(watched.link)
  await right(log.create({ name: 'S', subjects: ['s.>'], storage: 'file' }))
  return { ...watched, server, log }
}

const restart = async ({ server, next }: World, whileDown?: () => Promise<void>): Promise<void> => {
  const up = next('reconnected')
  await server.kill()
  await whileDown?.()
  await server.start()
  await up
}

/** Names of the consumers of stream S. */
const consumers = async ({ link }: World): Promise<readonly string[]> => {
  const names: string[] = []
  for await (const info of link.manager.consumers.list('S')) names.push(info.name)
  return names
}

test.serial('NV1: a reader goes on across kill -9 of the server, no gap and no repeat', async t => {
  const all = await world(t)
  const count = 20_000
  await publishNumbers(all.log, 's.a', count)
  let restarted: Promise<void> | undefined
  const seen = observe(t, all.log, {
    stream: 'S',
    messagesMax: 500,
    onMessage: message => {
      if (message.sequence === 5_000) restarted = restart(all)
    },
  })
  await seen.untilCount(count)
  await restarted
  t.deepEqual(seen.sequences(), numbers(1, count))
  await restart(all)
  await publishNumbers(all.log, 's.a', 1_000)
  await seen.untilCount(count + 1_000)
  t.deepEqual(seen.sequences(), numbers(1, count + 1_000))
  t.deepEqual(seen.texts().slice(0, count), numbers(0, count - 1).map(String))
  t.deepEqual(seen.failures, [])
})

test.serial('NV1: a paused reader stays paused across a restart of the server', async t => {
  const all = await world(t)
  await publishNumbers(all.log, 's.a', 1_000)
  const seen = observe(t, all.log, {
    stream: 'S',
    messagesMax: 50,
    onMessage: message => {
      if (message.sequence === 1) seen.reader.pause()
    },
  })
  await seen.untilCount(1)
  await restart(all)
  await observe(t, all.log, { stream: 'S' }).untilCount(1_000)
  t.true(seen.messages.length <= 50)
  seen.reader.resume()
  await seen.untilCount(1_000)
  t.deepEqual(seen.sequences(), numbers(1, 1_000))
})

test.serial('NV1: a reader of new messages misses none of an outage before its first', async t => {
  const all = await world(t)
  await publishNumbers(all.log, 's.a', 10)
  const seen = observe(t, all.log, { stream: 'S', start: { at: 'new' } })
  while ((await consumers(all)).length === 0);
  // Once its consumer exists, the place where it starts is fixed, also for the next consumer.
  await right(all.log.facts('S'))
  await restart(all)
  await publishNumbers(all.log, 's.a', 3)
  await seen.untilCount(3)
  t.deepEqual(seen.sequences(), [11, 12, 13])
})

test.serial('NV1: a consumer that somebody deletes is replaced', async t => {
  const all = await world(t)
  const seen = observe(t, all.log, { stream: 'S', messagesMax: 20 })
  await publishNumbers(all.log, 's.a', 10)
  await seen.untilCount(10)
  for (const name of await consumers(all)) await all.link.manager.consumers.delete('S', name)
  await publishNumbers(all.log, 's.a', 10)
  await seen.untilCount(20)
  t.deepEqual(seen.sequences(), numbers(1, 20))
  t.deepEqual(seen.failures, [])
})

test.serial('NV1: a consumer that dies without a word is replaced in time', async t => {
  const all = await world(t)
  const seen = observe(t, all.log, { stream: 'S', messagesMax: 4 })
  await publishNumbers(all.log, 's.a', 1)
  await seen.untilCount(1)
  seen.reader.pause()
  // The open requests are used up, so that nobody is told of the deletion.
  await publishNumbers(all.log, 's.a', 10)
  await observe(t, all.log, { stream: 'S', start: { at: 'sequence', sequence: 11 } }).untilCount(1)
  const [first] = await consumers(all)
  await all.link.manager.consumers.delete('S', first ?? '')
  seen.reader.resume()
  await seen.untilCount(11)
  t.deepEqual(seen.sequences(), numbers(1, 11))
})

test.serial('NV2: a stream that lost its tail is noticed when the server comes back', async t => {
  const storeDir = await mkdtemp(join(tmpdir(), 'sluice-nats-'))
  const copy = await mkdtemp(join(tmpdir(), 'sluice-nats-'))
  t.teardown(async () => {
    await rm(storeDir, { recursive: true, force: true })
    await rm(copy, { recursive: true, force: true })
  })
  const all = await world(t, storeDir)
  await publishNumbers(all.log, 's.a', 100)
  await restart(all, () => cp(storeDir, copy, { recursive: true }))
  const seen = observe(t, all.log, { stream: 'S' })
  await publishNumbers(all.log, 's.a', 100)
  await seen.untilCount(200)
  await restart(all, async () => {
    await rm(storeDir, { recursive: true })
    await cp(copy, storeDir, { recursive: true })
  })
  await seen.untilFailed()
  t.is(seen.failures[0]?.type, 'lost')
  t.is(seen.failures[0]?.message, 'Stream S held messages up to 200 and now ends at 100.')
})

test.serial('NV2: a memory stream is missing after its server was killed', async t => {
  const all = await world(t)
  await right(all.log.create({ name: 'M', subjects: ['m.>'], storage: 'memory' }))
  await publish(all.log, 'm.a')
  const seen = observe(t, all.log, { stream: 'M' })
  await seen.untilCount(1)
  await restart(all)
  await seen.untilFailed()
  t.deepEqual(
    seen.failures.map(error => error.type),
    ['missing'],
  )
})

test.serial('a link that gives up fails its readers', async t => {
  const server = await localNats(t)
  const { link } = await connected(t, server.url, { reconnectTimeoutMs: 300 })
  const log = natsEventLog(link)
  await right(log.create({ name: 'S', subjects: ['s.>'], storage: 'file' }))
  await publish(log, 's.a')
  const seen = observe(t, log, { stream: 'S' })
  await seen.untilCount(1)
  await server.kill()
  await seen.untilFailed()
  t.deepEqual(
    seen.failures.map(error => error.type),
    ['unavailable'],
  )
})

test.serial('a closed reader leaves no consumer behind', async t => {
  const all = await world(t)
  const seen = observe(t, all.log, { stream: 'S' })
  await publish(all.log, 's.a')
  await seen.untilCount(1)
  t.is((await consumers(all)).length, 1)
  seen.reader.close()
  while ((await consumers(all)).length > 0);
  t.pass()
})

test.serial('a stream of which the filter takes nothing is invalid to read by it', async t => {
  const all = await world(t)
  const seen = observe(t, all.log, { stream: 'S', subject: 'other.>' })
  await seen.untilFailed()
  t.is(seen.failures[0]?.type, 'invalid')
})

test.serial('names are listed beyond one page of the server', async t => {
  const all = await world(t)
  const names = numbers(1, 1_100).map(number => `P_${number}`)
  await Promise.all(
    names.map(name => right(all.log.create({ name, subjects: [name], storage: 'memory' }))),
  )
  t.deepEqual([...(await right(all.log.list('P_')))].sort(), [...names].sort())
})
