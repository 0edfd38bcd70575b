import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { Redis } from 'ioredis'
import { type ConnectionOptions, connect, type NatsConnection } from 'nats'
import {
  type ServerExit,
  type Servers,
  startServers,
} from '../../../lib/adapters/servers/embedded.js'
import { done, sharedServers, withServers } from '../../support/servers.js'
import { isRunning, processesWith, until } from './observe.js'

const natsAt = async (
  t: ExecutionContext,
  servers: Servers,
  more: ConnectionOptions = {},
): Promise<NatsConnection> => {
  const connection = await connect({
    servers: new URL(servers.natsUrl).host,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    ...more,
  })
  t.teardown(() => connection.close())
  return connection
}

const redisAt = (t: ExecutionContext, url: string): Redis => {
  const redis = new Redis(url)
  redis.on('error', () => undefined) // Expected while the server is down; commands report their own.
  t.teardown(() => redis.disconnect())
  return redis
}

const folderOf = async (t: ExecutionContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-test "ü%\\ '))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

test.before(async () => {
  await sharedServers()
})

test('both servers answer, with JetStream, the append-only file and no eviction', async t => {
  const servers = await sharedServers()
  const nats = await natsAt(t, servers)
  t.true(nats.info?.jetstream)
  t.is(nats.info?.host, '127.0.0.1')
  const redis = redisAt(t, servers.redisUrl)
  t.deepEqual(await redis.config('GET', 'appendonly'), ['appendonly', 'yes'])
  t.deepEqual(await redis.config('GET', 'appendfsync'), ['appendfsync', 'everysec'])
  t.deepEqual(await redis.config('GET', 'maxmemory-policy'), ['maxmemory-policy', 'noeviction'])
  t.deepEqual(await redis.config('GET', 'save'), ['save', ''])
  t.deepEqual(await redis.config('GET', 'protected-mode'), ['protected-mode', 'yes'])
  t.deepEqual(await redis.config('GET', 'bind'), ['bind', '127.0.0.1'])
})

test('shared servers are started once', async t => {
  t.is(await sharedServers(), await sharedServers())
})

test('nats-server killed and started on its folder keeps a stream and its clients', async t => {
  const servers = await withServers(t, { redis: false })
  const nats = await natsAt(t, servers)
  await (await nats.jetstreamManager()).streams.add({ name: 'KEPT', subjects: ['kept'] })
  for (const text of ['a', 'b', 'c']) await nats.jetstream().publish('kept', text)
  const before = await done(servers.pids())
  await done(servers.kill('nats'))
  t.false(await isRunning(before.nats ?? 0))
  t.is((await done(servers.pids())).nats, undefined)
  await done(servers.start('nats'))
  t.not((await done(servers.pids())).nats, before.nats)
  await until('the client is connected again', () =>
    nats.rtt().then(
      () => true,
      () => false,
    ),
  )
  const info = await (await nats.jetstreamManager()).streams.info('KEPT')
  t.is(info.state.messages, 3)
})

test('redis-server killed and started on its folder keeps what was written', async t => {
  const servers = await withServers(t, { nats: false, redisOptions: { appendFsync: 'always' } })
  const redis = redisAt(t, servers.redisUrl)
  await redis.set('kept', 'yes')
  const before = await done(servers.pids())
  await done(servers.kill('redis'))
  t.false(await isRunning(before.redis ?? 0))
  await done(servers.start('redis'))
  t.is(await redis.get('kept'), 'yes')
  t.deepEqual(await redis.config('GET', 'appendfsync'), ['appendfsync', 'always'])
})

test('redis-server with appendfsync everysec keeps what was written over a SIGKILL', async t => {
  const servers = await withServers(t, { nats: false })
  const redis = redisAt(t, servers.redisUrl)
  for (let key = 0; key < 100; key += 1) await redis.set(`k${key}`, key)
  await done(servers.kill('redis'))
  await done(servers.start('redis'))
  t.is(await redis.dbsize(), 100)
})

test('a restart keeps port and data', async t => {
  const servers = await withServers(t)
  const redis = redisAt(t, servers.redisUrl)
  await redis.set('kept', 'yes')
  const before = await done(servers.pids())
  await done(servers.restart('redis'))
  await done(servers.restart('nats'))
  const after = await done(servers.pids())
  t.not(after.redis, before.redis)
  t.not(after.nats, before.nats)
  t.is(await redis.get('kept'), 'yes')
  await natsAt(t, servers)
})

test('one server is stopped and the other goes on', async t => {
  const servers = await withServers(t)
  await done(servers.stop('nats'))
  t.deepEqual(Object.keys(await done(servers.pids())).sort(), ['keeper', 'redis'])
  t.is(await redisAt(t, servers.redisUrl).ping(), 'PONG')
})

test('start does nothing for a server that runs, and kill and stop for one that does not', async t => {
  const servers = await withServers(t, { nats: false })
  const before = await done(servers.pids())
  await done(servers.start('redis'))
  t.deepEqual(await done(servers.pids()), before)
  await done(servers.kill('redis'))
  await done(servers.kill('redis'))
  await done(servers.stop('redis'))
  t.is((await done(servers.pids())).redis, undefined)
})

test('a server that was not wanted has no address and cannot be started', async t => {
  const servers = await withServers(t, { nats: false })
  t.is(servers.natsUrl, '')
  const started = await servers.start('nats')()
  t.is(E.isLeft(started) && started.left.type, 'invalid')
})

test('stop leaves neither process nor temporary folder, and later calls say so', async t => {
  const servers = await withServers(t)
  const { keeper, nats, redis } = await done(servers.pids())
  t.true((await stat(servers.folder)).isDirectory())
  await done(servers.stop())
  for (const pid of [keeper, nats, redis]) t.false(await isRunning(pid ?? 0))
  t.false(existsSync(servers.folder))
  await done(servers.stop())
  const late = await servers.start('nats')()
  t.is(E.isLeft(late) && late.left.message, 'the servers have been stopped')
})

test('a given folder is kept, and later servers find everything in it again', async t => {
  const folder = await folderOf(t)
  const first = await done(startServers({ folder }))
  t.is(first.folder, folder)
  const nats = await connect({ servers: new URL(first.natsUrl).host })
  await (await nats.jetstreamManager()).streams.add({ name: 'KEPT', subjects: ['kept'] })
  await nats.jetstream().publish('kept', 'a')
  await nats.close()
  const redis = redisAt(t, first.redisUrl)
  await redis.set('kept', 'yes')
  redis.disconnect()
  await done(first.stop())

  const second = await withServers(t, { folder })
  const again = await natsAt(t, second)
  const info = await (await again.jetstreamManager()).streams.info('KEPT')
  t.is(info.state.messages, 1)
  t.is(await redisAt(t, second.redisUrl).get('kept'), 'yes')
})

test('EP5: a second pair of servers in one folder is refused', async t => {
  const folder = await folderOf(t)
  const first = await withServers(t, { folder })
  const second = await startServers({ folder })()
  if (E.isRight(second)) await done(second.right.stop())
  t.is(E.isLeft(second) && second.left.type, 'conflict')
  t.is(await redisAt(t, first.redisUrl).ping(), 'PONG')
  await natsAt(t, first)
})

test('EP4: a server that ends unasked is told about, and can be started again', async t => {
  const servers = await withServers(t)
  const exits: ServerExit[] = []
  servers.onExit(exit => exits.push(exit))
  const forgotten: ServerExit[] = []
  servers.onExit(exit => forgotten.push(exit))()
  const { redis = 0, nats = 0 } = await done(servers.pids())
  await done(servers.kill('nats'))
  process.kill(redis, 'SIGKILL')
  await until('the exit is told', () => exits.length === 1)
  t.like(exits[0], { server: 'redis', pid: redis, code: null, signal: 'SIGKILL' })
  t.not(nats, 0)
  t.deepEqual(forgotten, [])
  await done(servers.start('redis'))
  t.is(await redisAt(t, servers.redisUrl).ping(), 'PONG')
})

test('EC2: when the keeper is killed its servers and its folder go, and it is told', async t => {
  const servers = await withServers(t)
  const exits: ServerExit[] = []
  servers.onExit(exit => exits.push(exit))
  const { keeper, nats = 0, redis = 0 } = await done(servers.pids())
  process.kill(keeper, 'SIGKILL')
  await until('both exits are told', () => exits.length === 2)
  await until('nats-server is gone', async () => !(await isRunning(nats)))
  await until('redis-server is gone', async () => !(await isRunning(redis)))
  t.false(existsSync(servers.folder))
  const late = await servers.start('nats')()
  t.is(E.isLeft(late) && late.left.type, 'unavailable')
})

test('a keeper that is told to end by a signal ends its servers, and it is told', async t => {
  const servers = await withServers(t)
  const exits: ServerExit[] = []
  servers.onExit(exit => exits.push(exit))
  const { keeper, nats = 0, redis = 0 } = await done(servers.pids())
  process.kill(keeper, 'SIGTERM')
  await until('the keeper is gone', async () => !(await isRunning(keeper)))
  t.false(await isRunning(nats))
  t.false(await isRunning(redis))
  t.false(existsSync(servers.folder))
  await until('both exits are told', () => exits.length === 2)
  t.deepEqual(exits.map(exit => exit.pid).sort(), [nats, redis].sort())
  t.regex(exits[0]?.log ?? '', /SIGTERM/)
})

test('a server that does not start is an error with the last lines of its log', async t => {
  const folder = await folderOf(t)
  const outcome = await startServers({
    folder,
    nats: false,
    redisOptions: { maxmemoryPolicy: 'no-such-policy' as 'noeviction' },
  })()
  if (E.isRight(outcome)) await done(outcome.right.stop())
  t.is(E.isLeft(outcome) && outcome.left.type, 'unavailable')
  const message = E.isLeft(outcome) ? outcome.left.message : ''
  t.regex(message, /redis-server did not start: it exited with code 1/)
  t.regex(message, /maxmemory-policy no-such-policy|maxmemory-policy "no-such-policy"/)
})

test('a folder that cannot be made is an error that says what to do', async t => {
  const folder = join(await folderOf(t), 'file')
  await writeFile(folder, '')
  const outcome = await startServers({ folder })()
  t.is(E.isLeft(outcome) && outcome.left.type, 'invalid')
  t.truthy(E.isLeft(outcome) && outcome.left.next)
})

test('nats-server runs without JetStream when that is asked for', async t => {
  const servers = await withServers(t, { redis: false, natsOptions: { jetstream: false } })
  const nats = await natsAt(t, servers)
  t.not(nats.info?.jetstream, true)
})

test('nats-server takes a limit of the size of messages', async t => {
  const servers = await withServers(t, { redis: false, natsOptions: { maxPayloadBytes: 4_096 } })
  t.is((await natsAt(t, servers)).info?.max_payload, 4_096)
})

const oddPassword = 'pass "word" \\ # $VAR {%} ü:/@'

test('both servers take a password of any characters, which stays off every command line', async t => {
  const servers = await withServers(t, {
    natsOptions: { user: 'odd user', password: oddPassword },
    redisOptions: { password: oddPassword },
  })
  const url = new URL(servers.natsUrl)
  const user = decodeURIComponent(url.username)
  const pass = decodeURIComponent(url.password)
  t.deepEqual([user, pass], ['odd user', oddPassword])
  await natsAt(t, servers, { user, pass })
  await t.throwsAsync(connect({ servers: url.host }), { message: /Authorization/i })
  t.is(await redisAt(t, servers.redisUrl).ping(), 'PONG')
  const stranger = redisAt(t, `redis://${new URL(servers.redisUrl).host}`)
  await t.throwsAsync(stranger.ping(), { message: /NOAUTH/ })
  const processes = await processesWith(servers.folder)
  t.is(processes.length, 2)
  t.false(processes.some(line => line.includes('word')))
  for (const name of ['nats', 'redis']) {
    const { mode } = await stat(join(servers.folder, name, `${name}.conf`))
    t.is(mode & 0o077, 0)
  }
})

test('redis-server evicts and forgets when that is asked for', async t => {
  const servers = await withServers(t, {
    nats: false,
    redisOptions: { appendOnly: false, maxmemoryPolicy: 'allkeys-lru' },
  })
  const redis = redisAt(t, servers.redisUrl)
  t.deepEqual(await redis.config('GET', 'maxmemory-policy'), ['maxmemory-policy', 'allkeys-lru'])
  await redis.set('forgotten', 'yes')
  await done(servers.kill('redis'))
  await done(servers.start('redis'))
  t.is(await redis.get('forgotten'), null)
})

test('options that do not fit are refused before anything is started', async t => {
  const refused = async (options: Parameters<typeof startServers>[0]) => {
    const outcome = await startServers(options)()
    return E.isLeft(outcome) && outcome.left.type
  }
  t.is(await refused({ natsOptions: { user: 'only' } }), 'invalid')
  t.is(await refused({ natsOptions: { user: 'a', password: '' } }), 'invalid')
  t.is(await refused({ natsOptions: { maxPayloadBytes: 0 } }), 'invalid')
  t.is(await refused({ redisOptions: { password: '' } }), 'invalid')
})

test('everything that the servers write is in their folder', async t => {
  const servers = await withServers(t)
  for (const name of ['nats', 'redis']) {
    const log = await readFile(join(servers.folder, name, `${name}.log`), 'utf8')
    t.regex(log, /ready/i)
  }
  t.true(existsSync(join(servers.folder, 'nats', 'jetstream')))
  t.true(existsSync(join(servers.folder, 'redis', 'appendonlydir')))
})
