/**
 * What a coordinator remembers of its store, and how it notices that the store does not: O7 of
 * coordinator.ts.
 */
import type { CoordinatorState } from './coordinator-state.js'
import type { Epoch, Generation } from './ids.js'
import type { Beat } from './messages.js'

/** What a job says that stops because of it. */
export const wentBack = (fact: string): string =>
  `the store ${fact}: it has gone back to an older state. Restore it; or start the job again, to go on from what it has: where that is not what was published, the job stops once more.`

/** Remembers a checkpoint that has completed. */
export const withCompleted = (state: CoordinatorState, epoch: Epoch): CoordinatorState =>
  epoch <= state.completed ? state : { ...state, completed: epoch }

/** Whether a number was handed out before. */
export const isGivenAgain = (
  { phase }: CoordinatorState,
  generation: Generation,
  epoch: Epoch,
): boolean =>
  phase.type === 'running' && phase.generation === generation && epoch <= phase.checkpoints.highest

/** What a beat tells. Before the first generation is known nothing can be compared; the next beat is. */
export const aheadOf = (
  state: CoordinatorState,
  beat: Beat,
  now: number,
): CoordinatorState['ahead'] => {
  const { settings, phase, ahead } = state
  if (ahead !== undefined || !('generation' in phase) || beat.jobId !== settings.jobId) return ahead
  const { highest, deployedBy } = beat
  const isAnother = highest === phase.generation && deployedBy !== settings.term
  if (beat.term <= settings.term && highest <= phase.generation && !isAnother) return undefined
  const what = `term ${beat.term}, generation ${highest}, which worker ${beat.worker} has heard of`
  return { what, since: now }
}

/** A mailbox was found of a generation that is only now begun, or of a later one. */
export const withMailboxAhead = (
  state: CoordinatorState,
  stream: string,
  now: number,
): CoordinatorState => {
  const ahead = { what: `the generation of mailbox ${stream}`, since: now }
  return { ...state, ahead: state.ahead ?? ahead }
}
