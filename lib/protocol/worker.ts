/**
 * What a worker does about the orders that it hears.
 *
 * Invariants
 *   W1. Orders of a lower term, or of a lower generation within a term, are ignored.
 *   W2. Subtasks of one generation are let go of before those of the next are started.
 *   W3. A trigger is handed on once, in rising order of epochs (P3); completions only rise (P6).
 *   W4. Subtasks are started by the order to deploy only. Orders to run a generation that was never
 *       deployed here are meant for a process that died under the same name: what it had done
 *       since the checkpoint is gone, and the rest of its generation has gone on without it.
 *   W5. A generation that was let go of never comes back; late orders neither revive nor end it.
 *   W6. Orders with another job id come from a job that was started from nothing: terms and
 *       generations count anew, or a worker of the job that was given up would never obey.
 */
import type { Epoch, Generation, SubtaskId, Term } from './ids.js'
import type { Manifest } from './manifest.js'
import type { Orders } from './messages.js'

/** What a worker remembers of the orders it has heard. */
export interface WorkerProtocol {
  /** Of the last orders that were followed; undefined: none yet. */
  readonly jobId: string | undefined
  readonly term: Term
  /** 0: nothing is deployed. */
  readonly generation: Generation
  /** Highest generation ever deployed here. */
  readonly highest: Generation
  /** The term in which it was. */
  readonly deployedBy: Term
  readonly running: boolean
  readonly triggered: Epoch
  readonly completed: Epoch
  readonly aborted: ReadonlySet<Epoch>
  readonly stopping: boolean
}

/** What orders make a worker do. */
export type WorkerAction =
  | { readonly type: 'dispose' }
  | {
      readonly type: 'deploy'
      readonly generation: Generation
      readonly jobId: string
      readonly subtasks: readonly SubtaskId[]
      readonly restore: Manifest | undefined
    }
  | { readonly type: 'run' }
  | {
      readonly type: 'trigger'
      readonly epoch: Epoch
      readonly final: boolean
      readonly triggeredAt: number
    }
  | { readonly type: 'abort'; readonly epoch: Epoch }
  | { readonly type: 'complete'; readonly epoch: Epoch }
  | { readonly type: 'stop' }

/** A worker that has heard nothing yet. */
export const initialWorker: WorkerProtocol = {
  jobId: undefined,
  term: 0,
  generation: 0,
  highest: 0,
  deployedBy: 0,
  running: false,
  triggered: 0,
  completed: 0,
  aborted: new Set(),
  stopping: false,
}

/** What one message of orders means. Actions are to be done in order. */
export const stepWorker = (
  state: WorkerProtocol,
  orders: Orders,
): readonly [WorkerProtocol, readonly WorkerAction[]] => {
  if (state.stopping) return [state, []]
  if (state.jobId !== undefined && state.jobId !== orders.jobId) {
    const [next, actions] = stepWorker(initialWorker, orders) // W6
    return [next, state.generation === 0 ? actions : [{ type: 'dispose' }, ...actions]]
  }
  return obey({ ...state, jobId: orders.jobId }, orders)
}

const obey = (
  state: WorkerProtocol,
  orders: Orders,
): readonly [WorkerProtocol, readonly WorkerAction[]] => {
  if (orders.term < state.term) return [state, []] // W1
  const current = { ...state, term: orders.term }
  switch (orders.phase) {
    case 'stop': {
      const { completed, generation } = orders
      // The last completion may have been lost on the way; what it covers is to be published first.
      const news =
        current.running && generation === current.generation && completed > current.completed
      const actions: readonly WorkerAction[] = news ? [{ type: 'complete', epoch: completed }] : []
      return [{ ...current, stopping: true, running: false }, [...actions, { type: 'stop' }]]
    }
    case 'idle':
      return orders.generation >= current.generation ? letGo(current) : [current, []] // W5
    case 'deploy':
    case 'run':
      return follow(current, orders)
  }
}

/** What is deployed belongs to a generation that is over. */
const letGo = (state: WorkerProtocol): readonly [WorkerProtocol, readonly WorkerAction[]] =>
  state.generation === 0
    ? [state, []]
    : [{ ...state, generation: 0, running: false }, [{ type: 'dispose' }]]

const follow = (
  state: WorkerProtocol,
  orders: Orders,
): readonly [WorkerProtocol, readonly WorkerAction[]] => {
  const actions: WorkerAction[] = []
  let current = state
  if (orders.generation !== state.generation) {
    if (orders.generation <= state.highest) return [state, []] // W1, W5
    if (orders.phase === 'run') return letGo(state) // W4
    if (state.generation !== 0) actions.push({ type: 'dispose' }) // W2
    const { generation, jobId, subtasks, restore } = orders
    actions.push({ type: 'deploy', generation, jobId, subtasks, restore })
    const restored = restore?.epoch ?? 0
    current = {
      ...state,
      generation,
      highest: generation,
      deployedBy: orders.term,
      running: false,
      triggered: restored,
      completed: restored,
      aborted: new Set(),
    }
  }
  if (orders.phase !== 'run') return [current, actions]
  if (!current.running) {
    current = { ...current, running: true }
    actions.push({ type: 'run' })
  }
  for (const epoch of orders.aborted) {
    if (!current.aborted.has(epoch)) actions.push({ type: 'abort', epoch })
  }
  for (const trigger of orders.triggers) {
    if (trigger.epoch <= current.triggered || state.aborted.has(trigger.epoch)) continue // W3
    actions.push({ type: 'trigger', ...trigger })
    current = { ...current, triggered: trigger.epoch }
  }
  if (orders.completed > current.completed) {
    actions.push({ type: 'complete', epoch: orders.completed })
    current = { ...current, completed: orders.completed }
  }
  return [{ ...current, aborted: new Set(orders.aborted) }, actions]
}
