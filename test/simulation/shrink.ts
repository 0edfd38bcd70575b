/** Makes a failing seed small: fewer faults, as long as a promise is still broken. */
import { drawFaults, type Fault } from './faults.js'
import { runSeed } from './seed.js'

/** A seed and the least of its faults with which it fails. */
export interface Small {
  readonly seed: number
  readonly faults: readonly Fault[]
}

const breaksPromise = async (seed: number, faults: readonly Fault[]): Promise<boolean> =>
  (await runSeed({ seed, faults }, new Map())).violations.length > 0

/** The least faults with which a seed still breaks a promise. */
export const shrunk = async (seed: number): Promise<Small> => {
  const faults = await leastOf(drawFaults(seed), fewer => breaksPromise(seed, fewer))
  return { seed, faults }
}

/** Takes faults away, first many at once, then one by one (delta debugging). */
export const leastOf = async (
  all: readonly Fault[],
  fails: (faults: readonly Fault[]) => Promise<boolean>,
): Promise<readonly Fault[]> => {
  let faults = all
  for (let size = Math.ceil(faults.length / 2); size >= 1; ) {
    let isSmaller = false
    for (let at = 0; at < faults.length; ) {
      const fewer = [...faults.slice(0, at), ...faults.slice(at + size)]
      if (await fails(fewer)) {
        faults = fewer
        isSmaller = true
      } else at += size
    }
    if (size === 1 && !isSmaller) break
    size = isSmaller ? Math.min(size, Math.max(1, faults.length)) : Math.floor(size / 2)
    if (faults.length === 0) break
  }
  return faults
}
