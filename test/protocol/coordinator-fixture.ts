/** A coordinator of the subtasks `a/0` (a source, on worker `w1`) and `b/0` (on `w2`), in words. */
import {
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorSettings,
  type CoordinatorState,
  initialCoordinator,
  type Note,
  stepCoordinator,
} from '../../lib/protocol/coordinator.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import type { Beat, Orders, RequestOutcome, SubtaskState } from '../../lib/protocol/messages.js'
import { fixedDelay } from '../../lib/protocol/retry.js'
import { reportOf } from './checkpoint-fixture.js'

export const settings: CoordinatorSettings = {
  term: 1,
  jobId: 'id',
  graph: 'g',
  subtasks: ['a/0', 'b/0'],
  maxParallelism: 128,
  sources: new Set(['a/0']),
  bounded: true,
  checkpoints: { intervalMs: 1_000, minPauseMs: 0, timeoutMs: 5_000, maxConcurrent: 1 },
  tolerableFailures: undefined,
  localRecovery: false,
  restart: fixedDelay({ delayMs: 1_000, attemptsMax: 2 }),
  heartbeatTimeoutMs: 3_000,
  stallTimeoutMs: 60_000,
  deployTimeoutMs: 10_000,
  stopTimeoutMs: 4_000,
  ordersEveryMs: 500,
}

export const manifestOf = (epoch: number, more: Partial<Manifest> = {}): Manifest => ({
  version: 1,
  job: 'job',
  jobId: 'id',
  epoch,
  generation: 1,
  maxParallelism: 128,
  graph: 'g',
  triggeredAt: 0,
  completedAt: 0,
  parts: ['a/0', 'b/0'].map(subtask => reportOf(subtask, epoch, 1).part),
  final: false,
  ...more,
})

export const subtaskOf = (subtask: string, more: Partial<SubtaskState> = {}): SubtaskState => ({
  subtask,
  phase: 'running',
  reports: [],
  declines: [],
  ended: false,
  committed: 0,
  error: undefined,
  records: 0,
  skipped: 0,
  restoredFrom: undefined,
  ...more,
})

/** A worker with slots for anything, or reserved for one subtask. */
export const beatOf = (worker: string, more: Partial<Beat> = {}): Beat => ({
  version: 1,
  type: 'beat',
  worker,
  pid: 1,
  slots: 1,
  only: worker === 'w1' ? ['a/0'] : worker === 'w2' ? ['b/0'] : [],
  graph: 'g',
  generation: 0,
  jobId: undefined,
  term: 0,
  highest: 0,
  deployedBy: 0,
  subtasks: [],
  stopped: false,
  ...more,
})

type Unstamped = CoordinatorEvent extends infer Event
  ? Event extends CoordinatorEvent
    ? Omit<Event, 'now' | 'random'>
    : never
  : never

export class Coordination {
  state: CoordinatorState
  effects: readonly CoordinatorEffect[] = []
  now = 0

  constructor(more: Partial<CoordinatorSettings> = {}) {
    this.state = initialCoordinator({ ...settings, ...more })
  }

  /** Steps, and says in words what it causes. */
  step(event: Unstamped, now = this.now): readonly string[] {
    this.now = now
    const stamped = { ...event, now, random: 0.5 } as CoordinatorEvent
    const [state, effects] = stepCoordinator(this.state, stamped)
    this.state = state
    this.effects = effects
    return this.told
  }

  /** The last step's effects, in words. */
  get told(): readonly string[] {
    return this.effects.map(wordsOf)
  }

  tick(now: number): readonly string[] {
    return this.step({ type: 'tick' }, now)
  }

  beat(worker: string, more: Partial<Beat> = {}, now = this.now): readonly string[] {
    return this.step({ type: 'beat', beat: beatOf(worker, more) }, now)
  }

  /** The worker of a subtask tells its state in a generation. */
  tells(subtask: 'a/0' | 'b/0', generation: number, more: Partial<SubtaskState> = {}) {
    const worker = subtask === 'a/0' ? 'w1' : 'w2'
    return this.beat(worker, { generation, subtasks: [subtaskOf(subtask, more)] })
  }

  reports(subtask: 'a/0' | 'b/0', generation: number, epoch: number, more = {}) {
    return this.tells(subtask, generation, {
      reports: [reportOf(subtask, epoch, generation)],
      ...more,
    })
  }

  /** Brings a generation to where it runs. */
  runs(generation: number, restore?: Manifest): this {
    if (generation === 1) this.step({ type: 'started' })
    this.step({ type: 'generation-begun', generation, restore })
    this.step({ type: 'mailboxes-ready', generation })
    this.beat('w1')
    this.beat('w2')
    this.tells('a/0', generation, { phase: 'ready' })
    this.tells('b/0', generation, { phase: 'ready' })
    return this
  }

  /** The orders of the last step, by worker. */
  get orders(): Readonly<Record<string, Orders>> {
    const sent = this.effects.flatMap(e => (e.type === 'send-orders' ? [[e.worker, e.orders]] : []))
    return Object.fromEntries(sent)
  }

  get phase(): string {
    return this.state.phase.type
  }
}

/** A coordinator whose generation 1 runs. */
export const running = (more: Partial<CoordinatorSettings> = {}): Coordination =>
  new Coordination(more).runs(1)

/** Triggers the next checkpoint, with the id that the store gave. */
export const triggered = (of: Coordination, epoch: number, generation = 1): Coordination => {
  of.tick(of.now + 1)
  of.step({ type: 'epoch-allocated', generation, epoch })
  return of
}

export const wordsOf = (effect: CoordinatorEffect): string => {
  switch (effect.type) {
    case 'begin-generation':
      return 'begin generation'
    case 'prepare-mailboxes':
      return `make mailboxes ${effect.generation}`
    case 'send-orders':
      return `${effect.worker} shall ${ordersWords(effect.orders)}`
    case 'allocate-epoch':
      return 'allocate'
    case 'commit':
      return `commit ${effect.checkpoint.epoch}`
    case 'record-aborted':
      return `record aborted ${effect.aborted.epoch}`
    case 'set-status':
      return `status ${effect.status}`
    case 'end-job':
      return `end as ${effect.status}`
    case 'answer':
      return `answer ${effect.request} ${outcomeWords(effect.outcome)}`
    case 'note':
      return `(${noteWords(effect.note)})`
  }
}

const outcomeWords = (outcome: RequestOutcome): string => {
  switch (outcome.type) {
    case 'queued':
      return 'queued'
    case 'pending':
    case 'completed':
      return `${outcome.type} ${outcome.epoch}`
    case 'aborted':
      return `aborted ${outcome.epoch ?? 'before it began'}: ${outcome.reason}`
    case 'refused':
      return `refused: ${outcome.reason}`
  }
}

const ordersWords = (orders: Orders): string => {
  const { phase, generation, triggers, completed, aborted } = orders
  const words = [phase === 'stop' ? 'stop' : `${phase} ${generation}`]
  for (const { epoch, final } of triggers) words.push(`trigger ${epoch}${final ? ' final' : ''}`)
  if (completed > 0) words.push(`completed ${completed}`)
  if (aborted.length > 0) words.push(`aborted ${aborted.join(' ')}`)
  return words.join(' ')
}

const noteWords = (note: Note): string => {
  switch (note.type) {
    case 'generation-begun':
      return note.restored === undefined ? 'from nothing' : `from checkpoint ${note.restored}`
    case 'running':
      return `generation ${note.generation} runs`
    case 'worker-joined':
      return `${note.worker} joined${note.fits ? '' : ' and does not fit'}`
    case 'worker-lost':
      return `${note.worker} lost: ${note.reason}`
    case 'failed':
      return `generation ${note.generation} failed: ${note.reason}`
    case 'checkpoint-completed':
      return `checkpoint ${note.epoch} completed`
    case 'checkpoint-aborted':
      return `checkpoint ${note.epoch} aborted: ${note.reason}`
    case 'store-trouble':
      return `trouble ${note.doing}`
  }
}
