/**
 * Checkpoints that people ask for: what each of them is told.
 *
 * Asking and answering may get lost: the one who asks repeats the request under the same name until
 * the answer says how it ended, and gets the answer of the day each time. Nothing of it is stored: with
 * the coordinator the request is gone, and asking again asks anew.
 *
 * Invariants
 *   Q1. A request that was taken ends in one outcome, which is repeated as long as it is remembered.
 *   Q2. A request is refused, with a reason, unless the job runs and takes checkpoints.
 */
import { requestsOf } from './checkpoint.js'
import type {
  CoordinatorEffect,
  CoordinatorEvent,
  CoordinatorState,
  CoordinatorStep,
  Note,
} from './coordinator-state.js'
import type { Epoch } from './ids.js'
import type { RequestOutcome } from './messages.js'

/** Outcomes that are remembered, the newest ones. */
const answeredMax = 32

/** Why a request is not taken now, if it is not (Q2). */
export const refusalOf = ({ phase, settings }: CoordinatorState): string | undefined => {
  if (settings.checkpoints.intervalMs === undefined)
    return 'the job takes no checkpoints: its sinks publish at once, so that going back to a checkpoint would publish again what followed it. Give it .checkpoint({ intervalMs })'
  if (phase.type !== 'running') return `the job is not running now: it is ${phase.type}`
  return phase.checkpoints.finalCompleted === undefined
    ? undefined
    : `the job has taken its last checkpoint, ${phase.checkpoints.finalCompleted}, and is about to finish`
}

/** The answer of the day. */
export const answerTo = (state: CoordinatorState, request: string): CoordinatorEffect => ({
  type: 'answer',
  request,
  outcome: state.answered.get(request) ?? openOutcome(state, request),
})

const openOutcome = (state: CoordinatorState, request: string): RequestOutcome => {
  const epoch = openRequests(state).get(request)
  return epoch === undefined ? { type: 'queued' } : { type: 'pending', epoch }
}

const openRequests = ({ phase }: CoordinatorState): ReadonlyMap<string, Epoch | undefined> =>
  phase.type === 'running' ? requestsOf(phase.checkpoints) : new Map()

/** Remembers and tells how those requests ended that a step has settled (Q1). */
export const withAnswers = (
  before: CoordinatorState,
  [after, effects]: CoordinatorStep,
  event: CoordinatorEvent,
): CoordinatorStep => {
  const left = openRequests(after)
  // A fenced coordinator is silent: its successor is the one to ask.
  if (after.phase.type === 'fenced') return [after, effects]
  const settled = [...openRequests(before)].filter(([request]) => !left.has(request))
  if (settled.length === 0) return [after, effects]
  const answered = new Map(after.answered)
  const notes = effects.flatMap(effect => (effect.type === 'note' ? [effect.note] : []))
  for (const [request, epoch] of settled)
    answered.set(request, outcomeOf(epoch, notes, after, event))
  const next = { ...after, answered: new Map([...answered].slice(-answeredMax)) }
  return [next, [...effects, ...settled.map(([request]) => answerTo(next, request))]]
}

const outcomeOf = (
  epoch: Epoch | undefined,
  notes: readonly Note[],
  after: CoordinatorState,
  event: CoordinatorEvent,
): RequestOutcome => {
  for (const note of notes) {
    // One that a newer checkpoint has superseded is in that, and more.
    if (note.type === 'checkpoint-completed' && epoch !== undefined && note.epoch >= epoch)
      return {
        type: 'completed',
        epoch: note.epoch,
        durationMs: note.durationMs,
        bytes: note.bytes,
      }
    if (note.type === 'checkpoint-aborted' && note.epoch === epoch)
      return { type: 'aborted', epoch, reason: `${note.reason}: ${note.facts}` }
  }
  if (event.type === 'allocation-failed')
    return { type: 'aborted', epoch, reason: event.error.message }
  return { type: 'aborted', epoch, reason: endOf(after) }
}

const endOf = ({ phase }: CoordinatorState): string => {
  const why = 'reason' in phase ? phase.reason : undefined
  if (phase.type === 'stopping') return why ?? `the job is ${phase.status}`
  return why === undefined ? 'its generation ended' : `its generation ended: ${why}`
}
