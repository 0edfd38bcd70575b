import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { findBinaries } from '../../../lib/adapters/servers/binaries.js'
import { chooseFreePort } from '../../../lib/adapters/servers/port.js'
import {
  ServerProcess,
  type ServerSurroundings,
} from '../../../lib/adapters/servers/server-process.js'
import { natsSpec, redisSpec, type ServerSpec } from '../../../lib/adapters/servers/specs.js'
import { done } from '../../support/servers.js'
import { isRunning, until } from './observe.js'

const folderOf = async (t: ExecutionContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const listenSomewhere = async (t: ExecutionContext, greeting = ''): Promise<number> => {
  const port = await chooseFreePort()
  const server = await new Promise<Server>((resolve, reject) => {
    const listening = createServer(socket => socket.end(greeting))
    listening.once('error', reject)
    listening.listen(port, '127.0.0.1', () => resolve(listening))
  })
  t.teardown(() => server.close())
  return port
}

const keep = (t: ExecutionContext, spec: ServerSpec, more: Partial<ServerSurroundings> = {}) => {
  const pids: number[] = []
  const around = { onExit: () => undefined, onSpawn: (pid: number) => void pids.push(pid), ...more }
  const server = new ServerProcess(spec, around)
  t.teardown(() => server.kill())
  return { server, pids }
}

/** A program of a few lines in place of a server. */
const scriptSpec = (folder: string, script: string, isReady: () => boolean): ServerSpec => ({
  name: 'redis',
  binary: process.execPath,
  folder,
  configure: () => script,
  args: file => [
    '--input-type=commonjs',
    '--eval',
    `eval(require('fs').readFileSync('${file}', 'utf8'))`,
  ],
  isReady: async () => isReady(),
})

const logIn = (folder: string): Promise<string> =>
  readFile(join(folder, 'redis.log'), 'utf8').catch(() => '')

const binariesOf = (t: ExecutionContext) =>
  done(findBinaries(['nats', 'redis'], line => t.log(line)))

for (const name of ['nats', 'redis'] as const) {
  test(`a port that was taken in the meantime is replaced by another one (${name})`, async t => {
    const binary = (await binariesOf(t))[name] ?? ''
    const spec = (name === 'nats' ? natsSpec : redisSpec)(binary, await folderOf(t), {})
    const ports = [await listenSomewhere(t), await listenSomewhere(t), await chooseFreePort()]
    const left = [...ports]
    const { server, pids } = keep(t, spec, { choosePort: async () => left.shift() ?? 0 })
    t.deepEqual(await server.start(), E.right(undefined))
    t.is(server.port, ports[2])
    t.is(pids.length, 3)
  })
}

test('ES1: a stranger with the same protocol on the port is not taken for the server', async t => {
  const { nats = '' } = await binariesOf(t)
  const stranger = 'INFO {"server_name":"stranger","jetstream":true} \r\n'
  const taken = await listenSomewhere(t, stranger)
  const ports = [taken, await chooseFreePort()]
  const { server } = keep(t, natsSpec(nats, await folderOf(t), {}), {
    choosePort: async () => ports.shift() ?? 0,
  })
  t.deepEqual(await server.start(), E.right(undefined))
  t.not(server.port, taken)
})

test('ports that are taken again and again are given up on', async t => {
  const { redis = '' } = await binariesOf(t)
  const taken = await listenSomewhere(t)
  const { server, pids } = keep(t, redisSpec(redis, await folderOf(t), {}), {
    choosePort: async () => taken,
  })
  const outcome = await server.start()
  t.is(E.isLeft(outcome) && outcome.left.type, 'conflict')
  t.is(pids.length, 5)
  t.is(server.pid, undefined)
})

test('EP1: a restart does not take another port', async t => {
  const { redis = '' } = await binariesOf(t)
  const { server } = keep(t, redisSpec(redis, await folderOf(t), {}))
  t.true(E.isRight(await server.start()))
  const { port } = server
  await server.stop()
  t.true(E.isRight(await server.start()))
  t.is(server.port, port)
})

test('EP2: a server that never answers is ended, and its log is in the error', async t => {
  const script = `console.log('loading for ever'); setInterval(() => {}, 1000)`
  const folder = await folderOf(t)
  const printed = () => until('the script has printed', async () => (await logIn(folder)) !== '')
  const spec: ServerSpec = {
    ...scriptSpec(folder, script, () => false),
    isReady: () => printed().then(() => false), // The deadline is past when the first answer is in.
  }
  const { server, pids } = keep(t, spec, { startDeadlineMs: 0 })
  const outcome = await server.start()
  const message = E.isLeft(outcome) ? outcome.left.message : ''
  t.regex(message, /did not answer in time; the last lines of its log: loading for ever/)
  t.is(pids.length, 1)
  t.false(await isRunning(pids[0] ?? 0))
})

test('EP2: a server that exits at once is an error with the last ten lines of its log', async t => {
  const script = `for (let i = 0; i < 100; i++) console.log('line ' + i); process.exitCode = 7`
  const { server } = keep(
    t,
    scriptSpec(await folderOf(t), script, () => false),
  )
  const outcome = await server.start()
  const message = E.isLeft(outcome) ? outcome.left.message : ''
  t.regex(message, /exited with code 7/)
  const lines = message.slice(message.indexOf('line 9')).split('\n')
  t.deepEqual(
    lines,
    Array.from({ length: 10 }, (_, at) => `line ${90 + at}`),
  )
})

test('EP3: a server that ignores SIGTERM is ended by force', async t => {
  const folder = await folderOf(t)
  const script = `process.on('SIGTERM', () => console.log('not me')); console.log('up'); setInterval(() => {}, 1000)`
  let up = false
  const { server, pids } = keep(
    t,
    scriptSpec(folder, script, () => up),
    { stopDeadlineMs: 200 },
  )
  const started = server.start()
  await until('the script handles signals', async () => (await logIn(folder)).includes('up'))
  up = true
  t.deepEqual(await started, E.right(undefined))
  await server.stop()
  t.regex(await logIn(folder), /not me/)
  t.false(await isRunning(pids[0] ?? 0))
})

test('a start under way gives up when it is aborted, and leaves no process', async t => {
  const script = 'setInterval(() => {}, 1000)'
  const { server, pids } = keep(
    t,
    scriptSpec(await folderOf(t), script, () => false),
  )
  const started = server.start()
  await until('the process exists', () => pids.length === 1)
  server.abort()
  t.true(E.isLeft(await started))
  t.false(await isRunning(pids[0] ?? 0))
})

test('a binary that cannot be run is an error', async t => {
  const spec = { ...scriptSpec(await folderOf(t), '', () => false), binary: '/no/such/program' }
  const { server } = keep(t, spec)
  const outcome = await server.start()
  t.is(E.isLeft(outcome) && outcome.left.type, 'missing')
})
