/** Seeds in several processes. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Batch, BatchRequest } from './batch.js'

/** Nearly all of a seed is garbage after it: a larger young generation makes runs a sixth faster. */
const youngMebibytes = 64
const batchSeeds = 50

/** Seeds to run, and in how many processes. */
export interface SeedRange extends BatchRequest {
  readonly jobs: number
}

/**
 * Runs seeds; `onBatch` is called in no particular order, and stops the rest by answering false.
 * Batches are begun in order, and one that was begun is ended.
 */
export const runAll = async (
  { from, seeds, jobs, untilViolation }: SeedRange,
  onBatch: (batch: Batch) => boolean,
): Promise<void> => {
  const starts: number[] = []
  for (let at = from; at < from + seeds; at += batchSeeds) starts.push(at)
  let stop = false
  const work = async (): Promise<void> => {
    const child = fork(fileURLToPath(new URL('./child.js', import.meta.url)), {
      execArgv: [`--max-semi-space-size=${youngMebibytes}`],
    })
    try {
      for (let at = starts.shift(); at !== undefined && !stop; at = starts.shift()) {
        const size = Math.min(batchSeeds, from + seeds - at)
        const batch = await ask(child, { from: at, seeds: size, untilViolation })
        if (!onBatch(batch)) stop = true
      }
    } finally {
      if (child.connected) child.disconnect()
    }
  }
  await Promise.all(Array.from({ length: Math.min(jobs, starts.length) }, work))
}

const ask = (child: ChildProcess, request: BatchRequest): Promise<Batch> =>
  new Promise((resolve, reject) => {
    const { from, seeds } = request
    const onExit = (code: number | null): void =>
      reject(
        new Error(`the process of seeds ${from} to ${from + seeds - 1} ended with code ${code}`),
      )
    child.once('exit', onExit)
    child.once('message', (batch: Batch) => {
      child.off('exit', onExit)
      resolve(batch)
    })
    child.send(request)
  })
