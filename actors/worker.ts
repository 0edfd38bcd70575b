/**
 * A worker: one process that runs the subtasks it is given.
 *
 * Hears orders, tells beats. What orders mean is decided in `lib/protocol/worker.ts`; here subtasks are
 * started and let go of.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { StreamError } from '../lib/errors.js'
import type { Plan } from '../lib/job/plan.js'
import type { CopyFolders } from '../lib/ports/copy-folders.js'
import { coordinatorSubject, ordersSubject } from '../lib/protocol/addresses.js'
import type { SubtaskId, WorkerId } from '../lib/protocol/ids.js'
import { type Beat, decodeMessage, encodeMessage, Orders } from '../lib/protocol/messages.js'
import {
  initialWorker,
  stepWorker,
  type WorkerAction,
  type WorkerProtocol,
} from '../lib/protocol/worker.js'
import { Copies } from './copies.js'
import { SubtaskActor, type SubtaskPorts } from './subtask.js'

/** What a worker offers, and whom it tells. */
export interface WorkerOptions {
  readonly plan: Plan
  readonly worker: WorkerId
  readonly pid: number
  readonly slots: number
  /** Subtasks that this worker is reserved for; empty: any, as many as it has slots. */
  readonly only: readonly SubtaskId[]
  readonly freeze: boolean
  readonly twice?: boolean
  readonly ports: SubtaskPorts
  /** Where copies of snapshots outlive this process. Default: nowhere. */
  readonly folders?: CopyFolders | undefined
  /** Called once, when the job has ended and everything is let go of. */
  readonly onStopped: () => void
  /** A message that does not decode, or a copy that cannot be kept or used, for people. */
  readonly onTrouble: (error: StreamError) => void
}

const stopWithinMs = 5_000
const stopPollMs = 25
/** A disk that takes longer than this keeps what is on it. */
const clearWithinMs = 2_000

/** One worker at work. */
export class WorkerActor {
  private protocol: WorkerProtocol = initialWorker
  private subtasks: SubtaskActor[] = []
  private stopped = false
  private ended = false
  private beatSoon = false
  private cancelBeat: () => void = () => {}
  private unsubscribe: () => void = () => {}

  /** They outlive generations, which is what they are for. */
  private readonly copies: Copies | undefined

  constructor(private readonly options: WorkerOptions) {
    const { plan, ports, folders, onTrouble } = options
    const { checkpoint } = plan.graph
    if (checkpoint?.localRecovery !== true) return
    this.copies = new Copies({
      job: plan.job,
      pendingMax: checkpoint.maxConcurrent,
      digestOf: ports.digests.part,
      folders,
      scheduler: ports.scheduler,
      onTrouble,
    })
  }

  start(): void {
    const { plan, worker, ports } = this.options
    this.unsubscribe = ports.bus.subscribe(ordersSubject(plan.job, worker), payload => {
      const orders = decodeMessage(Orders, payload)
      if (E.isLeft(orders)) this.options.onTrouble(orders.left)
      else this.hear(orders.right)
    })
    this.beatPeriodically()
  }

  /** Lets go of everything at once, for a process that is asked to leave. */
  dispose(): void {
    this.ended = true
    this.cancelBeat()
    this.unsubscribe()
    this.disposeSubtasks()
    this.copies?.dispose()
  }

  private hear(orders: Orders): void {
    const [next, actions] = stepWorker(this.protocol, orders)
    this.protocol = next
    for (const action of actions) this.perform(action)
    if (actions.length > 0) this.changed()
  }

  private perform(action: WorkerAction): void {
    switch (action.type) {
      case 'dispose':
        this.disposeSubtasks()
        return
      case 'deploy':
        this.deploy(action)
        return
      case 'run':
        for (const subtask of this.subtasks) subtask.run()
        return
      case 'trigger':
        for (const subtask of this.subtasks)
          subtask.trigger(action.epoch, action.final, action.triggeredAt)
        return
      case 'abort':
        for (const subtask of this.subtasks) subtask.abort(action.epoch)
        this.copies?.aborted(action.epoch)
        return
      case 'complete':
        for (const subtask of this.subtasks) subtask.complete(action.epoch)
        this.copies?.completed(action.epoch)
        return
      case 'stop':
        this.stop(this.options.ports.scheduler.now() + stopWithinMs)
    }
  }

  private deploy({
    generation,
    jobId,
    subtasks,
    restore,
  }: Extract<WorkerAction, { type: 'deploy' }>): void {
    const { plan, freeze, twice = false, ports } = this.options
    const { copies } = this
    copies?.begin(jobId, generation, subtasks, restore)
    this.subtasks = subtasks.map(
      subtask =>
        new SubtaskActor({
          plan,
          jobId,
          subtask,
          generation,
          restore,
          freeze,
          twice,
          ports,
          copies,
          onChange: () => this.changed(),
        }),
    )
    for (const subtask of this.subtasks) void subtask.restore()
  }

  private disposeSubtasks(): void {
    for (const subtask of this.subtasks) subtask.dispose()
    this.subtasks = []
  }

  /** Publishes what has completed, for a bounded time, and lets go. */
  private stop(deadline: number): void {
    const { scheduler } = this.options.ports
    const quiet = this.subtasks.map(s => s.quiesce()).every(done => done)
    if (!quiet && scheduler.now() < deadline) {
      scheduler.after(stopPollMs, () => {
        if (!this.ended) this.stop(deadline)
      })
      return
    }
    this.disposeSubtasks()
    this.stopped = true
    this.beat()
    void this.leave()
  }

  /** Its copies are needed no more: the job is over. */
  private async leave(): Promise<void> {
    const { bus, scheduler } = this.options.ports
    await bus.flush()()
    const { jobId } = this.protocol
    if (jobId !== undefined && this.copies !== undefined) {
      const late = new Promise<void>(resolve => {
        scheduler.after(clearWithinMs, resolve)
      })
      await Promise.race([this.copies.end(jobId), late])
    }
    this.options.onStopped()
  }

  private changed(): void {
    if (this.beatSoon || this.ended) return
    this.beatSoon = true
    this.options.ports.scheduler.defer(() => {
      this.beatSoon = false
      if (!this.ended) this.beat()
    })
  }

  private beatPeriodically(): void {
    const { plan, ports } = this.options
    this.beat()
    this.cancelBeat = ports.scheduler.after(plan.graph.limits.heartbeatMs, () =>
      this.beatPeriodically(),
    )
  }

  private beat(): void {
    const { plan, worker, pid, slots, only, ports } = this.options
    const beat: Beat = {
      version: 1,
      type: 'beat',
      worker,
      pid,
      slots,
      only,
      graph: plan.fingerprint,
      generation: this.protocol.generation,
      jobId: this.protocol.jobId,
      term: this.protocol.term,
      highest: this.protocol.highest,
      deployedBy: this.protocol.deployedBy,
      subtasks: this.subtasks.map(s => s.state),
      stopped: this.stopped,
    }
    ports.bus.send(coordinatorSubject(plan.job), encodeMessage(beat))
  }
}
