/**
 * Compares what came out with what must come out, record by record.
 *
 * Every output names its place itself: its origin and the running count of flights.
 *   C1. A place that no output names is missing.
 *   C2. An output that names a place which an earlier one has named is duplicated.
 *   C3. An output is wrong that is no delay record, that names a place which does not exist, whose
 *       mean is not equal to the expected one, or that comes after a later place of its origin.
 *   C4. missing, duplicated and wrong are all 0 if and only if the outputs of every origin are the
 *       expected ones in the expected order.
 */
import type { DelayRecord, Expected } from './expected.js'
import { Delay } from './job.js'

/** How outputs differ from the expected ones. */
export interface Comparison {
  /** Outputs that were looked at. */
  readonly records: number
  readonly missing: number
  readonly duplicated: number
  readonly wrong: number
  /** The first few faults, in words. */
  readonly faults: readonly string[]
}

const faultsMax = 5

/** `outputs` are the parsed messages of the output stream, in its order. */
export const compare = (outputs: Iterable<unknown>, expected: Expected): Comparison => {
  const seen = new Map([...expected.keys()].map(origin => [origin, new Set<number>()]))
  const last = new Map<string, number>()
  const faults: string[] = []
  let records = 0
  let duplicated = 0
  let wrong = 0
  for (const output of outputs) {
    records += 1
    const place = Delay.is(output) ? placeOf(output, expected) : undefined
    if (!Delay.is(output) || place === undefined) {
      wrong += 1
      faults.push(`output ${records} is not to be expected: ${JSON.stringify(output)}`)
      continue
    }
    const { origin, flights } = output
    const named = seen.get(origin)
    if (named?.has(flights) === true) {
      duplicated += 1
      faults.push(`output ${records} is a second one for flight ${flights} from ${origin}`)
      continue
    }
    named?.add(flights)
    const fault = faultOf(output, place, last.get(origin) ?? 0)
    if (fault !== undefined) {
      wrong += 1
      faults.push(`output ${records}, flight ${flights} from ${origin}: ${fault}`)
    }
    last.set(origin, Math.max(last.get(origin) ?? 0, flights))
  }
  const gaps = gapsOf(expected, seen)
  return {
    records,
    missing: gaps.length,
    duplicated,
    wrong,
    faults: [...faults.slice(0, faultsMax), ...gaps.slice(0, faultsMax)],
  }
}

const placeOf = ({ origin, flights }: DelayRecord, expected: Expected): DelayRecord | undefined =>
  expected.get(origin)?.[flights - 1]

const faultOf = (output: DelayRecord, place: DelayRecord, last: number): string | undefined => {
  if (output.meanDelay !== place.meanDelay)
    return `the mean is ${output.meanDelay}, and must be ${place.meanDelay}`
  return output.flights < last ? `it comes after flight ${last}` : undefined
}

const gapsOf = (
  expected: Expected,
  seen: ReadonlyMap<string, ReadonlySet<number>>,
): readonly string[] =>
  [...expected].flatMap(([origin, places]) =>
    places
      .filter(({ flights }) => seen.get(origin)?.has(flights) !== true)
      .map(({ flights }) => `there is no output for flight ${flights} from ${origin}`),
  )
