/**
 * What a simulated process must not touch: real timers, the real clock, real chance. Each use is
 * written down, and breaks I14.
 */
const uses: string[] = []

const noted = <A extends readonly unknown[], R>(
  name: string,
  real: (...given: A) => R,
): ((...given: A) => R) => {
  return (...given) => {
    uses.push(name)
    return real(...given)
  }
}

/** Watches this process from here on. Only for processes that do nothing else. */
export const forbidRealTime = (): void => {
  const { setTimeout, setInterval } = globalThis
  globalThis.setTimeout = Object.assign(noted('setTimeout', setTimeout), setTimeout)
  globalThis.setInterval = Object.assign(noted('setInterval', setInterval), setInterval)
  Date.now = noted('Date.now', Date.now)
  Math.random = noted('Math.random', Math.random)
}

/** What was used since the last call; a timer that is still open counts. */
export const takeUses = (): readonly string[] => {
  const open = process.getActiveResourcesInfo().filter(name => name === 'Timeout')
  return [...uses.splice(0), ...open.map(() => 'an open timer')]
}
