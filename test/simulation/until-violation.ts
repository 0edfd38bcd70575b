/** How many seeds it takes until a promise is broken: what a planted bug is measured by. */
import * as t from 'io-ts'
import { runAll } from './processes.js'

/** The last line of the output, as JSON. */
export const Search = t.type({
  /** How many seeds were run without a violation. */
  unharmed: t.number,
  /** The lowest seed that broke a promise, and which; null: none did. */
  caught: t.union([t.null, t.type({ seed: t.number, rule: t.string, facts: t.string })]),
})
export type Search = t.TypeOf<typeof Search>

/** Runs seeds until one breaks a promise; answers the exit code. */
export const untilViolation = async (options: {
  readonly from: number
  readonly seeds: number
  readonly jobs: number
}): Promise<number> => {
  const { from, seeds, jobs } = options
  let caught: Search['caught'] = null
  let done = 0
  await runAll({ from, seeds, jobs, untilViolation: true }, batch => {
    done += batch.seeds
    for (const { seed, violations } of batch.failed) {
      const [first] = violations
      // Batches are begun in order, so that the lowest one is among those that were begun.
      if (first !== undefined && (caught === null || seed < caught.seed))
        caught = { seed, rule: first.rule, facts: first.facts }
    }
    console.log(`${done} of ${seeds} seeds`)
    return caught === null
  })
  const found: Search = { unharmed: caught === null ? done : unharmedBefore(caught, from), caught }
  console.log(JSON.stringify(found))
  return caught === null ? 0 : 1
}

const unharmedBefore = ({ seed }: { readonly seed: number }, from: number): number => seed - from
