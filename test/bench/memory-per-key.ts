/** What a key of keyed state takes in memory, against a plain Map of the same objects. */

import { readFileSync } from 'node:fs'
import type { Bench } from './bench.js'
import { compare } from './figures.js'
import { ended, newFile, startProgram } from './stage.js'

export const memoryPerKey: Bench = {
  name: 'memory',
  what: 'bytes of heap per key at a million keys, against a plain Map of the same objects',
  run: async stage => {
    const keys = stage.quick ? 100_000 : 1_000_000
    const bytesOf = (how: string) => async (): Promise<number> => {
      const marks = newFile(stage)
      const parameters = { BENCH_KEYS: keys, BENCH_HOW: how, BENCH_MARKS: marks }
      await ended(startProgram(stage, 'keys', parameters, ['--expose-gc']), how)
      return Number(readFileSync(marks, 'utf8'))
    }
    return compare(
      [
        {
          name: 'memory',
          unit: 'bytes per key',
          bar: { atMost: 1.5 },
          ours: { name: 'keyed state', trial: bytesOf('state') },
          baseline: { name: 'a plain Map', trial: bytesOf('map') },
        },
      ],
      stage.quick ? 1 : 5,
      stage.say,
    )
  },
}
