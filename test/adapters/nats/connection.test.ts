import { createServer } from 'node:net'
import test from 'ava'
import { connectNats } from '../../../lib/adapters/nats/connection.js'
import { natsEventLog } from '../../../lib/adapters/nats/event-log.js'
import { left, publish, right } from '../../contract/event-log.js'
import { goOn, stop } from '../../support/stopped.js'
import { connected } from './fixtures.js'
import { freePort, localNats } from './local-server.js'

test('an unreachable server is named in one sentence with a next step', async t => {
  const url = `nats://127.0.0.1:${await freePort()}`
  const error = await left(connectNats({ url, name: 'test' }))
  t.is(error.type, 'unavailable')
  t.is(
    error.message,
    `The NATS server at ${url.slice(7)} cannot be reached: nothing listens there.`,
  )
  t.is(error.next, 'Start it, or give the address of one that runs.')
})

test('an address that is none is invalid', async t => {
  for (const url of ['', 'nats://', 'http://127.0.0.1', 'what is this', 'nats://a:99999999']) {
    t.is((await left(connectNats({ url, name: 'test' }))).type, 'invalid', url)
  }
})

test('a wrong password is refused, and no message names it', async t => {
  const server = await localNats(t, { args: ['--user', 'ann', '--pass', 'secret'] })
  const url = (login: string): string => server.url.replace('//', `//${login}`)
  for (const login of ['ann:hunter2@', 'bob:hunter2@', 'hunter2@', '']) {
    const error = await left(connectNats({ url: url(login), name: 'test' }))
    t.is(error.type, 'refused')
    t.is(
      error.message,
      `The NATS server at 127.0.0.1:${server.port} refused the user name or password.`,
    )
    t.notRegex(`${error.message} ${error.next}`, /hunter2/)
  }
  const { link } = await connected(t, url('ann:secret@'))
  t.is(link.address, `127.0.0.1:${server.port}`)
})

test('a password may hold any character, percent-encoded', async t => {
  const password = 'p@ss/w:rd %'
  const server = await localNats(t, { args: ['--user', 'ann', '--pass', password] })
  const login = `//ann:${encodeURIComponent(password)}@`
  await connected(t, server.url.replace('//', login))
  t.pass()
})

test('a server without JetStream is refused with what to do', async t => {
  const server = await localNats(t, { jetstream: false })
  const error = await left(connectNats({ url: server.url, name: 'test' }))
  t.is(error.type, 'refused')
  t.is(error.message, `The NATS server at 127.0.0.1:${server.port} runs without JetStream.`)
  t.regex(error.next ?? '', /nats-server -js/)
})

test('a link for core NATS only does not need JetStream', async t => {
  const server = await localNats(t, { jetstream: false })
  const { link } = await connected(t, server.url, { jetstream: false })
  t.is(link.state, 'up')
})

test('NL1: an outage is reported, and its end', async t => {
  const server = await localNats(t)
  const { link, statuses, next } = await connected(t, server.url)
  const down = next('disconnected')
  await server.kill()
  await down
  t.is(link.state, 'down')
  const up = next('reconnected')
  await server.start()
  await up
  t.is(link.state, 'up')
  t.deepEqual(statuses, ['disconnected', 'reconnected'])
})

test('NL2: an outage that lasts closes the link with an error', async t => {
  const server = await localNats(t)
  const { link, statuses, closed } = await connected(t, server.url, { reconnectTimeoutMs: 400 })
  await server.kill()
  const error = await closed
  t.is(error?.type, 'unavailable')
  t.regex(error?.message ?? '', /was gone for more than 0\.4 s\.$/)
  t.deepEqual(statuses, ['disconnected', 'closed'])
  t.is(link.state, 'closed')
})

test('NL2: credentials that are refused on a reconnect close the link', async t => {
  const port = await freePort()
  const first = await localNats(t, { port, args: ['--user', 'ann', '--pass', 'old'] })
  const { closed } = await connected(t, `nats://ann:old@127.0.0.1:${port}`)
  await first.kill()
  await localNats(t, { port, args: ['--user', 'ann', '--pass', 'new'] })
  t.is((await closed)?.type, 'refused')
})

test('NL1: a half-open connection is noticed by its pings', async t => {
  const server = await localNats(t)
  const { next } = await connected(t, server.url, { pingIntervalMs: 100 })
  const down = next('disconnected')
  const { pid } = server
  if (pid === undefined) return t.fail('the server has no process')
  await stop(pid)
  await down
  const up = next('reconnected')
  goOn(pid)
  await up
  t.pass()
})

test('NL2: a half-open connection that still holds unsent data is given up in bounded time', async t => {
  const server = await localNats(t)
  const options = { pingIntervalMs: 100, reconnectTimeoutMs: 1_000 }
  const { link, next, closed } = await connected(t, server.url, options)
  const { pid } = server
  if (pid === undefined) return t.fail('the server has no process')
  await stop(pid)
  const down = next('disconnected')
  for (let sent = 0; sent < 64; sent++) link.connection.publish('s.a', new Uint8Array(1_000_000))
  await down
  t.is((await closed)?.type, 'unavailable')
})

test('a link that is closed tells so without an error, once', async t => {
  const server = await localNats(t)
  const { link, statuses, closed } = await connected(t, server.url)
  await Promise.all([link.close()(), link.close()()])
  t.is(await closed, undefined)
  t.deepEqual(statuses, ['closing', 'closed'])
})

test('closing a link ends readers and publishes quietly', async t => {
  const server = await localNats(t)
  const { link } = await connected(t, server.url)
  const log = natsEventLog(link)
  await right(log.create({ name: 'S', subjects: ['s.>'], storage: 'memory' }))
  const failed: unknown[] = []
  log.read({
    stream: 'S',
    start: { at: 'first' },
    messagesMax: 10,
    bytesMax: 10_000,
    onMessage: () => undefined,
    onFailed: error => failed.push(error),
  })
  const inFlight = publish(log, 's.a')
  await link.close()()
  const outcomes = [await inFlight, await publish(log, 's.a')]
  t.deepEqual(
    outcomes.map(outcome => (outcome.type === 'failed' ? outcome.error.type : outcome.type)),
    ['unavailable', 'unavailable'],
  )
  t.deepEqual(failed, [])
  const late = await new Promise<string>(resolve =>
    log.read({
      stream: 'S',
      start: { at: 'first' },
      messagesMax: 10,
      bytesMax: 10_000,
      onMessage: () => undefined,
      onFailed: error => resolve(error.type),
    }),
  )
  t.is(late, 'unavailable')
})

test('a server that dies while it is asked about JetStream is out of reach, not without it', async t => {
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.write(
      'INFO {"version":"2.9.10","headers":true,"max_payload":1048576,"jetstream":true}\r\n',
    )
    socket.on('data', data => {
      const text = data.toString('latin1')
      if (text.includes('PING')) socket.write('PONG\r\n')
      if (!text.includes('PUB $JS')) return
      socket.destroy()
      server.close()
    })
  })
  const port = await new Promise<number>(resolve => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
  const url = `nats://127.0.0.1:${port}`
  const error = await left(connectNats({ url, name: 'test', apiTimeoutMs: 500 }))
  t.true(error.type === 'timed-out' || error.type === 'unavailable', error.type)
})
