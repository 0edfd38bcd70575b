/** How long a snapshot keeps an actor from its records. */
import { readFileSync } from 'node:fs'
import type { Bench } from './bench.js'
import { type Figure, figure, percentile } from './figures.js'
import { newFile, runJob, type Stage } from './stage.js'

/** The longest pause of each second under load, in ms, once every key is there. */
const pausesOf = async (
  stage: Stage,
  keys: number,
  intervalMs: number,
): Promise<readonly number[]> => {
  const marks = newFile(stage)
  const more = stage.quick ? 400_000 : 8_000_000
  await runJob(stage, 'pauses', {
    BENCH_MARKS: marks,
    BENCH_KEYS: keys,
    BENCH_FROM: 2 * keys,
    BENCH_RECORDS: 2 * keys + more,
    BENCH_INTERVAL_MS: intervalMs,
  })
  return readFileSync(marks, 'utf8').trim().split('\n').map(Number)
}

/** Longer than any trial: the one checkpoint that is taken is the last. */
const hourMs = 3_600_000

export const barrierPause: Bench = {
  name: 'barrier-pause',
  what: 'the longest pause of each second with a checkpoint a second, at 10 000, 100 000 and 1 000 000 keys',
  run: async stage => {
    const sizes = stage.quick ? [10_000] : [10_000, 100_000, 1_000_000]
    const figures: Figure[] = []
    for (const keys of sizes) {
      const without = percentile(await pausesOf(stage, keys, hourMs), 0.99)
      const pauses = await pausesOf(stage, keys, 1_000)
      const p99 = percentile(pauses, 0.99)
      stage.say(
        `${keys} keys: p99 ${p99.toFixed(2)} ms of ${pauses.length} seconds, median ${percentile(pauses, 0.5).toFixed(2)} ms; without checkpoints p99 ${without.toFixed(2)} ms`,
      )
      const about = { unit: 'ms, p99', bar: { atMost: 1 }, baseline: '5 ms' }
      figures.push(figure({ ...about, name: `barrier-pause-${keys}` }, [p99], [5]))
    }
    return figures
  },
}
