/** What checkpoints cost: the keyed exchange with them, against the same without. */
import type { Bench } from './bench.js'
import { compare } from './figures.js'
import { exchangeRate } from './keyed-exchange.js'

export const checkpointOverhead: Bench = {
  name: 'checkpoint-overhead',
  what: 'the keyed exchange with a checkpoint every second and every 100 ms, against none',
  run: async stage => {
    const records = stage.quick ? 200_000 : 2_000_000
    const parameters = {
      BENCH_RECORDS: records,
      BENCH_KEYS: 100_000,
      BENCH_FROM: Math.floor(records / 4),
    }
    const every = (intervalMs: number) => (): Promise<number> =>
      exchangeRate(stage, parameters, intervalMs)
    const none = { name: 'no checkpoints', trial: every(0) }
    return compare(
      [
        {
          name: 'checkpoint-overhead-1s',
          unit: 'records/s',
          bar: { atLeast: 0.95 },
          ours: { name: 'every second', trial: every(1_000) },
          baseline: none,
        },
        {
          name: 'checkpoint-overhead-100ms',
          unit: 'records/s',
          bar: { atLeast: 0.85 },
          ours: { name: 'every 100 ms', trial: every(100) },
          baseline: none,
        },
      ],
      stage.quick ? 1 : 5,
      stage.say,
    )
  },
}
