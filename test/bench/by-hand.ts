/** The flights job against what a team would write by hand on the same servers. */
import { readFile } from 'node:fs/promises'
import type { Bench } from './bench.js'
import { compare } from './figures.js'
import { fillStream } from './load.js'
import { rateOf } from './meter.js'
import { ended, newFile, runJob, type Stage, startProgram } from './stage.js'

const stream = 'FLIGHTS'

/** Real flights of the United States in 2001, one a message, as often as it takes. */
const fillFlights = async (stage: Stage, messages: number): Promise<void> => {
  const file = new URL('../data/flights-20k.json', import.meta.resolve('vega-datasets'))
  const flights: unknown = JSON.parse(await readFile(file, 'utf8'))
  if (!Array.isArray(flights)) throw new Error(`${file.href} holds no flights`)
  const texts = flights.map(flight => JSON.stringify(flight))
  await fillStream(stage.nats, stream, messages, n => texts[n % texts.length] ?? '')
}

/** A trial of a program of `baselines/` on the first `records` flights. */
const programRate =
  (stage: Stage, program: string, records: number) => async (): Promise<number> => {
    const marks = newFile(stage)
    const parameters = {
      BENCH_RECORDS: records,
      BENCH_FROM: Math.floor(records / 4),
      BENCH_MARKS: marks,
      BENCH_STREAM: stream,
    }
    await ended(startProgram(stage, program, parameters), program)
    return rateOf(marks)
  }

export const byHand: Bench = {
  name: 'by-hand',
  what: 'flights by origin, exactly once, against a naive consumer, a tuned one, and BullMQ, at least once',
  run: async stage => {
    const records = stage.quick ? 50_000 : 400_000
    await fillFlights(stage, records)
    const ours = {
      name: 'sluice',
      trial: async (): Promise<number> => {
        const marks = newFile(stage)
        await runJob(stage, 'flights', {
          BENCH_RECORDS: records,
          BENCH_FROM: Math.floor(records / 4),
          BENCH_MARKS: marks,
          BENCH_STREAM: stream,
        })
        return rateOf(marks)
      },
    }
    const against = (name: string, program: string, share: number, atLeast: number) => ({
      name,
      unit: 'records/s',
      bar: { atLeast },
      ours,
      baseline: { name: program, trial: programRate(stage, program, Math.floor(records * share)) },
    })
    // The slower ones get fewer records: each trial of theirs is long enough all the same.
    const comparisons = [
      against('vs-naive', 'naive', 0.1, 20),
      against('vs-tuned', 'tuned', 0.5, 3),
      against('vs-bullmq', 'bullmq', 0.1, 10),
    ]
    return compare(comparisons, stage.quick ? 1 : 5, stage.say)
  },
}
