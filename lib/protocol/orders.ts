/**
 * The coordinator's orders: all that each worker should be, told again and again.
 */
import {
  type CoordinatorEffect,
  type CoordinatorState,
  type CoordinatorStep,
  generationOf,
  type Phase,
  type WorkerState,
} from './coordinator-state.js'
import type { Orders } from './messages.js'

/** Sends orders when they are due, and at once when the phase or the checkpoints changed. */
export const withOrders = (
  before: CoordinatorState,
  after: CoordinatorState,
  effects: readonly CoordinatorEffect[],
  now: number,
): CoordinatorStep => {
  if (after.phase.type === 'fenced') return [after, effects]
  if (!ordersDiffer(before.phase, after.phase) && now < after.ordersDueAt) return [after, effects]
  const orders = [...after.workers.values()].map(
    (w): CoordinatorEffect => ({
      type: 'send-orders',
      worker: w.worker,
      orders: ordersFor(after, w),
    }),
  )
  return [{ ...after, ordersDueAt: now + after.settings.ordersEveryMs }, [...effects, ...orders]]
}

const ordersDiffer = (before: Phase, after: Phase): boolean => {
  if (before.type !== after.type) return true
  if (before.type !== 'running' || after.type !== 'running') return false
  return (
    before.checkpoints.completed !== after.checkpoints.completed ||
    before.checkpoints.highest !== after.checkpoints.highest ||
    before.checkpoints.aborted !== after.checkpoints.aborted
  )
}

const ordersFor = (state: CoordinatorState, worker: WorkerState): Orders => {
  const { phase, settings } = state
  const base = {
    version: 1,
    type: 'orders',
    term: settings.term,
    jobId: settings.jobId,
    generation: generationOf(state),
    subtasks: [],
    restore: undefined,
    triggers: [],
    completed: 0,
    aborted: [],
  } as const
  if (phase.type === 'stopping') return { ...base, completed: phase.completed, phase: 'stop' }
  if (phase.type === 'ended') return { ...base, phase: 'stop' }
  // The order to idle must not reach into the generation that is being assembled, however late it comes.
  if (phase.type === 'assembling')
    return { ...base, generation: phase.generation - 1, phase: 'idle' }
  if (phase.type !== 'deploying' && phase.type !== 'running') return { ...base, phase: 'idle' }
  const subtasks = [...phase.assignment].filter(([, id]) => id === worker.worker).map(([id]) => id)
  const deploy = { ...base, subtasks, restore: phase.restore }
  if (phase.type === 'deploying') return { ...deploy, phase: 'deploy' }
  return {
    ...deploy,
    phase: 'run',
    triggers: phase.checkpoints.pending.map(p => ({
      epoch: p.epoch,
      final: p.final,
      triggeredAt: p.registeredAt,
    })),
    completed: phase.checkpoints.completed,
    aborted: phase.checkpoints.aborted,
  }
}
