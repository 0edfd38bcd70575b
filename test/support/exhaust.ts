/**
 * Runs a test body once for every sequence of choices that it can make, and returns the number of
 * runs. The body must be deterministic apart from `choose(n)`, which answers a number in [0, n).
 * A failing run throws the sequence of choices that led to it, with the failure as its cause.
 */
export const exhaust = (run: (choose: (n: number) => number) => void): number => {
  // One entry per choice of the current run. Advancing it is counting up, last digit first.
  const path: { choice: number; readonly options: number }[] = []
  for (let runs = 1; ; runs += 1) {
    let depth = 0
    const choose = (n: number): number => {
      const step = path[depth] ?? { choice: 0, options: n }
      if (n < 1 || step.options !== n) throw new RangeError(`${n} options, not ${step.options}`)
      path[depth] = step
      depth += 1
      return step.choice
    }
    try {
      run(choose)
    } catch (cause) {
      const choices = path.slice(0, depth).map(step => step.choice)
      throw new Error(`run ${runs} failed after the choices ${choices.join(' ')}`, { cause })
    }
    path.length = depth
    let last = path.at(-1)
    while (last !== undefined && last.choice + 1 === last.options) {
      path.pop()
      last = path.at(-1)
    }
    if (last === undefined) return runs
    last.choice += 1
  }
}
