/** A Redis server of the test's own, on a free port of 127.0.0.1, in a directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface LocalRedisOptions {
  readonly appendOnly?: boolean
  readonly appendFsync?: 'always' | 'everysec' | 'no'
  /** `maxmemory-policy`. Default `noeviction`. */
  readonly policy?: string
  /** `maxmemory`, such as `4mb`. Default: none. */
  readonly memoryMax?: string
  readonly password?: string
  /** Takes the command DEBUG, of local clients. */
  readonly debug?: boolean
  /** Kept at the end when given. Default: a temporary one that is removed. */
  readonly dir?: string
  /** Default: a free one. */
  readonly port?: number
}

export interface LocalRedis {
  readonly url: string
  /** Of the process that runs now, or ran last. */
  readonly pid: number
  /** `kill -9`; resolves when the process is gone. */
  kill(): Promise<void>
  /** Starts the killed server again: same port, same directory. */
  start(): Promise<void>
}

/** Anything that runs a function at the end: a test, or a file's `after` hook. */
export interface Teardown {
  teardown(end: () => Promise<void>): void
}

const running = new Set<ChildProcess>()

// No server outlives a test process that is cut off.
process.once('exit', () => {
  for (const server of running) server.kill('SIGKILL')
})

/** Starts a server, and waits until it answers PING. */
export const localRedis = async (
  t: Teardown,
  options: LocalRedisOptions = {},
): Promise<LocalRedis> => {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'sluice-redis-')))
  const port = options.port ?? (await freePort())
  let server = await launch(dir, port, options)
  const kill = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return
    const exited = once(server, 'exit')
    server.kill('SIGKILL')
    await exited
  }
  t.teardown(async () => {
    await kill()
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
  })
  const credentials = options.password === undefined ? '' : `:${options.password}@`
  return {
    url: `redis://${credentials}127.0.0.1:${port}`,
    get pid() {
      return server.pid ?? 0
    },
    kill,
    start: async () => {
      await kill()
      server = await launch(dir, port, options)
    },
  }
}

const launch = async (
  dir: string,
  port: number,
  options: LocalRedisOptions,
): Promise<ChildProcess> => {
  const settings = {
    bind: '127.0.0.1',
    port: String(port),
    dir,
    save: '',
    appendonly: options.appendOnly === true ? 'yes' : 'no',
    appendfsync: options.appendFsync ?? 'everysec',
    'maxmemory-policy': options.policy ?? 'noeviction',
    ...(options.memoryMax === undefined ? {} : { maxmemory: options.memoryMax }),
    ...(options.debug === true ? { 'enable-debug-command': 'local' } : {}),
    ...(options.password === undefined ? {} : { requirepass: options.password }),
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  const server = spawn('/usr/bin/redis-server', args, { stdio: 'ignore' })
  running.add(server)
  server.once('exit', () => running.delete(server))
  while (!(await answers(port))) {
    if (server.exitCode !== null) throw new Error(`redis-server ended with ${server.exitCode}`)
  }
  return server
}

/** One PING. A server that asks for a password answers too; one that loads its data does not. */
const answers = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    const settle = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('data', data => settle(/^\+PONG|^-NOAUTH/.test(data.toString())))
    // The pause keeps the tries from starving the server while it starts.
    socket.once('error', () => setTimeout(() => settle(false), 10))
  })

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
