/**
 * A coordinator among workers, a store and a bus that do everything they may: messages are lost,
 * doubled and reordered, workers die, subtasks fail, the store refuses. Holds every step to O1–O6.
 */
import type { CoordinatorEffect } from '../../lib/protocol/coordinator.js'
import type { Manifest, PartRef } from '../../lib/protocol/manifest.js'
import type { Beat, Orders, Report, SubtaskState } from '../../lib/protocol/messages.js'
import { exponentialDelay } from '../../lib/protocol/retry.js'
import { initialWorker, stepWorker, type WorkerAction } from '../../lib/protocol/worker.js'
import type { Prng } from '../support/prng.js'
import { reportOf } from './checkpoint-fixture.js'
import { beatOf, Coordination, manifestOf, subtaskOf, wordsOf } from './coordinator-fixture.js'

const checkpoints = { intervalMs: 100, minPauseMs: 0, timeoutMs: 3_000, maxConcurrent: 1 } as const
// No end of patience: what is looked for is a job that hangs.
const restart = exponentialDelay({
  initialMs: 10,
  maxMs: 100,
  multiplier: 2,
  jitter: 0.1,
  resetAfterMs: 1_000,
})

interface Subtask {
  phase: SubtaskState['phase']
  reports: Report[]
  ended: boolean
  committed: number
  triggered: number
}

/** What one worker's process really is, told or not. */
class Worker {
  protocol = initialWorker
  subtasks = new Map<string, Subtask>()
  stopped = false
  alive = true

  constructor(
    readonly name: string,
    readonly only: string,
  ) {}

  get beat(): Beat {
    const subtasks = [...this.subtasks].map(([id, { phase, reports, ended, committed }]) =>
      subtaskOf(id, { phase, reports: [...reports], ended, committed }),
    )
    const { generation } = this.protocol
    const { stopped } = this
    return beatOf(this.name, { only: [this.only], generation, subtasks, stopped })
  }

  hear(orders: Orders): readonly WorkerAction[] {
    const [next, actions] = stepWorker(this.protocol, orders)
    this.protocol = next
    for (const action of actions) this.#perform(action)
    return actions
  }

  #perform(action: WorkerAction): void {
    const all = [...this.subtasks.values()]
    switch (action.type) {
      case 'deploy': {
        const committed = action.restore?.epoch ?? 0
        for (const id of action.subtasks) {
          const triggered = committed
          const fresh = { reports: [], ended: false, committed, triggered }
          this.subtasks.set(id, { phase: 'restoring', ...fresh })
        }
        return
      }
      case 'run':
        for (const subtask of all) if (subtask.phase === 'ready') subtask.phase = 'running'
        return
      case 'trigger':
        for (const subtask of all) subtask.triggered = action.epoch
        return
      case 'abort':
        for (const s of all) s.reports = s.reports.filter(r => r.part.epoch !== action.epoch)
        return
      case 'complete':
        for (const subtask of all) {
          subtask.reports = subtask.reports.filter(r => r.part.epoch > action.epoch)
          subtask.committed = Math.max(subtask.committed, action.epoch)
        }
        return
      case 'dispose':
        this.subtasks.clear()
        return
      case 'stop':
        this.subtasks.clear()
        this.stopped = true
    }
  }
}

type Message =
  | { readonly to: 'coordinator'; readonly beat: Beat }
  | { readonly to: string; readonly orders: Orders }

export class CoordinatorWorld {
  readonly of = new Coordination({ checkpoints, restart, stopTimeoutMs: 1_000_000 })
  readonly story: string[] = []
  readonly #workers = new Map<string, Worker>()
  /** On the bus; each may be delivered in any order, more than once, or never. */
  #messages: Message[] = []
  /** What the store was asked and has not answered. */
  #asked: CoordinatorEffect[] = []
  #born = 0
  #generation = 0
  #epoch = 0
  #latest: Manifest | undefined
  /** Every snapshot that was really taken, by subtask, generation and epoch. */
  readonly #snapshots = new Set<string>()
  #commits = 0

  constructor(readonly random: Prng) {
    for (const subtask of ['a/0', 'b/0']) this.#spawn(subtask)
    this.#coordinate({ type: 'started' })
  }

  get over(): boolean {
    return this.of.phase === 'ended'
  }

  /** How the job ended; undefined: it did not. */
  get status(): string | undefined {
    const { phase } = this.of.state
    return phase.type === 'ended' ? phase.status : undefined
  }

  /** One thing happens, by chance. */
  step(): void {
    const { random } = this
    const worker = this.#any([...this.#workers.values()])
    const dice = random.below(100)
    if (dice < 15) this.#coordinate({ type: 'tick' }, random.below(600))
    else if (dice < 30) this.#deliver()
    else if (dice < 45) this.#send({ to: 'coordinator', beat: worker.beat })
    else if (dice < 55) this.#work(worker)
    else if (dice < 70) this.#answer()
    else if (dice < 80) this.#messages.splice(random.below(this.#messages.length + 1), 1)
    else if (dice < 88) this.#messages.push(...this.#messages.slice(-1))
    else if (dice < 91) this.#fail(worker)
    else if (dice < 93) this.#kill(worker)
    else if (dice < 94) this.#refuse()
  }

  /** Whatever happened before: with a reliable bus and living workers the job ends. */
  settle(): void {
    for (let round = 0; !this.over; round += 1) {
      if (round > 1_000) this.#holds(`an end, not ${this.of.phase} for ever,`, false)
      this.#coordinate({ type: 'tick' }, 100)
      for (const worker of this.#workers.values()) {
        for (const subtask of worker.subtasks.values())
          subtask.ended ||= subtask.phase === 'running'
        this.#work(worker)
        this.#messages.push({ to: 'coordinator', beat: worker.beat })
      }
      while (this.#messages.length > 0) this.#deliver(0)
      while (this.#asked.length > 0) this.#answer()
    }
  }

  #any<A>(of: readonly A[]): A {
    const found = of[this.random.below(of.length)]
    if (found === undefined) throw new Error('nothing to choose from')
    return found
  }

  #spawn(only: string): void {
    this.#born += 1
    const name = `${only} of process ${this.#born}`
    this.#workers.set(only, new Worker(name, only))
  }

  #send(message: Message): void {
    this.#messages.push(message)
    if (this.#messages.length > 12) this.#messages.shift()
  }

  #deliver(index = this.random.below(this.#messages.length + 1)): void {
    const [message] = this.#messages.splice(index, 1)
    if (message === undefined) return
    if ('beat' in message) {
      this.#coordinate({ type: 'beat', beat: message.beat })
      return
    }
    const worker = [...this.#workers.values()].find(({ name }) => name === message.to)
    if (worker === undefined) return
    const actions = worker.hear(message.orders)
    this.#holds('O4', !worker.stopped || actions.every(({ type }) => type !== 'deploy'))
    if (actions.length > 0) this.#send({ to: 'coordinator', beat: worker.beat })
  }

  /** A subtask restores, takes the snapshot that it was triggered to take, or comes to its end. */
  #work({ protocol, subtasks }: Worker): void {
    for (const [id, subtask] of subtasks) {
      if (subtask.phase === 'restoring') subtask.phase = 'ready'
      else if (subtask.phase === 'running') {
        if (id === 'a/0' && this.random.chance(0.02)) subtask.ended = true
        const epoch = subtask.triggered
        const known = subtask.reports.some(({ part }) => part.epoch === epoch)
        if (epoch <= subtask.committed || known) continue
        subtask.reports.push(reportOf(id, epoch, protocol.generation))
        this.#snapshots.add(`${id} ${protocol.generation} ${epoch}`)
      }
    }
  }

  #fail({ subtasks }: Worker): void {
    for (const subtask of subtasks.values()) subtask.phase = 'failed'
  }

  #kill(worker: Worker): void {
    worker.alive = false
    const { name, only } = worker
    this.#spawn(only)
    if (this.random.chance(0.7))
      this.#coordinate({ type: 'worker-exited', worker: name, reason: 'killed' })
  }

  /** The store does what it was asked, or has done it and its answer comes late. */
  #answer(): void {
    const effect = this.#asked.shift()
    if (effect === undefined) return
    switch (effect.type) {
      case 'begin-generation':
        this.#generation += 1
        this.#coordinate({
          type: 'generation-begun',
          generation: this.#generation,
          restore: this.#latest,
        })
        return
      case 'prepare-mailboxes':
        this.#coordinate({ type: 'mailboxes-ready', generation: effect.generation })
        return
      case 'allocate-epoch':
        this.#epoch += 1
        this.#coordinate({
          type: 'epoch-allocated',
          generation: effect.generation,
          epoch: this.#epoch,
        })
        return
      case 'commit':
        this.#commit(
          effect.generation,
          effect.checkpoint.epoch,
          effect.checkpoint.final,
          effect.parts,
        )
        return
      case 'end-job':
        this.#coordinate({ type: 'job-ended' })
    }
  }

  #commit(generation: number, epoch: number, final: boolean, parts: readonly PartRef[]): void {
    if (generation !== this.#generation) {
      const facts = 'fenced'
      this.#coordinate({ type: 'commit-refused', generation, epoch, reason: 'failed', facts })
      return
    }
    this.#holds('ids rise', epoch > (this.#latest?.epoch ?? 0))
    this.#latest = manifestOf(epoch, { generation, parts, final })
    this.#coordinate({ type: 'committed', generation, epoch })
  }

  #refuse(): void {
    const effect = this.#asked.shift()
    if (effect?.type === 'commit') {
      const { generation, checkpoint } = effect
      const { epoch } = checkpoint
      const reason = 'parts-missing'
      this.#coordinate({ type: 'commit-refused', generation, epoch, reason, facts: 'b/0' })
    } else if (effect !== undefined) this.#asked.unshift(effect)
  }

  #coordinate(event: Parameters<Coordination['step']>[0], afterMs = 1): void {
    const { of } = this
    const before = of.state
    of.step(event, of.now + afterMs)
    const shown = of.effects.filter(effect => effect.type !== 'send-orders')
    if (shown.length > 0) this.story.push(`${event.type}: ${shown.map(wordsOf).join(', ')}`)
    if (before.phase.type === 'ended') this.#holds('O6', of.effects.length === 0)
    for (const effect of of.effects) this.#check(effect)
  }

  #check(effect: CoordinatorEffect): void {
    switch (effect.type) {
      case 'send-orders': {
        const { orders, worker } = effect
        this.#holds('O1', orders.generation <= this.#generation)
        // Only what is alive can be ready; what the coordinator believes may be a little old.
        if (orders.phase === 'run')
          this.#holds('O2', orders.generation === this.#generation && !this.#isRestoring(orders))
        this.#send({ to: worker, orders })
        return
      }
      case 'commit': {
        const { checkpoint, generation, parts } = effect
        this.#holds('ids rise', checkpoint.epoch > this.#commits)
        this.#commits = checkpoint.epoch
        for (const id of ['a/0', 'b/0']) {
          const [part, ...rest] = parts.filter(({ subtask }) => subtask === id)
          const taken = this.#snapshots.has(`${id} ${generation} ${checkpoint.epoch}`)
          this.#holds('O1', rest.length === 0 && part?.generation === generation && taken)
        }
        this.#asked.push(effect)
        return
      }
      case 'end-job': {
        const living = [...this.#workers.values()].filter(({ alive }) => alive)
        const holding = living.filter(({ subtasks }) => subtasks.size > 0)
        this.#holds(
          'O4',
          holding.every(({ name }) => !this.of.state.workers.has(name)),
        )
        if (effect.status === 'finished') this.#holds('O5', this.#latest?.final === true)
        this.#asked.push(effect)
        return
      }
      case 'begin-generation':
      case 'prepare-mailboxes':
      case 'allocate-epoch':
        this.#asked.push(effect)
    }
  }

  /** Whether a subtask of the generation that shall run has not been restored. */
  #isRestoring({ generation }: Orders): boolean {
    return [...this.#workers.values()].some(
      ({ protocol, subtasks }) =>
        protocol.generation === generation &&
        [...subtasks.values()].some(({ phase }) => phase === 'restoring'),
    )
  }

  #holds(rule: string, condition: boolean): void {
    if (!condition)
      throw new Error(`${rule} does not hold; so far: ${this.story.slice(-12).join(' | ')}`)
  }
}
