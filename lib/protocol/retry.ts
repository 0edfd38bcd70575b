/**
 * Restart strategies: whether and when a failed job starts again. The meaning is Flink's, with one
 * difference: failures during the waiting time merge in every strategy, not in one only, since a
 * crash that three subtasks notice is one crash.
 *
 * Invariants
 *   R1. Every delay of exponential-delay lies in [initialMs, maxMs], jitter included.
 *   R2. Failures while a restart is awaited merge into it: same moment, no attempt counted.
 *   R3. Exponential-delay starts anew when the job ran without failure for `resetAfterMs` after its
 *       last restart.
 *   R4. No more than `attemptsMax` restarts are granted, in fixed-delay for the job's life, in
 *       exponential-delay since it last started anew.
 *   R5. Giving up is final.
 *   R6. Failure-rate restarts while no more than `maxFailures` failures lie within `perMs`, the one
 *       that it answers among them. One that is exactly `perMs` old still lies within.
 *
 * What is remembered dies with the coordinator: its successor counts from nothing.
 */
import { invariant } from '../invariant.js'

/** Growing delays: how they start, grow, vary, end and start anew. */
export interface ExponentialDelayOptions {
  readonly initialMs: number
  readonly maxMs: number
  /** Factor from one delay to the next; above 1. */
  readonly multiplier: number
  /** Largest random deviation, as a share of the delay; in [0, 1]. */
  readonly jitter: number
  /** A job that runs for so long without a failure counts as healthy again. */
  readonly resetAfterMs: number
  /** Restarts before giving up; undefined: no limit. */
  readonly attemptsMax?: number
}

/** The same delay, a limited number of times. */
export interface FixedDelayOptions {
  readonly delayMs: number
  readonly attemptsMax: number
}

/** The same delay, as long as failures are rare. */
export interface FailureRateOptions {
  readonly delayMs: number
  /** So many failures may lie within `perMs`; at least 1. */
  readonly maxFailures: number
  /** Length of the sliding window. */
  readonly perMs: number
}

/** When a failed job is restarted. */
export type RestartStrategy =
  | { readonly type: 'none' }
  | (FixedDelayOptions & { readonly type: 'fixed-delay' })
  | (FailureRateOptions & { readonly type: 'failure-rate' })
  | (ExponentialDelayOptions & { readonly type: 'exponential-delay' })

/** What a strategy remembers of a job's failures. */
export type Retry =
  | { readonly type: 'healthy'; readonly strategy: RestartStrategy }
  | {
      readonly type: 'restarted'
      readonly strategy: RestartStrategy
      /** Restarts granted that still count against the strategy's limit. */
      readonly attempts: number
      /** In failure-rate: the failures that they answered, oldest first. */
      readonly failedAt: readonly number[]
      /** When the last restart takes place. */
      readonly restartAt: number
    }
  | { readonly type: 'gave-up'; readonly strategy: RestartStrategy; readonly attempts: number }

/** A failure of the job. `random` is a number in [0, 1) from the owner's scheduler. */
export interface RetryEvent {
  readonly type: 'failed'
  readonly now: number
  readonly random: number
}

/** The answer to a failure. */
export type RetryDecision =
  | { readonly type: 'retry'; readonly delayMs: number }
  /** `attempts`: restarts that did not help. */
  | { readonly type: 'give-up'; readonly attempts: number }

/** The first failure is final. */
export const noRestart: RestartStrategy = { type: 'none' }

/** So many restarts over the job's life, each after the same delay. */
export const fixedDelay = (options: FixedDelayOptions): RestartStrategy => {
  invariant(options.delayMs >= 0 && options.attemptsMax >= 0, 'R4', JSON.stringify(options))
  return { type: 'fixed-delay', ...options }
}

/** Restarts after the same delay, unless failures come too fast. */
export const failureRate = (options: FailureRateOptions): RestartStrategy => {
  const { delayMs, maxFailures, perMs } = options
  invariant(delayMs >= 0 && maxFailures >= 1 && perMs > 0, 'R6', JSON.stringify(options))
  return { type: 'failure-rate', ...options }
}

/**
 * Restarts at growing distances, with jitter so that jobs which fell together do not rise together.
 */
export const exponentialDelay = (options: ExponentialDelayOptions): RestartStrategy => {
  const { initialMs, maxMs, multiplier, jitter, resetAfterMs } = options
  const valid = initialMs > 0 && maxMs >= initialMs && multiplier > 1 && jitter >= 0 && jitter <= 1
  invariant(valid && resetAfterMs > 0, 'R1', JSON.stringify(options))
  return { type: 'exponential-delay', ...options }
}

/** The state of a job that has not failed yet. */
export const initialRetry = (strategy: RestartStrategy): Retry => ({ type: 'healthy', strategy })

/** What a failure leads to. */
export const step = (state: Retry, event: RetryEvent): readonly [Retry, RetryDecision] => {
  if (state.type === 'gave-up') return [state, { type: 'give-up', attempts: state.attempts }]
  // Strictly before: a restart that fails in the very millisecond it takes place is a new failure,
  // or a job that fails at once would be restarted for ever without a delay.
  if (state.type === 'restarted' && event.now < state.restartAt) {
    return [state, { type: 'retry', delayMs: state.restartAt - event.now }]
  }
  const { strategy } = state
  const recent = recentFailures(state, event.now)
  const attempts = strategy.type === 'failure-rate' ? recent.length : attemptsOf(state, event.now)
  if (attempts >= attemptsMaxOf(strategy)) {
    return [
      { type: 'gave-up', strategy, attempts },
      { type: 'give-up', attempts },
    ]
  }
  const delayMs = delayOf(strategy, attempts, event.random)
  const restartAt = event.now + delayMs
  const failedAt = strategy.type === 'failure-rate' ? [...recent, event.now] : []
  return [
    { type: 'restarted', strategy, attempts: attempts + 1, failedAt, restartAt },
    { type: 'retry', delayMs },
  ]
}

type Undecided = Exclude<Retry, { type: 'gave-up' }>

/** The answered failures that lie within the window of failure-rate. */
const recentFailures = (state: Undecided, now: number): readonly number[] => {
  if (state.type === 'healthy' || state.strategy.type !== 'failure-rate') return []
  const { perMs } = state.strategy
  return state.failedAt.filter(at => now - at <= perMs)
}

const attemptsOf = (state: Undecided, now: number): number => {
  if (state.type === 'healthy') return 0
  const { strategy, restartAt } = state
  const recovered =
    strategy.type === 'exponential-delay' && now - restartAt >= strategy.resetAfterMs
  return recovered ? 0 : state.attempts
}

const attemptsMaxOf = (strategy: RestartStrategy): number => {
  switch (strategy.type) {
    case 'none':
      return 0
    case 'failure-rate':
      return strategy.maxFailures
    default:
      return strategy.attemptsMax ?? Number.POSITIVE_INFINITY
  }
}

const delayOf = (strategy: RestartStrategy, attempts: number, random: number): number => {
  if (strategy.type === 'none') return 0
  if (strategy.type !== 'exponential-delay') return strategy.delayMs
  const { initialMs, maxMs, multiplier, jitter } = strategy
  const delay = Math.min(maxMs, initialMs * multiplier ** attempts)
  const jittered = Math.round(delay + delay * jitter * (2 * random - 1))
  return Math.min(maxMs, Math.max(initialMs, jittered))
}
