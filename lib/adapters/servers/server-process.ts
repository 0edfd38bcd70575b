/**
 * One server as a child process: started until it answers, stopped until it is gone.
 *
 * Invariants
 *   EP1. The port is chosen once; a restart listens on the same one, so that clients find it again.
 *   EP2. `start` resolves when the server answers in its own protocol, or when its process is gone.
 *   EP3. `stop` and `kill` resolve when the process is gone.
 *   EP4. `onExit` is called for exactly those exits of a started server that nobody here asked for.
 *   EP5. A folder has one server at a time: its record names the process and the port.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../../errors.js'
import { tailOf } from './log-tail.js'
import { chooseFreePort } from './port.js'
import { isListening } from './probe.js'
import { isAlive } from './process-id.js'
import type { ServerSpec } from './specs.js'

/** How a server's process ended. */
export interface ProcessEnd {
  readonly pid: number
  readonly code: number | null
  readonly signal: string | null
  /** The last lines of the server's log. */
  readonly log: string
}

/** What a kept server needs from its surroundings; the limits are there for tests to change. */
export interface ServerSurroundings {
  /** Called for an exit that was not asked for. Must not throw. */
  readonly onExit: (end: ProcessEnd) => void
  /** Called with the id of each process as soon as it exists. Must not throw. */
  readonly onSpawn: (pid: number) => void
  readonly choosePort?: () => Promise<number>
  readonly startDeadlineMs?: number
  readonly stopDeadlineMs?: number
}

const defaults = {
  choosePort: chooseFreePort,
  startDeadlineMs: 30_000,
  stopDeadlineMs: 3_000,
}
const PORT_ATTEMPTS_MAX = 5
const POLL_MS = 20
const PORT_RETRY_MS = 100

interface Live {
  readonly child: ChildProcess
  readonly pid: number
  /** Resolves when the process is gone. */
  readonly gone: Promise<ProcessEnd>
  /** Set before a signal is sent from here. */
  asked: boolean
}

type Launch =
  | { readonly type: 'ready'; readonly live: Live }
  | { readonly type: 'port-taken' }
  | { readonly type: 'failed'; readonly error: StreamError }

/** Keeps one server. Calls must not overlap, save `abort`. */
export class ServerProcess {
  #live: Live | undefined
  #port: number | undefined
  #aborted = false
  readonly #spec: ServerSpec
  readonly #around: ServerSurroundings & typeof defaults

  constructor(spec: ServerSpec, around: ServerSurroundings) {
    this.#spec = spec
    this.#around = { ...defaults, ...around }
  }

  /** Undefined until it has listened for the first time. */
  get port(): number | undefined {
    return this.#port
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#live?.pid
  }

  /**
   * Starts it, or does nothing if it runs. Left with the last lines of its log if it does not
   * start.
   */
  async start(): Promise<E.Either<StreamError, void>> {
    if (this.#live !== undefined) return E.right(undefined)
    try {
      await mkdir(this.#spec.folder, { recursive: true })
      const owner = await ownerOf(this.#spec.folder)
      if (owner !== undefined) return E.left(occupied(this.#spec, owner)) // EP5
      return await this.#startOnSomePort()
    } catch (thrown) {
      const message = `${this.#program} cannot use ${this.#spec.folder}: ${messageOf(thrown)}`
      return E.left(streamError('unavailable', message, { cause: thrown }))
    }
  }

  /** Asks it to end, and ends it by force if it has not after a while. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** Ends it at once, without a chance to save anything. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Makes a `start` under way give up, and every later one fail. */
  abort(): void {
    this.#aborted = true
  }

  get #program(): string {
    return basename(this.#spec.binary)
  }

  async #startOnSomePort(): Promise<E.Either<StreamError, void>> {
    const tried: number[] = []
    for (let attempt = 0; attempt < PORT_ATTEMPTS_MAX; attempt += 1) {
      const port = this.#port ?? (await this.#around.choosePort())
      tried.push(port)
      const launch = await this.#launch(port)
      if (launch.type === 'failed') return E.left(launch.error)
      if (launch.type === 'ready') {
        this.#port = port // EP1
        this.#watch(launch.live)
        return E.right(undefined)
      }
      await delay(PORT_RETRY_MS)
    }
    const message = `${this.#program} found no free port: others listen on ${tried.join(', ')}`
    return E.left(streamError('conflict', message, { next: 'End that process, or start again.' }))
  }

  async #launch(port: number): Promise<Launch> {
    if (this.#aborted) return this.#failed('was told to stop before it had started', '')
    const { folder } = this.#spec
    const configFile = join(folder, `${this.#spec.name}.conf`)
    await writeFile(configFile, this.#spec.configure(port), { mode: 0o600 })
    const live = await this.#spawn(configFile)
    if (E.isLeft(live)) return { type: 'failed', error: live.left }
    await writeFile(recordIn(folder), `${live.right.pid} ${port}`)
    return this.#untilReady(live.right, port)
  }

  async #spawn(configFile: string): Promise<E.Either<StreamError, Live>> {
    const { binary, folder, name, environment } = this.#spec
    const logFile = join(folder, `${name}.log`)
    const log = await open(logFile, 'a', 0o600)
    try {
      const logStart = (await log.stat()).size
      const child = spawn(binary, this.#spec.args(configFile), {
        cwd: folder,
        env: { ...environment, ...process.env },
        stdio: ['ignore', log.fd, log.fd],
      })
      const { pid } = child
      if (pid === undefined) {
        const [error] = await new Promise<unknown[]>(resolve => {
          child.once('error', (...thrown) => resolve(thrown))
        })
        const message = `${binary} cannot be run: ${messageOf(error)}`
        return E.left(streamError('missing', message, { cause: error }))
      }
      this.#around.onSpawn(pid)
      const gone = new Promise<ProcessEnd>((resolve, reject) => {
        child.once('exit', (code, signal) => {
          tailOf(logFile, logStart).then(text => resolve({ pid, code, signal, log: text }), reject)
        })
      })
      return E.right({ child, pid, gone, asked: false })
    } finally {
      await log.close()
    }
  }

  /** EP2. */
  async #untilReady(live: Live, port: number): Promise<Launch> {
    const giveUpAt = performance.now() + this.#around.startDeadlineMs
    const gone = live.gone.then(end => ({ type: 'gone' as const, end }))
    for (;;) {
      const answer = this.#spec
        .isReady(port, live.pid)
        .then(ready => (ready ? ({ type: 'ready' } as const) : ({ type: 'not-yet' } as const)))
      const event = await Promise.race([gone, answer])
      if (event.type === 'ready' && !this.#aborted) return { type: 'ready', live }
      if (event.type === 'gone') return this.#goneTooEarly(event.end)
      if (this.#aborted || performance.now() > giveUpAt) {
        live.child.kill('SIGKILL')
        const end = await live.gone
        const why = this.#aborted ? 'was told to stop' : 'did not answer in time'
        return this.#failed(why, end.log)
      }
      await Promise.race([gone, delay(POLL_MS)])
    }
  }

  #goneTooEarly(end: ProcessEnd): Launch {
    if (/address already in use/i.test(end.log)) return { type: 'port-taken' }
    const how = end.signal === null ? `exited with code ${end.code}` : `was ended by ${end.signal}`
    return this.#failed(how, end.log)
  }

  #failed(why: string, log: string): Launch {
    const lastLines = log === '' ? '' : `; the last lines of its log: ${log}`
    const message = `${this.#program} did not start: it ${why}${lastLines}`
    return { type: 'failed', error: streamError('unavailable', message) }
  }

  #watch(live: Live): void {
    this.#live = live
    void live.gone.then(end => {
      if (live.asked) return
      this.#live = undefined
      this.#around.onExit(end) // EP4
    })
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const live = this.#live
    if (live === undefined) return
    live.asked = true
    live.child.kill(signal)
    const force = setTimeout(() => live.child.kill('SIGKILL'), this.#around.stopDeadlineMs)
    await live.gone // EP3
    clearTimeout(force)
    this.#live = undefined
    await rm(recordIn(this.#spec.folder), { force: true })
  }
}

const recordIn = (folder: string): string => join(folder, 'running')

interface Owner {
  readonly pid: number
  readonly port: number
}

/** The server that still runs in the folder. Its id alone would not tell: ids are used again. */
const ownerOf = async (folder: string): Promise<Owner | undefined> => {
  const text = await readFile(recordIn(folder), 'utf8').catch(() => '') // No record, no owner.
  const [pid, port] = text.split(' ').map(Number)
  if (!pid || !port || !isAlive(pid)) return undefined
  return (await isListening(port)) ? { pid, port } : undefined
}

const occupied = (spec: ServerSpec, owner: Owner): StreamError =>
  streamError(
    'conflict',
    `${basename(spec.binary)} already runs in ${spec.folder}: process ${owner.pid}, port ${owner.port}`,
    { next: 'Use that one, end it, or give another folder.' },
  )
