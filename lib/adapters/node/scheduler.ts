/** Time of this process. */
import type { Scheduler } from '../../ports/scheduler.js'

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
