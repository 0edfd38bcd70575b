/** A job as its command-line tools run it: a coordinator, and one worker with many subtasks. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as t from 'io-ts'
import type { Parameters, Stage } from './stage.js'

const command = fileURLToPath(new URL('../../actors/cli/main.js', import.meta.url))

const Completed = t.type({
  type: t.literal('note'),
  name: t.literal('checkpoint-completed'),
  facts: t.type({ epoch: t.number, durationMs: t.number, bytes: t.number }),
})

/** One completed checkpoint. */
export type CompletedCheckpoint = t.TypeOf<typeof Completed>['facts']

/** Runs a job of `jobs/` in two processes until `enough` says so of its checkpoints; answers them. */
export const checkpointsOf = async (
  { natsUrl, redisUrl }: Stage,
  name: string,
  parameters: Parameters & { readonly BENCH_SUBTASKS: number },
  enough: (checkpoints: readonly CompletedCheckpoint[]) => boolean,
): Promise<readonly CompletedCheckpoint[]> => {
  const jobFile = fileURLToPath(new URL(`./jobs/${name}.js`, import.meta.url))
  const more = Object.entries(parameters).map(([key, value]) => [key, String(value)])
  const env = {
    ...process.env,
    ...Object.fromEntries(more),
    NATS_URL: natsUrl,
    REDIS_URL: redisUrl,
  }
  const start = (...args: string[]): ChildProcess =>
    spawn(process.execPath, [command, ...args, '--json'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  const coordinator = start('coordinator', jobFile, '--fresh')
  const worker = start('worker', jobFile, '--slots', String(parameters.BENCH_SUBTASKS))
  const found: CompletedCheckpoint[] = []
  try {
    worker.stdout?.resume()
    if (coordinator.stdout === null) throw new Error('the coordinator tells nothing')
    for await (const line of createInterface({ input: coordinator.stdout })) {
      const value: unknown = JSON.parse(line)
      if (Completed.is(value)) found.push(value.facts)
      if (enough(found)) return found
    }
    throw new Error(`the coordinator ended after ${found.length} checkpoints`)
  } finally {
    await Promise.all([coordinator, worker].map(stop))
  }
}

const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
