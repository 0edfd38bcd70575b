/**
 * Which worker runs which subtask, and what the workers have said of theirs.
 */
import { type Assignment, type CoordinatorState, generationOf } from './coordinator-state.js'
import type { SubtaskId, WorkerId } from './ids.js'
import type { SubtaskState } from './messages.js'

/** Reserved workers first, then free slots, one subtask a round so that load spreads. */
export const assign = (state: CoordinatorState): Assignment | undefined => {
  const assignment = new Map<SubtaskId, WorkerId>()
  const usable = [...state.workers.values()].filter(w => w.fits && !w.stopped)
  for (const worker of usable) {
    for (const subtask of worker.only) {
      if (state.settings.subtasks.includes(subtask) && !assignment.has(subtask)) {
        assignment.set(subtask, worker.worker)
      }
    }
  }
  const open = state.settings.subtasks.filter(id => !assignment.has(id))
  const free = usable
    .filter(w => w.only.length === 0)
    .map(w => ({ worker: w.worker, slots: w.slots }))
  for (let round = 0; open.length > 0; round += 1) {
    const offering = free.filter(w => w.slots > round)
    if (offering.length === 0) return undefined
    for (const { worker } of offering) {
      const subtask = open.shift()
      if (subtask !== undefined) assignment.set(subtask, worker)
    }
  }
  return assignment
}

/** Subtasks that no present worker can take: what people wait for. */
export const unassignable = (state: CoordinatorState): readonly SubtaskId[] => {
  const usable = [...state.workers.values()].filter(w => w.fits)
  const reserved = new Set(usable.flatMap(w => w.only))
  const slots = usable.filter(w => w.only.length === 0).reduce((sum, w) => sum + w.slots, 0)
  return state.settings.subtasks.filter(id => !reserved.has(id)).slice(slots)
}

/** What a subtask's worker last said of it, in this generation. */
export const subtaskState = (
  state: CoordinatorState,
  assignment: Assignment,
  id: SubtaskId,
): SubtaskState | undefined => {
  const worker = state.workers.get(assignment.get(id) ?? '')
  return worker?.generation === generationOf(state) ? worker.subtasks.get(id) : undefined
}

/** Subtasks that are not restored yet. */
export const unready = (state: CoordinatorState, assignment: Assignment): readonly SubtaskId[] =>
  state.settings.subtasks.filter(id => {
    const phase = subtaskState(state, assignment, id)?.phase
    return phase !== 'ready' && phase !== 'running'
  })

/** Whether every source has read everything that it ever will. */
export const allEnded = (state: CoordinatorState, assignment: Assignment): boolean =>
  state.settings.bounded &&
  [...state.settings.sources].every(id => subtaskState(state, assignment, id)?.ended === true)
