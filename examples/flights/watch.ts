/** What is known of the running job, and waiting until it has come far enough. */
import * as t from 'io-ts'
import type { JobEvent, JobOutcome } from 'sluice/actors'

const Begun = t.intersection([t.type({ generation: t.number }), t.partial({ restored: t.number })])
const Completed = t.type({ epoch: t.number })

interface Waiter {
  readonly what: string
  readonly condition: () => boolean
  readonly resolve: () => void
  readonly reject: (reason: Error) => void
}

/**
 * Follows a job by its events, its input and its output. Waiting rejects as soon as what is waited
 * for can no longer happen: the job has ended, or `signal` is aborted.
 */
export class Watch {
  /** Records that the input stream has. */
  fed = 0
  /** Records that the output stream has. */
  outputs = 0
  generation = 0
  running = false
  /** The checkpoint that this generation started from. Undefined: from nothing. */
  restored: number | undefined
  /** The newest completed checkpoint. 0: none. */
  completed = 0
  /** Whether this generation has completed one. */
  hasAdvanced = false
  /** The most processes that ran at the same time, and all that ever ran. */
  processesMax = 0
  readonly pids = new Set<number>()
  private readonly processes = new Map<string, number>()
  private readonly waiters = new Set<Waiter>()
  private outcome: JobOutcome | undefined

  constructor(private readonly signal: AbortSignal) {
    signal.addEventListener('abort', () => this.changed(), { once: true })
  }

  get finished(): boolean {
    return this.outcome?.type === 'ended' && this.outcome.status === 'finished'
  }

  /** Nothing more happens: the job has ended, well or not, or `signal` is aborted. */
  get isOver(): boolean {
    return this.outcome !== undefined || this.signal.aborted
  }

  hear(event: JobEvent): void {
    if (event.type === 'process-started') {
      this.processes.set(event.role, event.pid)
      this.pids.add(event.pid)
      this.processesMax = Math.max(this.processesMax, this.processes.size)
    }
    if (event.type === 'process-exited') this.processes.delete(event.role)
    if (event.type === 'note') this.hearNote(event.name, event.facts)
    this.changed()
  }

  hasFed(records: number): void {
    this.fed = records
    this.changed()
  }

  hasOutputs(records: number): void {
    this.outputs = records
    this.changed()
  }

  hasEnded(outcome: JobOutcome): void {
    this.outcome = outcome
    this.changed()
  }

  /** Resolves at once when `condition` holds; `what` says in an error what was waited for. */
  until(what: string, condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiters.add({ what, condition, resolve, reject })
      this.changed()
    })
  }

  private hearNote(name: string, facts: unknown): void {
    if (name === 'generation-begun' && Begun.is(facts)) {
      this.generation = facts.generation
      this.restored = facts.restored
      this.completed = facts.restored ?? 0
      this.hasAdvanced = false
    }
    if (name === 'generation-begun' || name === 'failed') this.running = false
    if (name === 'running') this.running = true
    if (name === 'checkpoint-completed' && Completed.is(facts)) {
      this.completed = facts.epoch
      this.hasAdvanced = true
    }
  }

  private changed(): void {
    for (const waiter of this.waiters) {
      const holds = waiter.condition()
      const obstacle = holds ? undefined : this.obstacle()
      if (!holds && obstacle === undefined) continue
      this.waiters.delete(waiter)
      if (holds) waiter.resolve()
      else waiter.reject(new Error(`${obstacle} while waiting for ${waiter.what}`))
    }
  }

  private obstacle(): string | undefined {
    if (this.signal.aborted) {
      const { reason } = this.signal
      return reason instanceof Error ? reason.message : 'stopped'
    }
    if (this.outcome === undefined) return undefined
    if (this.outcome.type === 'error') return `the job cannot run (${this.outcome.message})`
    if (this.outcome.type === 'stopped') return 'the job was stopped'
    const { status, reason } = this.outcome
    return `the job is ${status}${reason === undefined ? '' : ` (${reason})`}`
  }
}
