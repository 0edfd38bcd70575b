/**
 * The longest time in which a process handles no record although it works: told by its processor time,
 * since on a busy machine the clock alone would show who else runs.
 */
import { appendFileSync } from 'node:fs'

/** Looks at the clocks once for so many records. */
const everyRecords = 64
const windowMs = 1_000

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** To be called with each record; appends the longest pause of each second, in ms, to a file. */
export const pauseWatch = (file: string, from: number): (() => void) => {
  let seen = 0
  let cpu = 0
  let wall = 0
  let worst = 0
  let since = 0
  return () => {
    seen += 1
    if (seen % everyRecords !== 0 || seen < from) return
    const now = performance.now()
    const used = cpuMs()
    if (wall > 0) worst = Math.max(worst, Math.min(now - wall, used - cpu))
    else since = now
    if (now - since >= windowMs) {
      appendFileSync(file, `${worst}\n`)
      worst = 0
      since = now
    }
    wall = now
    cpu = used
  }
}
