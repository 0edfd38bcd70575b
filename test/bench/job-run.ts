/** A job that goes on for as long as its benchmark wants, and its completed checkpoints. */
import { fileURLToPath } from 'node:url'
import { type JobEvent, type RunningJob, startJob } from 'sluice/actors'
import type { Parameters, Stage } from './stage.js'

/** A job at work. */
export interface BenchJob {
  readonly running: RunningJob
  /** Resolves when so many more checkpoints have completed; rejects when the job ends before. */
  checkpoints(more: number): Promise<void>
}

/** Starts a job of `jobs/`, one process per subtask. */
export const startBenchJob = async (
  { natsUrl, redisUrl }: Stage,
  name: string,
  parameters: Parameters,
): Promise<BenchJob> => {
  const jobFile = fileURLToPath(new URL(`./jobs/${name}.js`, import.meta.url))
  // The processes of a job inherit the environment of the one that starts it.
  for (const [key, value] of Object.entries(parameters)) process.env[key] = String(value)
  let completed = 0
  let wake = (): void => {}
  const onEvent = (event: JobEvent): void => {
    if (event.type !== 'note' || event.name !== 'checkpoint-completed') return
    completed += 1
    wake()
  }
  const running = await startJob({ jobFile, natsUrl, redisUrl, fresh: true, onEvent })
  return {
    running,
    checkpoints: async more => {
      const wanted = completed + more
      while (completed < wanted) {
        const next = new Promise<undefined>(resolve => {
          wake = () => resolve(undefined)
        })
        const ended = await Promise.race([next, running.outcome])
        if (ended !== undefined) throw new Error(`the job ${name} ended: ${JSON.stringify(ended)}`)
      }
    },
  }
}
