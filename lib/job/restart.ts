/** The restart strategy of a job: what it asked for, with every default filled in. */
import {
  exponentialDelay,
  failureRate,
  fixedDelay,
  noRestart,
  type RestartStrategy,
} from '../protocol/retry.js'
import type { JobGraph } from './graph.js'
import type { RestartOptions } from './settings.js'

/** What each strategy does where nothing was said but its type. */
export const restartDefaults = {
  none: {},
  'fixed-delay': { attempts: 1, delayMs: 1_000 },
  'failure-rate': { maxFailures: 1, perMs: 60_000, delayMs: 1_000 },
  'exponential-delay': {
    initialMs: 1_000,
    maxMs: 60_000,
    multiplier: 1.5,
    jitter: 0.1,
    resetAfterMs: 3_600_000,
  },
} as const satisfies Record<RestartOptions['type'], object>

/** What follows a failure where nobody said it: without checkpoints there is nothing to go back to. */
export const defaultRestart = (isCheckpointed: boolean): RestartOptions => ({
  type: isCheckpointed ? 'exponential-delay' : 'none',
})

/** The restart strategy of a graph that `validate` has accepted. */
export const restartOf = (graph: JobGraph): RestartStrategy => {
  const said = graph.settings.restart ?? defaultRestart(graph.checkpoint !== undefined)
  switch (said.type) {
    case 'none':
      return noRestart
    case 'fixed-delay': {
      const { attempts, delayMs } = { ...restartDefaults[said.type], ...said }
      return fixedDelay({ attemptsMax: attempts, delayMs })
    }
    case 'failure-rate': {
      const { maxFailures, perMs, delayMs } = { ...restartDefaults[said.type], ...said }
      return failureRate({ maxFailures, perMs, delayMs })
    }
    case 'exponential-delay': {
      const { type, attempts, ...delays } = { ...restartDefaults[said.type], ...said }
      return exponentialDelay({
        ...delays,
        ...(attempts === undefined ? {} : { attemptsMax: attempts }),
      })
    }
  }
}
