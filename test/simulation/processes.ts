/** Seeds in several processes. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Batch, BatchRequest } from './batch.js'

/**
 * Nearly all of a seed is garbage after it: a larger young generation makes runs a sixth faster. The
 * cores are busy with seeds, and threads that collect beside them cost a quarter.
 */
const flags = ['--max-semi-space-size=64', '--single-threaded-gc']
const batchSeeds = 50

/** Seeds to run, and in how many processes. */
export interface SeedRange extends BatchRequest {
  readonly jobs: number
  /** First seeds of batches that need not be run. */
  readonly done?: ReadonlySet<number>
}

/**
 * Runs seeds; `onBatch` is called in no particular order, and stops the rest by answering false.
 * Batches are begun in order, and one that was begun is ended.
 */
export const runAll = async (
  { from, seeds, jobs, untilViolation, done }: SeedRange,
  onBatch: (batch: Batch) => boolean,
): Promise<void> => {
  const starts: number[] = []
  for (let at = from; at < from + seeds; at += batchSeeds)
    if (done?.has(at) !== true) starts.push(at)
  let stop = false
  const work = async (): Promise<void> => {
    const child = fork(fileURLToPath(new URL('./child.js', import.meta.url)), {
      execArgv: flags,
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
