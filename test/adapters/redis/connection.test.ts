import { once } from 'node:events'
import { createServer } from 'node:net'
import test from 'ava'
import { connectRedis, type RedisStatus } from '../../../lib/adapters/redis/connection.js'
import { left, partOf, randomChunks, right } from '../../contract/snapshots.js'
import { localRedis } from './local-server.js'
import { connected, redisStores, until } from './stores.js'

const request = (url: string) => ({
  url,
  name: 'test',
  role: 'control' as const,
  onStatus: () => undefined,
})

test.serial(
  'a server that is not there is unavailable, with its address and what to do',
  async t => {
    const server = await localRedis(t)
    await server.kill()
    const error = await left(t, 'unavailable', connectRedis(request(server.url)))
    t.regex(
      error.message,
      /could not connect: Redis at redis:\/\/127\.0\.0\.1:\d+ cannot be reached/,
    )
    t.regex(error.next ?? '', /Start Redis there/)
  },
)

test.serial('a wrong password is refused and not repeated', async t => {
  const { url } = await localRedis(t, { password: 'right' })
  const error = await left(t, 'refused', connectRedis(request(url.replace('right', 'wr0ng'))))
  t.regex(error.message, /refused the user name or password/)
  t.false(`${error.message}${error.next}${String(error.cause)}`.includes('wr0ng'))
})

test.serial('a password that is asked for and not given is said so', async t => {
  const { url } = await localRedis(t, { password: 'right' })
  const error = await left(t, 'refused', connectRedis(request(url.replace(':right@', ''))))
  t.regex(error.message, /asks for a password and none was given/)
})

test.serial('the right password is let in, and is no part of the place', async t => {
  const { url } = await localRedis(t, { password: 'right' })
  const connection = await connected(request(url))
  t.is(await connection.redis.ping(), 'PONG')
  t.false(connection.place.includes('right'))
  await connection.close()
})

test.serial('a URL that is none is invalid', async t => {
  for (const url of ['', 'localhost:6379', 'nats://localhost:4222', 'redis://', 'redis://a b']) {
    await left(t, 'invalid', connectRedis(request(url)))
  }
})

test.serial('a server that accepts and never answers is unavailable', async t => {
  const silent = createServer(socket => {
    socket.on('error', () => undefined)
    t.teardown(() => socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => silent.close())
  const address = silent.address()
  if (address === null || typeof address === 'string') return t.fail()
  const url = `redis://127.0.0.1:${address.port}`
  await left(t, 'unavailable', connectRedis({ ...request(url), commandTimeoutMs: 200 }))
})

test.serial('a lost connection is reported once, fails at once, and is restored', async t => {
  const server = await localRedis(t)
  const { control, jobs, statuses } = await redisStores(t, server.url)
  await server.kill()
  await until(t, 'lost', () => statuses.length > 0)
  const started = performance.now()
  await left(t, 'unavailable', jobs.describe('job'))
  t.true(performance.now() - started < 1_000)
  await server.start()
  await until(t, 'restored', () => control.redis.status === 'ready')
  await right(t, jobs.describe('job'))
  t.deepEqual(
    statuses.map(({ type }) => type),
    ['lost', 'restored'],
  )
  const [lost] = statuses
  t.is(lost?.type === 'lost' && lost.error.type, 'unavailable')
})

test.serial('a command under way fails when the connection breaks, it does not hang', async t => {
  const server = await localRedis(t)
  const { jobs, redis } = await redisStores(t, server.url, { commandTimeoutMs: 60_000 })
  await redis.call('CLIENT', 'PAUSE', '60000', 'ALL')
  const described = left(t, 'unavailable', jobs.describe('job'))
  await server.kill()
  await described
})

test.serial('a snapshot under way is stored after the server came back', async t => {
  const server = await localRedis(t, { appendOnly: true })
  const { snapshots } = await redisStores(t, server.url)
  const chunks = randomChunks(8, 1_000)
  const part = partOf('delays/0', 1, 1, chunks)
  await server.kill()
  const written = right(t, snapshots.write('job', part, chunks, 60_000))
  await server.start()
  await written
  t.deepEqual(await right(t, snapshots.read('job', part)), chunks)
})

test.serial('closing waits for answers under way, reports nothing and can be repeated', async t => {
  const { url } = await localRedis(t)
  const statuses: RedisStatus[] = []
  const connection = await connected({ ...request(url), onStatus: s => void statuses.push(s) })
  const answer = connection.redis.ping()
  await connection.close()
  t.is(await answer, 'PONG')
  await connection.close()
  t.deepEqual(statuses, [])
  t.is(connection.redis.status, 'end')
})

test.serial('closing while the server is away ends the tries', async t => {
  const server = await localRedis(t)
  const statuses: RedisStatus[] = []
  const connection = await connected({
    ...request(server.url),
    onStatus: s => void statuses.push(s),
  })
  await server.kill()
  await until(t, 'lost', () => statuses.length > 0)
  await connection.close()
  await server.start()
  t.is(statuses.length, 1)
  t.not(connection.redis.status, 'ready')
})
