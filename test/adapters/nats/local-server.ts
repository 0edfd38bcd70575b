/** Starts real nats-servers for the tests of this folder, and takes them away again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

export interface LocalNats {
  readonly url: string
  readonly port: number
  /** Undefined while it is killed. */
  readonly pid: number | undefined
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>
  /** Starts it again on the same port and folder; resolves when it greets clients. */
  start(): Promise<void>
}

export interface LocalNatsOptions {
  readonly storeDir?: string
  readonly port?: number
  readonly jetstream?: boolean
  /** Further arguments of nats-server. */
  readonly args?: readonly string[]
}

const binary = '/usr/sbin/nats-server'
const startTimeoutMs = 15_000

/** A port that was free a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })

/** Resolves with whether a server greets clients on a port. */
const greets = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    const done = (yes: boolean): void => {
      socket.destroy()
      resolve(yes)
    }
    socket.once('data', data => done(data.toString('latin1').startsWith('INFO ')))
    socket.once('error', () => done(false))
    socket.once('close', () => resolve(false))
  })

const untilGreets = async (port: number, child: ChildProcess): Promise<void> => {
  const deadline = performance.now() + startTimeoutMs
  while (!(await greets(port))) {
    if (child.exitCode !== null) throw new Error(`nats-server exited with ${child.exitCode}`)
    if (performance.now() > deadline) throw new Error('nats-server did not start in time')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/**
 * A nats-server of its own for one test, on a loopback port; gone with its folder when the test
 * ends.
 */
export const localNats = async (
  t: ExecutionContext,
  options: LocalNatsOptions = {},
): Promise<LocalNats> => {
  const port = options.port ?? (await freePort())
  const storeDir = options.storeDir ?? (await mkdtemp(join(tmpdir(), 'sluice-nats-')))
  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    const jetstream = options.jetstream === false ? [] : ['-js', '-sd', storeDir]
    const args = ['-a', '127.0.0.1', '-p', String(port), ...jetstream, ...(options.args ?? [])]
    child = spawn(binary, args, { stdio: 'ignore' })
    await untilGreets(port, child)
  }
  const kill = async (): Promise<void> => {
    const running = child
    child = undefined
    if (running === undefined || running.exitCode !== null) return
    const gone = new Promise<void>(resolve => running.once('exit', () => resolve()))
    running.kill('SIGKILL')
    await gone
  }
  t.teardown(async () => {
    await kill()
    if (options.storeDir === undefined) await rm(storeDir, { recursive: true, force: true })
  })
  await start()
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    get pid() {
      return child?.pid
    },
    kill,
    start,
  }
}
