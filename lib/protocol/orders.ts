/**
 * The coordinator's orders: all that each worker should be, told again and again.
 */
import {
  type Assignment,
  type CoordinatorEffect,
  type CoordinatorState,
  type CoordinatorStep,
  generationOf,
  type Phase,
} from './coordinator-state.js'
import type { SubtaskId, WorkerId } from './ids.js'
import type { Manifest } from './manifest.js'
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
  const orderTo = ordersOf(after)
  const orders = [...after.workers.keys()].map(
    (worker): CoordinatorEffect => ({ type: 'send-orders', worker, orders: orderTo(worker) }),
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

/**
 * What all workers are told is made once: there may be a thousand of them. What they restore is told
 * while they deploy, and no longer: nothing is started by the order to run (W4).
 */
const ordersOf = (state: CoordinatorState): ((worker: WorkerId) => Orders) => {
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
  if (phase.type === 'stopping')
    return () => ({ ...base, completed: phase.completed, phase: 'stop' })
  if (phase.type === 'ended') return () => ({ ...base, phase: 'stop' })
  // The order to idle must not reach into the generation that is being assembled, however late it comes.
  if (phase.type === 'assembling')
    return () => ({ ...base, generation: phase.generation - 1, phase: 'idle' })
  if (phase.type !== 'deploying' && phase.type !== 'running')
    return () => ({ ...base, phase: 'idle' })
  const assigned = byWorker(phase.assignment)
  const { restore } = phase
  if (phase.type === 'deploying') {
    const partsOf = restoredBy(restore)
    return worker => {
      const subtasks = assigned.get(worker) ?? []
      return { ...base, subtasks, restore: partsOf(subtasks), phase: 'deploy' }
    }
  }
  const { pending, completed, aborted } = phase.checkpoints
  const triggers = pending.map(p => ({
    epoch: p.epoch,
    final: p.final,
    triggeredAt: p.registeredAt,
  }))
  return worker => ({
    ...base,
    subtasks: assigned.get(worker) ?? [],
    phase: 'run',
    triggers,
    completed,
    aborted,
  })
}

/** What a worker restores: the checkpoint with its own subtasks' parts, which may be in it (IP1). */
const restoredBy = (
  restore: Manifest | undefined,
): ((subtasks: readonly SubtaskId[]) => Manifest | undefined) => {
  if (restore === undefined) return () => undefined
  const parts = new Map(restore.parts.map(part => [part.subtask, part]))
  return subtasks => ({ ...restore, parts: subtasks.flatMap(id => parts.get(id) ?? []) })
}

const byWorker = (assignment: Assignment): ReadonlyMap<WorkerId, readonly SubtaskId[]> => {
  const assigned = new Map<WorkerId, SubtaskId[]>()
  for (const [subtask, worker] of assignment) {
    const own = assigned.get(worker)
    if (own === undefined) assigned.set(worker, [subtask])
    else own.push(subtask)
  }
  return assigned
}
