/**
 * `sluice up` as a child process, started again whenever it was killed, and everything it tells.
 *
 *   U1. A supervisor that ends unasked is a failure, unless it found a server away while it started: then
 *       it says so and is started again once the servers are back.
 *   U2. Every process id that was ever told is remembered, for the search for leftovers.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'

const lastWordsMs = 2_000
const command = fileURLToPath(new URL('../../actors/cli/main.js', import.meta.url))

/** The lines of `--json` that matter here. */
const Line = t.union([
  t.type({ type: t.literal('process-started'), role: t.string, pid: t.number }),
  t.type({ type: t.literal('process-exited'), role: t.string, pid: t.number, reason: t.string }),
  t.type({ type: t.literal('note'), name: t.string, text: t.string }),
  t.type({ type: t.literal('result'), status: t.string }),
])

export interface SupervisedOptions {
  readonly jobFile: string
  readonly natsUrl: string
  readonly redisUrl: string
  /** Everything that is heard, for the log of the run. */
  readonly say: (text: string) => void
  readonly serversAway: () => boolean
  /** How often a server was killed so far. */
  readonly outages: () => number
}

export type Ended =
  | { readonly type: 'finished' }
  | { readonly type: 'failed'; readonly reason: string }

export class Supervised {
  ended: Ended | undefined
  /** Notes heard so far, by name. */
  readonly heard = new Map<string, number>()
  /** How often a role's process was started. */
  readonly starts = new Map<string, number>()
  private readonly living = new Map<string, number>()
  private child: ChildProcess | undefined
  /** Outages that were over when the supervisor was started. */
  private outagesBefore = 0
  private startedAny = false
  private result: string | undefined

  constructor(private readonly options: SupervisedOptions) {}

  start(): void {
    const { jobFile, natsUrl, redisUrl, say } = this.options
    const child = spawn(process.execPath, [command, 'up', jobFile, '--json'], {
      env: { ...process.env, NATS_URL: natsUrl, REDIS_URL: redisUrl, SLUICE_DEBUG: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child = child
    this.outagesBefore = this.options.outages() - (this.options.serversAway() ? 1 : 0)
    this.startedAny = false
    this.result = undefined
    this.count(this.starts, 'supervisor')
    say(`supervisor ${child.pid} is started`)
    createInterface(child.stdout).on('line', line => {
      if (this.child === child) this.hear(line)
    })
    createInterface(child.stderr).on('line', line => say(`stderr: ${line}`))
    child.once('exit', (code, signal) => {
      const how = signal ?? `exit code ${code}`
      say(`supervisor ${child.pid} ended: ${how}`)
      if (this.child !== child) return
      // Its last lines come first; a grandchild that it left behind would hold the pipe open.
      const timer = setTimeout(() => this.exited(child, code, how), lastWordsMs)
      child.once('close', () => {
        clearTimeout(timer)
        this.exited(child, code, how)
      })
    })
  }

  /** The process id of a role, while its process lives for all that is known. */
  pidOf(role: string): number | undefined {
    return role === 'supervisor' ? this.child?.pid : this.living.get(role)
  }

  /** SIGKILL. False when the role has no process now. */
  kill(role: string): boolean {
    const pid = this.pidOf(role)
    if (pid === undefined) return false
    if (role === 'supervisor') {
      this.child = undefined
      this.living.clear()
    } else this.living.delete(role)
    try {
      process.kill(pid, 'SIGKILL')
      return true
    } catch {
      return false // It had just ended by itself.
    }
  }

  dispose(): void {
    this.kill('supervisor')
  }

  private hear(text: string): void {
    this.options.say(text)
    const line = E.tryCatch(
      (): unknown => JSON.parse(text),
      () => undefined,
    )
    const decoded = E.isLeft(line) ? line : Line.decode(line.right)
    if (E.isLeft(decoded)) return
    const { right } = decoded
    switch (right.type) {
      case 'process-started':
        this.living.set(right.role, right.pid)
        this.startedAny = true
        this.count(this.starts, right.role)
        return
      case 'process-exited':
        if (this.living.get(right.role) === right.pid) this.living.delete(right.role)
        return
      case 'note':
        this.count(this.heard, right.name)
        return
      case 'result':
        this.result = right.status
    }
  }

  private exited(child: ChildProcess, code: number | null, how: string): void {
    if (this.child !== child) return
    this.child = undefined
    this.living.clear()
    const refused = code === 2 && !this.startedAny
    if (code === 0 && this.result === 'finished') this.ended = { type: 'finished' }
    else if (refused && this.options.outages() > this.outagesBefore)
      this.startWhenBack() // U1
    else {
      const said = this.result === undefined ? '' : `, saying '${this.result}'`
      this.ended = { type: 'failed', reason: `the supervisor ended with ${how}${said}` }
    }
  }

  private startWhenBack(): void {
    const timer = setInterval(() => {
      if (this.options.serversAway()) return
      clearInterval(timer)
      if (this.child === undefined && this.ended === undefined) this.start()
    }, 50)
  }

  private count(counts: Map<string, number>, name: string): void {
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
}
