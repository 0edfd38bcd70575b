/** A stream of small JSON messages, one record each, against a consumer that only parses them. */
import type { Bench } from './bench.js'
import { compare } from './figures.js'
import { eventAt, fillStream } from './load.js'
import { rateOf } from './meter.js'
import { ended, newFile, runJob, startProgram } from './stage.js'

export const sourcePerMessage: Bench = {
  name: 'source-per-message',
  what: 'stream of 128-byte JSON messages → keyed count → counting sink, exactly once every second',
  run: async stage => {
    const records = stage.quick ? 50_000 : 400_000
    const stream = 'EVENTS'
    await fillStream(stage.nats, stream, records, eventAt)
    const parameters = {
      BENCH_RECORDS: records,
      BENCH_FROM: Math.floor(records / 4),
      BENCH_STREAM: stream,
    }
    const ours = async (): Promise<number> => {
      const marks = newFile(stage)
      await runJob(stage, 'per-message', { ...parameters, BENCH_MARKS: marks })
      return rateOf(marks)
    }
    const raw = async (): Promise<number> => {
      const marks = newFile(stage)
      await ended(
        startProgram(stage, 'raw-callback', { ...parameters, BENCH_MARKS: marks }),
        'the raw consumer',
      )
      return rateOf(marks)
    }
    return compare(
      [
        {
          name: 'source-per-message',
          unit: 'records/s',
          bar: { atLeast: 0.75 },
          ours: { name: 'sluice', trial: ours },
          baseline: { name: 'raw callback consumer, ack none, parses', trial: raw },
        },
      ],
      stage.quick ? 1 : 5,
      stage.say,
    )
  },
}
