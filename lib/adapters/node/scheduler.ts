/** Time of this process. */
import type { Scheduler } from '../../ports/scheduler.js'

/** The scheduler of a real process. */
export const nodeScheduler: Scheduler = {
  now: () => performance.now(),
  wallClock: () => Date.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
  defer: callback => {
    setImmediate(callback)
  },
  random: () => Math.random(),
}
