/** What a benchmark finds out, and how two ways of doing something are compared fairly. */

/** One comparison: ours, a baseline of the same run, and what their ratio has to be. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly value: number
  /** What `value` is held against. */
  readonly baseline: string
  readonly baselineValue: number
  /** `value` ÷ `baselineValue`. */
  readonly ratio: number
  readonly bar: Bar
  /** Ratio of each pair of trials that ran side by side. */
  readonly pairs: readonly number[]
}

/** What a ratio has to be. */
export type Bar = { readonly atLeast: number } | { readonly atMost: number }

/** Whether a figure is what it has to be. */
export const holds = ({ ratio, bar }: Pick<Figure, 'ratio' | 'bar'>): boolean =>
  'atLeast' in bar ? ratio >= bar.atLeast : ratio <= bar.atMost

/** The middle of some numbers; of an even count, the mean of the two middle ones. */
export const median = (numbers: readonly number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b)
  const low = sorted[Math.floor((sorted.length - 1) / 2)]
  const high = sorted[Math.floor(sorted.length / 2)]
  if (low === undefined || high === undefined) throw new Error('nothing has no middle')
  return (low + high) / 2
}

/** The smallest of some numbers that at least `share` of them do not exceed. */
export const percentile = (numbers: readonly number[], share: number): number => {
  const sorted = [...numbers].sort((a, b) => a - b)
  const found = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
  if (found === undefined) throw new Error('nothing has no percentile')
  return found
}

/** One way of doing something: what it is called, and a trial of it that answers its figure. */
export interface Contender {
  readonly name: string
  readonly trial: () => Promise<number>
}

/** What is compared, and with what. */
export interface Comparison {
  readonly name: string
  readonly unit: string
  readonly bar: Bar
  readonly ours: Contender
  readonly baseline: Contender
}

/**
 * Runs ours and its baselines in turn: one round to warm up, which counts for nothing, then `rounds`
 * that do. Interleaved, because a machine that others use is not equally fast for long.
 */
export const compare = async (
  comparisons: readonly Comparison[],
  rounds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> => {
  const contenders = new Map<string, Contender>()
  for (const { ours, baseline } of comparisons) {
    contenders.set(baseline.name, baseline)
    contenders.set(ours.name, ours)
  }
  const found = new Map<string, number[]>()
  for (let round = 0; round <= rounds; round += 1) {
    const label = round === 0 ? 'warm-up' : `round ${round} of ${rounds}`
    for (const { name, trial } of contenders.values()) {
      const value = await trial()
      say(`${label}: ${name}: ${rounded(value)}`)
      if (round > 0) found.set(name, [...(found.get(name) ?? []), value])
    }
  }
  return comparisons.map(({ name, unit, bar, ours, baseline }) => {
    const values = found.get(ours.name) ?? []
    const baselineValues = found.get(baseline.name) ?? []
    return figure({ name, unit, bar, baseline: baseline.name }, values, baselineValues)
  })
}

/** A figure of trials that ran in pairs. */
export const figure = (
  about: Pick<Figure, 'name' | 'unit' | 'bar' | 'baseline'>,
  values: readonly number[],
  baselineValues: readonly number[],
): Figure => {
  const value = median(values)
  const baselineValue = median(baselineValues)
  const pairs = values.map((each, k) => each / (baselineValues[k] ?? Number.NaN))
  return { ...about, value, baselineValue, ratio: value / baselineValue, pairs }
}

/** Three significant digits, without an exponent. */
export const rounded = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))
