/**
 * What the job must have put out, by a plain loop over the same input in one process.
 *
 * The sums are of whole minutes and every mean is one division of two sums, as in the job: equal
 * numbers, not close ones, are expected.
 */
import type * as t from 'io-ts'
import type { Delay, Flight } from './job.js'

export type FlightRecord = t.TypeOf<typeof Flight>
export type DelayRecord = t.TypeOf<typeof Delay>

/** The outputs of every origin airport in their order: the one at index `n` is that of flight `n + 1`. */
export type Expected = ReadonlyMap<string, readonly DelayRecord[]>

export const expectedOf = (flights: readonly FlightRecord[]): Expected => {
  const totals = new Map<string, number>()
  const outputs = new Map<string, DelayRecord[]>()
  for (const { origin, delay } of flights) {
    const total = (totals.get(origin) ?? 0) + delay
    totals.set(origin, total)
    const soFar = outputs.get(origin) ?? []
    const count = soFar.length + 1
    soFar.push({ origin, flights: count, meanDelay: total / count })
    outputs.set(origin, soFar)
  }
  return outputs
}

/** The last output of the airports with the most flights, in falling order. */
export const busiest = (expected: Expected, count: number): readonly DelayRecord[] =>
  [...expected.values()]
    .flatMap(outputs => outputs.slice(-1))
    .sort((a, b) => b.flights - a.flights || a.origin.localeCompare(b.origin))
    .slice(0, count)
