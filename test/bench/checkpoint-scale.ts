/** How long one checkpoint takes with ever more subtasks: all real, in one worker, and nearly idle. */
import type { Bench } from './bench.js'
import { checkpointsOf } from './cli.js'
import { type Figure, figure, median } from './figures.js'
import { fillStream } from './load.js'
import type { Stage } from './stage.js'

const stream = 'NUMBERS'
/** The first ones run while processes get warm and records flow. */
const warmUp = 5

/** The middle duration of some checkpoints in ms, with so many subtasks. */
const durationMs = async (stage: Stage, subtasks: number, checkpoints: number): Promise<number> => {
  const parameters = { BENCH_SUBTASKS: subtasks, BENCH_STREAM: stream }
  const found = await checkpointsOf(
    stage,
    'wide',
    parameters,
    done => done.length >= warmUp + checkpoints,
  )
  return median(found.slice(warmUp).map(checkpoint => checkpoint.durationMs))
}

export const checkpointScale: Bench = {
  name: 'checkpoint-scale',
  what: 'one checkpoint with 10, 100 and 1 000 subtasks that hold 10 000 keys together',
  run: async stage => {
    await fillStream(stage.nats, stream, 10_000, n => JSON.stringify({ n }))
    const rounds = stage.quick ? 1 : 3
    const sizes = [10, 100, 1_000] as const
    const found = new Map<number, number[]>(sizes.map(size => [size, []]))
    for (let round = 1; round <= rounds; round += 1) {
      for (const size of sizes) {
        const ms = await durationMs(stage, size, stage.quick ? 3 : 15)
        found.get(size)?.push(ms)
        stage.say(`round ${round} of ${rounds}: ${size} subtasks: ${ms.toFixed(0)} ms`)
      }
    }
    const of = (size: number): readonly number[] => found.get(size) ?? []
    const perSubtask = (size: number): readonly number[] => of(size).map(ms => ms / size)
    const figures: readonly Figure[] = [
      figure(
        {
          name: 'checkpoint-scale-linear',
          unit: 'ms per subtask at 1 000',
          bar: { atMost: 1 },
          baseline: 'ms per subtask at 100',
        },
        perSubtask(1_000),
        perSubtask(100),
      ),
      figure(
        {
          name: 'checkpoint-scale-1000',
          unit: 'ms at 1 000',
          bar: { atMost: 1 },
          baseline: 'a second',
        },
        of(1_000),
        of(1_000).map(() => 1_000),
      ),
    ]
    return figures
  },
}
