/**
 * The supervisor: runs a job as one process per subtask and one for the coordinator, and starts again
 * what dies. It decides nothing about the job: a process that it restarts is a worker like any other.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import type { Environment } from '../lib/job/environment.js'
import { warningsOf } from '../lib/job/idle.js'
import type { Plan } from '../lib/job/plan.js'
import { memoryGone, stateBackendOf } from '../lib/job/state-backend.js'
import type { WorkerId } from '../lib/protocol/ids.js'
import type { Servers } from './deploy.js'
import { exitCodes, FromChild, type JobProgress, type ToChild } from './ipc.js'

/** Something that happened to a job, as its supervisor sees it. */
export type JobEvent =
  | { readonly type: 'process-started'; readonly role: string; readonly pid: number }
  | {
      readonly type: 'process-exited'
      readonly role: string
      readonly pid: number
      readonly reason: string
    }
  /** `name` tells what, `text` says it in words, `facts` holds the figures. */
  | { readonly type: 'note'; readonly name: string; readonly text: string; readonly facts: unknown }
  | { readonly type: 'progress'; readonly progress: JobProgress }
  | { readonly type: 'trouble'; readonly role: string; readonly text: string }

/** How a supervised job ended. */
export type JobOutcome =
  | {
      readonly type: 'ended'
      readonly status: 'finished' | 'canceled' | 'failed'
      readonly reason: string | undefined
    }
  /** It never ran, or cannot go on: the reason and what to do. */
  | { readonly type: 'error'; readonly message: string; readonly next: string | undefined }
  /** `stop()` was called; the job goes on from its latest checkpoint when it is started again. */
  | { readonly type: 'stopped' }

/** What a supervisor runs, and whom it tells. */
export interface SupervisorOptions {
  readonly jobFile: string
  readonly plan: Plan
  readonly servers: Servers
  /** What every process is given, and so the same configuration. Default: this process's own. */
  readonly environment?: Environment
  readonly fresh: boolean
  /** The checkpoint that a new job starts from. */
  readonly from?: string | undefined
  readonly onEvent: (event: JobEvent) => void
}

/** A job that runs in processes of its own. */
export interface RunningJob {
  /** Role and process id of everything that runs now; the role of a subtask is its id. */
  processes(): readonly { readonly role: string; readonly pid: number }[]
  /** Ends all processes; what is committed stays, and the job can be started again. */
  stop(): Promise<void>
  readonly outcome: Promise<JobOutcome>
}

/** The coordinator's news of one worker. */
const WorkerNote = t.type({
  type: t.union([t.literal('worker-lost'), t.literal('worker-joined')]),
  worker: t.string,
})

interface Child {
  readonly role: string
  readonly worker: WorkerId | undefined
  readonly process: ChildProcess
  readonly startedAt: number
}

const coordinatorRole = 'coordinator'
const firstDelayMs = 50
const delayMsMax = 5_000
/** A process that lived for so long starts anew without a delay. */
const steadyMs = 30_000
const shutDownMs = 6_000
/** What the coordinator lost and does not come back by itself: frozen, or in an endless loop. */
const lostGraceMs = 10_000
/** A coordinator tells its progress twice a second; one that is silent for so many looks is frozen. */
const lookMs = 5_000
const silentLooksMax = 6

const entry = fileURLToPath(new URL('./cli/main.js', import.meta.url))

/** One job's processes, started again when they die. */
export class Supervisor implements RunningJob {
  readonly outcome: Promise<JobOutcome>
  private settle: (outcome: JobOutcome) => void = () => {}
  private readonly children = new Map<string, Child>()
  private readonly delays = new Map<string, number>()
  private readonly timers = new Set<NodeJS.Timeout>()
  /** Workers that the coordinator lost, and when they are killed. */
  private readonly lost = new Map<WorkerId, NodeJS.Timeout>()
  private silentLooks = 0
  private readonly run = randomUUID()
  /** How the job is begun, until it is. */
  private beginning: readonly string[]
  /** What the present coordinator said last that it does. */
  private phase: string | undefined
  /** Roles that wait to be started again. */
  private readonly waiting = new Set<string>()
  private stopping = false
  /** The job is this run's, as far as its coordinator knows. */
  private owns = false
  private result: JobOutcome | undefined

  constructor(private readonly options: SupervisorOptions) {
    const { fresh, from } = options
    // A name may begin with a hyphen.
    this.beginning = [
      ...(fresh ? ['--fresh'] : []),
      ...(from === undefined ? [] : [`--from=${from}`]),
    ]
    this.outcome = new Promise(resolve => {
      this.settle = resolve
    })
  }

  /** The coordinator first: a run that does not own the job must not lend its workers to the one that does. */
  start(): void {
    const { plan, onEvent } = this.options
    for (const text of warningsOf(plan.graph))
      onEvent({ type: 'trouble', role: 'configuration', text })
    this.spawn(coordinatorRole)
    this.timers.add(setInterval(() => this.lookAtCoordinator(), lookMs).unref())
  }

  processes(): readonly { readonly role: string; readonly pid: number }[] {
    return [...this.children.values()].flatMap(({ role, process }) =>
      process.pid === undefined ? [] : [{ role, pid: process.pid }],
    )
  }

  async stop(): Promise<void> {
    this.finish({ type: 'stopped' })
    await this.outcome
  }

  private spawn(role: string): void {
    const { jobFile, servers, environment = process.env } = this.options
    const worker = role === coordinatorRole ? undefined : `${role}-${randomUUID().slice(0, 8)}`
    const args =
      worker === undefined ? ['coordinator', jobFile] : ['worker', jobFile, '--only', role]
    if (worker === undefined) args.push(...this.beginning)
    const child = fork(entry, args, {
      // Addresses may hold passwords: the environment shows them to nobody but the owner.
      env: {
        ...environment,
        NATS_URL: servers.natsUrl,
        REDIS_URL: servers.redisUrl,
        SLUICE_RUN: this.run,
        ...(worker === undefined ? {} : { SLUICE_WORKER: worker }),
      },
      execArgv: process.execArgv.filter(arg => !arg.startsWith('--inspect')),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const entryOf: Child = { role, worker, process: child, startedAt: performance.now() }
    this.children.set(role, entryOf)
    if (child.pid !== undefined)
      this.options.onEvent({ type: 'process-started', role, pid: child.pid })
    child.on('message', message => this.hear(role, message))
    child.once('error', error =>
      this.options.onEvent({ type: 'trouble', role, text: error.message }),
    )
    child.once('exit', (code, signal) => this.exited(entryOf, code, signal))
  }

  /**
   * What a coordinator that has just come finds missing: everything at first, and later the workers that
   * its predecessor had told to stop before it died.
   */
  private startWorkers(): void {
    if (this.stopping) return
    for (const { id } of this.options.plan.subtasks) {
      if (!this.children.has(id) && !this.waiting.has(id)) this.spawn(id)
    }
  }

  private hear(role: string, raw: unknown): void {
    const decoded = FromChild.decode(raw)
    if (E.isLeft(decoded)) return
    const message = decoded.right
    const { onEvent } = this.options
    if (role === coordinatorRole) this.silentLooks = 0
    switch (message.type) {
      case 'claimed':
        this.owns = true
        this.startWorkers()
        return
      case 'progress':
        this.phase = message.progress.phase
        onEvent({ type: 'progress', progress: message.progress })
        return
      case 'note':
        // From here on a restarted coordinator must go on, not start from nothing again.
        this.beginning = []
        this.watchLost(message.facts)
        onEvent({ type: 'note', name: message.name, text: message.text, facts: message.facts })
        return
      case 'trouble':
        onEvent({ type: 'trouble', role, text: message.text })
        return
      case 'ended':
        this.finish({ type: 'ended', status: message.status, reason: message.reason })
        return
      case 'error':
        onEvent({ type: 'trouble', role, text: message.error.message })
        this.lastError.set(role, { message: message.error.message, next: message.error.next })
    }
  }

  private readonly lastError = new Map<
    string,
    { readonly message: string; readonly next: string | undefined }
  >()

  private exited(child: Child, code: number | null, signal: NodeJS.Signals | null): void {
    const { role, worker } = child
    if (this.children.get(role) === child) this.children.delete(role)
    const reason = signal ?? `exit code ${code}`
    this.options.onEvent({ type: 'process-exited', role, pid: child.process.pid ?? 0, reason })
    if (worker !== undefined)
      this.tellCoordinator({
        type: 'worker-exited',
        worker,
        reason: `its process ended: ${reason}`,
      })
    if (this.stopping) {
      this.settleWhenEmpty()
      return
    }
    // One that was fenced is started again: what took its claim may have been the last request of a
    // predecessor that is dead. If another run has the job, the next claim says so.
    if (code === exitCodes.invalid) {
      const error = this.lastError.get(role)
      this.finish({
        type: 'error',
        message: error?.message ?? `${role} ended with ${reason}`,
        next: error?.next,
      })
      return
    }
    if (role === coordinatorRole && this.owns && this.isInMemory()) {
      this.endWithState(reason)
      return
    }
    if (role === coordinatorRole) this.phase = undefined
    if (role === coordinatorRole && code === exitCodes.fenced) this.withdraw()
    // Without the job there is nothing for it to do; the next claim starts it again.
    if (worker !== undefined && !this.owns) return
    // Told to stop, it ended in good order, and the word of the coordinator that lives follows.
    const isOver = this.phase === 'stopping' || this.phase === 'ended'
    if (worker !== undefined && code === exitCodes.ok && isOver) return
    this.respawn(child)
  }

  private isInMemory(): boolean {
    const { plan, servers } = this.options
    const backend = stateBackendOf(plan.graph, servers.redisUrl)
    return E.isRight(backend) && backend.right.type === 'memory'
  }

  /** Another coordinator would know nothing of the job, not even whether it had ended. */
  private endWithState(reason: string): void {
    const { message, next } = memoryGone(this.options.plan.job)
    const why = `its coordinator ended with ${reason}: ${message}. ${next ?? ''}`
    this.finish({ type: 'ended', status: 'failed', reason: why })
  }

  /** Workers are not lent to the run that may have the job now. */
  private withdraw(): void {
    this.owns = false
    for (const child of this.children.values())
      if (child.worker !== undefined) this.kill(child, 'the job may be another run’s now')
  }

  private respawn({ role, startedAt }: Child): void {
    const lived = performance.now() - startedAt
    const delay = lived > steadyMs ? firstDelayMs : (this.delays.get(role) ?? firstDelayMs)
    this.delays.set(role, Math.min(delayMsMax, delay * 2))
    this.waiting.add(role)
    const timer = setTimeout(() => {
      this.timers.delete(timer)
      this.waiting.delete(role)
      if (!this.stopping) this.spawn(role)
    }, delay)
    this.timers.add(timer)
  }

  /**
   * A process that is frozen or in an endless loop does not exit, so that nothing would take its place
   * and the job would wait for it for ever. One that was only out of reach joins again within the grace.
   */
  private watchLost(facts: unknown): void {
    const note = WorkerNote.decode(facts)
    if (E.isLeft(note)) return
    const { type, worker } = note.right
    clearTimeout(this.lost.get(worker))
    this.lost.delete(worker)
    const child = [...this.children.values()].find(each => each.worker === worker)
    if (type === 'worker-joined' || child === undefined || this.stopping) return
    const kill = (): void => {
      this.lost.delete(worker)
      this.kill(child, `the coordinator lost it and has not heard of it for ${lostGraceMs} ms`)
    }
    this.lost.set(worker, setTimeout(kill, lostGraceMs))
  }

  /** Looks are counted, not time: after a sleep of this process, what waits in the pipe gets its turn first. */
  private lookAtCoordinator(): void {
    const child = this.children.get(coordinatorRole)
    this.silentLooks += 1
    if (child === undefined || this.silentLooks <= silentLooksMax) return
    this.silentLooks = 0
    this.kill(child, `it has said nothing for ${silentLooksMax * lookMs} ms`)
  }

  private kill({ role, process: child }: Child, why: string): void {
    if (this.stopping) return
    this.options.onEvent({ type: 'trouble', role, text: `killed: ${why}` })
    child.kill('SIGKILL')
  }

  private tellCoordinator(message: ToChild): void {
    const coordinator = this.children.get(coordinatorRole)
    if (coordinator?.process.connected === true) send(coordinator.process, message)
  }

  /** Ends every process in good order, and by force those that take too long. */
  private finish(outcome: JobOutcome): void {
    if (this.stopping) return
    this.stopping = true
    this.result = outcome
    for (const timer of [...this.timers, ...this.lost.values()]) clearTimeout(timer)
    for (const { process: child } of this.children.values()) {
      if (child.connected) send(child, { type: 'shut-down' })
    }
    const force = setTimeout(() => {
      for (const { process: child } of this.children.values()) child.kill('SIGKILL')
    }, shutDownMs)
    this.timers.add(force)
    this.settleWhenEmpty()
  }

  private settleWhenEmpty(): void {
    if (this.children.size > 0 || this.result === undefined) return
    for (const timer of this.timers) clearTimeout(timer)
    this.settle(this.result)
  }
}

/** A child that is gone hears nothing; its exit says so. */
const send = (child: ChildProcess, message: ToChild): void => {
  child.send(message, () => {})
}
