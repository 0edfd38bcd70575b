/** How old a record is when what came of it can be read. */
import { readFileSync } from 'node:fs'
import * as t from 'io-ts'
import type { Bench } from './bench.js'
import { figure, percentile } from './figures.js'
import { startBenchJob } from './job-run.js'
import { ended, newFile, type Stage, startProgram } from './stage.js'

const Ages = t.array(t.number)
const perSecond = 10_000
let trials = 0

/** What stands between the input and the output, and how to end it. */
type Between = (
  parameters: Readonly<Record<string, string | number>>,
) => Promise<() => Promise<void>>

/** Runs records through it at a steady rate; the ages of those after the first few seconds. */
const agesOf = async (stage: Stage, between: Between): Promise<readonly number[]> => {
  const seconds = stage.quick ? 4 : 15
  trials += 1
  const [input, output] = [`LATENCY${trials}`, `AGES${trials}`]
  const manager = await stage.nats.jetstreamManager()
  for (const name of [input, output])
    await manager.streams.add({ name, subjects: [name.toLowerCase()] })
  const marks = newFile(stage)
  const parameters = {
    BENCH_RECORDS: seconds * perSecond,
    BENCH_FROM: (seconds * perSecond) / 2,
    BENCH_RATE: perSecond,
    BENCH_STREAM: input,
    BENCH_OUT: output,
    BENCH_MARKS: marks,
  }
  const end = await between(parameters)
  const reader = startProgram(stage, 'latency-reader', parameters)
  const writer = startProgram(stage, 'latency-writer', parameters)
  await Promise.all([ended(reader, 'the reader'), ended(writer, 'the writer')])
  await end()
  for (const name of [input, output]) await manager.streams.delete(name)
  const ages: unknown = JSON.parse(readFileSync(marks, 'utf8'))
  if (!Ages.is(ages)) throw new Error('the reader has noted no ages')
  return ages
}

export const latency: Bench = {
  name: 'latency',
  what: 'from the making of a record to its count in the output, at 10 000 records a second, exactly once',
  run: async stage => {
    const job: Between = async parameters => {
      const { running, checkpoints } = await startBenchJob(stage, 'latency', parameters)
      // It runs, and puts out at once from here on.
      await checkpoints(1)
      return async () => {
        const outcome = await running.outcome
        if (outcome.type !== 'ended') throw new Error(`the job did not end: ${outcome.type}`)
      }
    }
    const relay: Between = async parameters => {
      // From the start: it may have ended before anybody asks.
      const over = ended(startProgram(stage, 'relay', parameters), 'the relay')
      return () => over
    }
    const found = { p50: [] as number[], p99: [] as number[] }
    for (let round = 0; round <= (stage.quick ? 1 : 5); round += 1) {
      const [theirs, ours] = [await agesOf(stage, relay), await agesOf(stage, job)]
      for (const [name, share] of [
        ['p50', 0.5],
        ['p99', 0.99],
      ] as const) {
        const [our, their] = [percentile(ours, share), percentile(theirs, share)]
        stage.say(`round ${round}: ${name} ${our.toFixed(2)} ms; of a relay ${their.toFixed(2)} ms`)
        // The first one is to warm up.
        if (round === 0) continue
        found[name].push(our)
      }
    }
    const about = { unit: 'ms', bar: { atMost: 1 } }
    const against = (bound: number): readonly number[] => found.p50.map(() => bound)
    return [
      figure({ ...about, name: 'latency-p50', baseline: '5 ms' }, found.p50, against(5)),
      figure({ ...about, name: 'latency-p99', baseline: '25 ms' }, found.p99, against(25)),
    ]
  },
}
