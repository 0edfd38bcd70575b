/**
 * How many checkpoints in a row came to nothing, and when that is too many. Counted for the job, not
 * for a generation: a restart for another reason mends no store.
 *
 * Invariants
 *   CF1. An attempt counts once, and only above the last one that completed.
 *   CF2. What completes begins the count anew, and so does a generation that ends by it.
 *   CF3. What tells of no trouble is not counted: an attempt that a newer one superseded, and one
 *        that ended with its generation.
 */
import type { AbortReason } from './checkpoint.js'
import type { Epoch } from './ids.js'

/** Checkpoints that came to nothing, since the last one that completed. */
export interface CheckpointFailures {
  /** So many in a row are put up with; undefined: any number. */
  readonly tolerable: number | undefined
  readonly count: number
  /** Attempts that were counted; one that got no id is not among them. */
  readonly counted: ReadonlySet<Epoch>
  readonly completed: Epoch
}

/** How a checkpoint ended. */
export type CheckpointOutcome =
  | { readonly type: 'completed'; readonly epoch: Epoch }
  | {
      readonly type: 'aborted'
      readonly epoch: Epoch
      readonly reason: AbortReason
      readonly facts: string
    }
  /** It did not even get an id. */
  | { readonly type: 'not-begun'; readonly facts: string }

/** The count of a job that has just been claimed. */
export const initialFailures = (tolerable: number | undefined): CheckpointFailures => ({
  tolerable,
  count: 0,
  counted: new Set(),
  completed: 0,
})

/** Counts one outcome. Gives, beside the new count, why the generation ends of it, if it does. */
export const countOutcome = (
  state: CheckpointFailures,
  outcome: CheckpointOutcome,
): readonly [CheckpointFailures, string | undefined] => {
  const { tolerable } = state
  if (outcome.type === 'completed')
    return [{ ...state, ...anew, completed: Math.max(state.completed, outcome.epoch) }, undefined]
  if (tolerable === undefined || !isCounted(state, outcome)) return [state, undefined]
  const count = state.count + 1
  if (count > tolerable) return [{ ...state, ...anew }, tooMany(outcome, count, tolerable)] // CF2
  const { counted } = state
  const ids = outcome.type === 'aborted' ? new Set(counted).add(outcome.epoch) : counted
  return [{ ...state, count, counted: ids }, undefined]
}

const anew = { count: 0, counted: new Set<Epoch>() } as const

type Failure = Exclude<CheckpointOutcome, { type: 'completed' }>

const isCounted = (state: CheckpointFailures, outcome: Failure): boolean =>
  outcome.type === 'not-begun' ||
  (outcome.reason !== 'superseded' && // CF3
    outcome.epoch > state.completed && // CF1
    !state.counted.has(outcome.epoch)) // CF1

const tooMany = (failure: Failure, count: number, tolerable: number): string => {
  const what =
    failure.type === 'aborted'
      ? `checkpoint ${failure.epoch} was aborted (${failure.reason}): ${failure.facts}`
      : `no checkpoint could be begun: ${failure.facts}`
  return tolerable === 0 ? what : `${what}; ${count} in a row, and ${tolerable} are tolerated`
}
