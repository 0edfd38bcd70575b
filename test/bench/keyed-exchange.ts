/** Records from one process to another, by key, against a pipe that does just that and keeps nothing. */
import { once } from 'node:events'
import { StorageType } from 'nats'
import type { Bench } from './bench.js'
import { compare } from './figures.js'
import { rateOf } from './meter.js'
import { ended, newFile, type Parameters, runJob, type Stage, startProgram } from './stage.js'

/** Records per second of the job, with a checkpoint every so often; 0: none. */
export const exchangeRate = async (
  stage: Stage,
  parameters: Parameters,
  intervalMs: number,
): Promise<number> => {
  const marks = newFile(stage)
  const more = { BENCH_MARKS: marks, BENCH_INTERVAL_MS: intervalMs }
  await runJob(stage, intervalMs === 0 ? 'unchecked-exchange' : 'keyed-exchange', {
    ...parameters,
    ...more,
  })
  return rateOf(marks)
}

/** Records per second through the bare pipe. */
const pipeRate = async (stage: Stage, parameters: Parameters): Promise<number> => {
  const marks = newFile(stage)
  const stream = 'PIPE'
  const manager = await stage.nats.jetstreamManager()
  await manager.streams.add({ name: stream, subjects: ['pipe'], storage: StorageType.Memory })
  const all = { ...parameters, BENCH_MARKS: marks, BENCH_STREAM: stream }
  const reader = startProgram(stage, 'pipe-reader', all)
  await once(reader, 'message')
  const writer = startProgram(stage, 'pipe-writer', all)
  await Promise.all([ended(reader, 'the reader'), ended(writer, 'the writer')])
  await manager.streams.delete(stream)
  return rateOf(marks)
}

export const keyedExchange: Bench = {
  name: 'keyed-exchange',
  what: 'generator → keyBy of 100 000 keys → count in another process → counting sink, exactly once every second',
  run: async stage => {
    const records = stage.quick ? 200_000 : 2_000_000
    const parameters = {
      BENCH_RECORDS: records,
      BENCH_KEYS: 100_000,
      BENCH_FROM: Math.floor(records / 4),
    }
    return compare(
      [
        {
          name: 'keyed-exchange',
          unit: 'records/s',
          bar: { atLeast: 1.3 },
          ours: { name: 'sluice', trial: () => exchangeRate(stage, parameters, 1_000) },
          baseline: {
            name: 'bare pipe, frames of 512 records in msgpackr',
            trial: () => pipeRate(stage, parameters),
          },
        },
      ],
      stage.quick ? 1 : 5,
      stage.say,
    )
  },
}
