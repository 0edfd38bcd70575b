/**
 * A whole job in one process and in virtual time: coordinator, one worker per subtask, and a
 * supervisor that starts again what dies, on the ports in memory.
 */
import * as E from 'fp-ts/lib/Either.js'
import { claimJob } from '../../actors/claim.js'
import { CoordinatorActor } from '../../actors/coordinator.js'
import { describeNote } from '../../actors/describe.js'
import { nudgeCoordinator, nudgeWorkerExited } from '../../actors/nudges.js'
import { requestCheckpoint } from '../../actors/request-checkpoint.js'
import { WorkerActor } from '../../actors/worker.js'
import { partDigest } from '../../lib/adapters/digest.js'
import type { StreamError } from '../../lib/errors.js'
import { checkpointRulesOf } from '../../lib/job/checkpoint-rules.js'
import type { Job } from '../../lib/job/graph.js'
import { type Plan, plan } from '../../lib/job/plan.js'
import { restartOf } from '../../lib/job/restart.js'
import { validate } from '../../lib/job/validate.js'
import type { CopyFolders } from '../../lib/ports/copy-folders.js'
import type { Digests } from '../../lib/ports/record-codec.js'
import type { CoordinatorSettings, EndStatus, Note } from '../../lib/protocol/coordinator.js'
import { noRestart, type RestartStrategy } from '../../lib/protocol/retry.js'
import { MemoryBroker } from './memory-broker.js'
import { memoryCodec } from './memory-codec.js'
import { MemoryPostOffice, memoryControlBus } from './memory-control-bus.js'
import type { MemoryDisk } from './memory-disk.js'
import { memoryEventLog } from './memory-event-log.js'
import { memoryJobStore } from './memory-job-store.js'
import { MemoryRedis } from './memory-redis.js'
import { memorySnapshotStore } from './memory-snapshot-store.js'
import { MemoryProcess, memoryScheduler, VirtualTime } from './memory-time.js'
import { type Hooks, MemoryWire } from './memory-wire.js'

export const memoryDigests: Digests = {
  hash: bytes => partDigest([bytes]),
  part: partDigest,
}

/** The plan of a job that must be valid. */
export const planOf = (job: Job): Plan => {
  const valid = validate(job.graph)
  if (E.isRight(valid)) return plan(valid.right)
  throw new Error(valid.left.map(p => `${p.path}: ${p.found}`).join('; '))
}

export interface WorldOptions {
  readonly job: Job
  readonly seed?: number
  /** Of every way between a process and a server; up to twice as long by chance. */
  readonly latencyMs?: number
  /** Time that a look at the clock takes. */
  readonly readingMs?: number
  /** Where chance comes from, for each process and each of its ways. Default: one source for all. */
  readonly draws?: (edge: string) => () => number
  /** In the place of what the job asks for, if it is checkpointed. */
  readonly restart?: RestartStrategy
  readonly leaseMs?: number
  /** A request without an answer for so long has an unknown outcome. */
  readonly requestTimeoutMs?: number
  /** Between the end of a process and the start of the next. */
  readonly respawnMs?: number
  /** Whether a worker that takes a dead one's place has its name, and nobody tells: run by hand. */
  readonly sameNames?: boolean
  /** What a person does about a refusal; the job is given up unless it is `again`. */
  readonly onRefused?: (error: StreamError) => 'again' | undefined
}

/** How a job ended, as its supervisor sees it. */
export interface WorldOutcome {
  readonly status: EndStatus | 'refused'
  readonly reason: string | undefined
}

/** The role that there is one of; the others are the subtasks. */
export const coordinatorRole = 'coordinator'
const defaults = { leaseMs: 10_000, requestTimeoutMs: 2_000, respawnMs: 50 }
const wordMs = 15_000

/** What a process has of the world. */
export type Connection = ReturnType<JobWorld['connect']>

/** What a supervisor tries again by itself. */
const isPassing = ({ type }: StreamError): boolean => type === 'timed-out' || type === 'unavailable'

/** As the composition root makes them. */
const settingsOf = (
  of: Plan,
  term: number,
  jobId: string,
  strategy: RestartStrategy | undefined,
): CoordinatorSettings => {
  const { checkpoint, limits, maxParallelism } = of.graph
  const sources = of.chains.filter(chain => chain.members[0]?.type === 'source')
  const ids = new Set(sources.map(chain => chain.id))
  const isBounded = sources.every(({ members: [first] }) => {
    if (first?.type !== 'source') return false
    return first.source.type === 'iterable-source' || first.source.end !== undefined
  })
  return {
    term,
    jobId,
    graph: of.fingerprint,
    subtasks: of.subtasks.map(subtask => subtask.id),
    maxParallelism,
    sources: new Set(of.subtasks.filter(s => ids.has(s.chain)).map(s => s.id)),
    bounded: isBounded,
    ...checkpointRulesOf(checkpoint),
    restart:
      checkpoint === undefined && strategy !== undefined
        ? noRestart
        : (strategy ?? restartOf(of.graph)),
    heartbeatTimeoutMs: limits.heartbeatTimeoutMs,
    stallTimeoutMs: limits.stallTimeoutMs,
    deployTimeoutMs: 120_000,
    stopTimeoutMs: 10_000,
    ordersEveryMs: limits.heartbeatMs,
  }
}

export class JobWorld {
  readonly plan: Plan
  readonly time: VirtualTime
  readonly broker: MemoryBroker
  readonly redis: MemoryRedis
  readonly office = new MemoryPostOffice()
  readonly hooks: Hooks = {}
  /** Of the machine that all processes run on; undefined: nothing is kept there. */
  disk: MemoryDisk | undefined
  /** What happened, in words. */
  readonly told: string[] = []
  readonly notes: Note[] = []
  /** What runs now, by role. */
  readonly processes = new Map<string, MemoryProcess>()
  /** By role: how much longer its ways are than others'. */
  readonly delaysMs = new Map<string, number>()
  outcome: WorldOutcome | undefined
  readonly #options: WorldOptions & typeof defaults
  readonly #born = new Map<string, number>()
  /** Names of workers whose process has not the same. */
  readonly #named = new Map<MemoryProcess, string>()

  constructor(options: WorldOptions) {
    this.#options = { ...defaults, ...options }
    this.plan = planOf(options.job)
    this.time = new VirtualTime(options.seed ?? 1)
    this.broker = new MemoryBroker(this.time)
    this.redis = new MemoryRedis(this.time)
  }

  /** Starts everything: what `sluice up` does. */
  start(): void {
    this.#startCoordinator()
    for (const { id } of this.plan.subtasks) this.#startWorker(id)
  }

  /** Kills a role's process; its supervisor notices, tells, and starts another. */
  kill(role: string, silentFromMs?: number): void {
    const process = this.processes.get(role)
    if (process === undefined) return
    process.kill(silentFromMs)
    this.processes.delete(role)
    this.told.push(`${role} is killed`)
    this.#later(this.#options.respawnMs, () => {
      if (role === coordinatorRole) this.#startCoordinator()
      else {
        const worker = this.#named.get(process) ?? process.name
        if (!this.#options.sameNames) this.#tellExit(worker)
        this.#startWorker(role, this.#options.sameNames ? worker : undefined)
      }
    })
  }

  /**
   * Takes a role's process for dead and starts another, though it lives: a partition, or a pause.
   * Gives the one that was abandoned.
   */
  abandon(role: string): MemoryProcess | undefined {
    const process = this.processes.get(role)
    this.told.push(`${role} is abandoned`)
    if (role === coordinatorRole) this.#startCoordinator()
    else this.#startWorker(role)
    return process
  }

  /** Asks for the job's end, as `sluice cancel` does. */
  async cancel(): Promise<void> {
    const { store, bus } = this.connect('canceler')
    let answered = false
    void store
      .requestCancel(this.plan.job)()
      .then(() => {
        answered = true
      })
    await this.time.run('an answer to cancel', () => answered)
    nudgeCoordinator(bus, this.plan.job)
  }

  /** Asks for a checkpoint, as `sluice checkpoint` does. */
  checkpoint(request: string, timeoutMs = 60_000): ReturnType<typeof requestCheckpoint> {
    const { bus, scheduler } = this.connect(`asker-${request}`)
    return requestCheckpoint({ bus, scheduler, job: this.plan.job, request, timeoutMs })
  }

  async untilEnded(limitMs = 600_000): Promise<WorldOutcome> {
    await this.time.run('the end of the job', () => this.outcome !== undefined, limitMs)
    return this.outcome ?? { status: 'failed', reason: 'it did not end' }
  }

  /** JSON values on a stream, in order. */
  published(stream: string): readonly unknown[] {
    return this.broker
      .content(stream)
      .map(({ payload }): unknown => JSON.parse(new TextDecoder().decode(payload)))
  }

  /** A new process and its connections. */
  connect(name: string) {
    const { time, broker, redis, office, hooks } = this
    const { requestTimeoutMs: timeoutMs, latencyMs: mean = 1 } = this.#options
    const drawsOf = this.#options.draws ?? (() => () => time.random())
    const process = new MemoryProcess(name, time)
    const wireTo = (server: string): MemoryWire => {
      const draw = drawsOf(`${name} ${server}`)
      const role = name.slice(0, name.lastIndexOf('-'))
      const latencyMs = (): number => mean * (0.5 + draw()) + (this.delaysMs.get(role) ?? 0)
      return new MemoryWire({ time, process, latencyMs, timeoutMs, hooks })
    }
    const nats = wireTo('nats')
    const store = wireTo('redis')
    const folders: CopyFolders | undefined = this.disk?.of(process)
    return {
      process,
      folders,
      log: memoryEventLog(broker, nats),
      bus: memoryControlBus(office, nats),
      store: memoryJobStore(redis, store),
      snapshots: memorySnapshotStore(redis, store),
      scheduler: memoryScheduler(time, process, this.#options.readingMs ?? 0, drawsOf(name)),
    }
  }

  /** A new process of a role: its number, and its name. */
  #bear(role: string): readonly [number, string] {
    const number = (this.#born.get(role) ?? 0) + 1
    this.#born.set(role, number)
    return [number, `${role}-${number}`]
  }

  #later(ms: number, act: () => void): void {
    this.time.after(ms, () => {
      if (this.outcome === undefined) act()
    })
  }

  #startWorker(subtask: string, named?: string): void {
    const [pid, name] = this.#bear(subtask)
    const worker = named ?? name
    const { process, log, bus, snapshots, scheduler, folders } = this.connect(name)
    this.processes.set(subtask, process)
    this.#named.set(process, worker)
    new WorkerActor({
      plan: this.plan,
      worker,
      pid,
      slots: 1,
      only: [subtask],
      freeze: true,
      ports: { log, bus, snapshots, scheduler, codec: memoryCodec, digests: memoryDigests },
      folders,
      onStopped: () => {
        process.kill()
        this.processes.delete(subtask)
        // The coordinator's word follows, unless it died before it could give it.
        this.#later(wordMs, () => this.#startWorker(subtask))
      },
      onTrouble: error => this.told.push(`${worker}: ${error.message}`),
    }).start()
  }

  #startCoordinator(): void {
    const [, name] = this.#bear(coordinatorRole)
    const ports = this.connect(name)
    this.processes.set(coordinatorRole, ports.process)
    void this.#coordinate(ports)
  }

  async #coordinate(ports: Connection): Promise<void> {
    const { plan: of } = this
    const { leaseMs } = this.#options
    const request = {
      job: of.job,
      run: 'run',
      graph: of.fingerprint,
      leaseMs,
      fresh: false,
      onWaiting: () => {},
    }
    const claimed = await claimJob(request, ports)
    if (E.isLeft(claimed)) {
      // A supervisor starts the role again unless a person has to do something first.
      const again = isPassing(claimed.left) || this.#options.onRefused?.(claimed.left)
      if (again && this.processes.get(coordinatorRole) === ports.process) this.kill(coordinatorRole)
      else if (again) ports.process.kill()
      else this.#end({ status: 'refused', reason: claimed.left.message })
      return
    }
    if (claimed.right.type === 'ended') {
      this.#end({ status: claimed.right.status, reason: claimed.right.reason })
      return
    }
    const { claim } = claimed.right
    new CoordinatorActor({
      plan: of,
      claim,
      run: 'run',
      leaseMs,
      settings: settingsOf(of, claim.term, claim.jobId, this.#options.restart),
      ports,
      onNote: note => {
        this.notes.push(note)
        this.told.push(describeNote(note))
      },
      onState: () => {},
      onEnded: ({ phase }) => {
        if (phase.type === 'ended') this.#end({ status: phase.status, reason: phase.reason })
        else {
          this.told.push(`${ports.process.name} is fenced`)
          // Its supervisor starts it again, unless it was abandoned: the job is its successor's.
          if (this.processes.get(coordinatorRole) === ports.process) this.kill(coordinatorRole)
          else ports.process.kill()
        }
      },
    }).start()
  }

  #end(outcome: WorldOutcome): void {
    this.outcome = outcome
    this.told.push(`the job is ${outcome.status}`)
  }

  #tellExit(worker: string): void {
    const { bus } = this.connect('supervisor')
    nudgeWorkerExited(bus, this.plan.job, worker, 'killed')
  }
}
