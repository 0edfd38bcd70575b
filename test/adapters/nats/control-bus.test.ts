import { execFile } from 'node:child_process'
import test from 'ava'
import { natsControlBus } from '../../../lib/adapters/nats/control-bus.js'
import { InvariantViolation } from '../../../lib/invariant.js'
import { bytes, left, right, text } from '../../contract/event-log.js'
import { connected } from './fixtures.js'
import { localNats } from './local-server.js'

test('a message reaches every subscriber of its subject, until they stop', async t => {
  const server = await localNats(t, { jetstream: false })
  const { link } = await connected(t, server.url, { jetstream: false })
  const bus = natsControlBus(link)
  const got: string[] = []
  const stop = bus.subscribe('job.*', (payload, subject) => got.push(`${subject} ${text(payload)}`))
  bus.subscribe('job.b', payload => got.push(`only b ${text(payload)}`))
  bus.send('job.a', bytes('1'))
  bus.send('job.b', bytes('2'))
  bus.send('elsewhere', bytes('3'))
  await right(bus.flush())
  t.deepEqual([...got].sort(), ['job.a 1', 'job.b 2', 'only b 2'])
  stop()
  stop()
  bus.send('job.b', bytes('4'))
  await right(bus.flush())
  t.deepEqual(got.slice(3), ['only b 4'])
})

test('NB1: subscriptions outlive an outage, messages of the outage do not', async t => {
  const server = await localNats(t, { jetstream: false })
  const { link, next } = await connected(t, server.url, { jetstream: false })
  const bus = natsControlBus(link)
  const got: string[] = []
  bus.subscribe('job.>', payload => got.push(text(payload)))
  const down = next('disconnected')
  await server.kill()
  await down
  bus.send('job.a', bytes('while down'))
  bus.subscribe('job.late', payload => got.push(`late ${text(payload)}`))
  const up = next('reconnected')
  await server.start()
  await up
  bus.send('job.late', bytes('back'))
  await right(bus.flush())
  t.deepEqual([...got].sort(), ['back', 'late back'])
})

test('flushing without a server fails, and a closed link takes no harm', async t => {
  const server = await localNats(t, { jetstream: false })
  const { link, next } = await connected(t, server.url, { jetstream: false, apiTimeoutMs: 300 })
  const bus = natsControlBus(link)
  const down = next('disconnected')
  await server.kill()
  await down
  t.true(['unavailable', 'timed-out'].includes((await left(bus.flush())).type))
  await link.close()()
  bus.send('job.a', bytes('x'))
  bus.subscribe('job.a', () => t.fail())()
  t.is((await left(bus.flush())).type, 'unavailable')
})

test('a subject that could forge a protocol message is a defect', async t => {
  const server = await localNats(t, { jetstream: false })
  const { link } = await connected(t, server.url, { jetstream: false })
  const bus = natsControlBus(link)
  const defect = { instanceOf: InvariantViolation }
  for (const bad of ['a\r\nPUB b 0\r\n\r\n', 'a b', '', 'a..b', 'a*']) {
    t.throws(() => bus.send(bad, bytes('x')), defect)
    t.throws(() => bus.subscribe(bad, () => undefined), defect)
  }
  t.throws(() => bus.send('a.*', bytes('x')), defect)
})

test('a handler that throws crashes the process instead of silencing the connection', async t => {
  const server = await localNats(t, { jetstream: false })
  const folder = new URL('../../../lib/adapters/nats/', import.meta.url)
  const program = `
    import { connectNats } from '${new URL('connection.js', folder)}'
    import { natsControlBus } from '${new URL('control-bus.js', folder)}'
    const link = await connectNats({ url: '${server.url}', name: 'child', jetstream: false })()
    const bus = natsControlBus(link.right)
    bus.subscribe('a', () => { throw new Error('the handler is broken') })
    bus.send('a', new Uint8Array(1))
  `
  const result = await new Promise<{ code: unknown; stderr: string }>(resolve => {
    execFile(process.execPath, ['--input-type=module', '-e', program], (error, _stdout, stderr) =>
      resolve({ code: error?.code, stderr }),
    )
  })
  t.is(result.code, 1)
  t.regex(result.stderr, /the handler is broken/)
})
