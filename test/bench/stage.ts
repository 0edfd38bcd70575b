/** What benchmarks run on: real servers, a folder, and processes of their own. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connect, type NatsConnection } from 'nats'
import { startBenchJob } from './job-run.js'

/** Names and values for the environment of what is started. */
export type Parameters = Readonly<Record<string, string | number>>

/** Where benchmarks run. */
export interface Stage {
  readonly natsUrl: string
  readonly redisUrl: string
  readonly nats: NatsConnection
  /** For what benchmarks write; removed at the end. */
  readonly folder: string
  /** Fewer records and rounds: to see that everything works, not to measure. */
  readonly quick: boolean
  readonly say: (text: string) => void
}

/** A new file's name in the stage's folder. */
export const newFile = (stage: Stage): string => join(stage.folder, `${++files}.jsonl`)
let files = 0

/** Connects with what benchmarks need of NATS. */
export const connectNats = (servers: string): Promise<NatsConnection> =>
  connect({ servers, noAsyncTraces: true, name: 'bench' })

/** Runs a job of `jobs/` to its end, one process per subtask. Rejects when it does not finish. */
export const runJob = async (stage: Stage, name: string, parameters: Parameters): Promise<void> => {
  const { running } = await startBenchJob(stage, name, parameters)
  const outcome = await running.outcome
  if (outcome.type === 'ended' && outcome.status === 'finished') return
  throw new Error(`the job ${name} did not finish: ${JSON.stringify(outcome)}`)
}

/** Starts a program of `baselines/`. */
export const startProgram = (
  { natsUrl, redisUrl }: Stage,
  name: string,
  parameters: Parameters,
  execArgv: readonly string[] = [],
): ChildProcess => {
  const env = Object.fromEntries(Object.entries(parameters).map(([k, v]) => [k, String(v)]))
  return fork(fileURLToPath(new URL(`./baselines/${name}.js`, import.meta.url)), {
    env: { ...process.env, ...env, NATS_URL: natsUrl, REDIS_URL: redisUrl },
    execArgv: [...execArgv],
  })
}

/** Resolves when a program has ended well; rejects when it has ended otherwise. */
export const ended = async (program: ChildProcess, name: string): Promise<void> => {
  const [code, signal] = await once(program, 'exit')
  if (code !== 0) throw new Error(`${name} ended with ${code ?? signal}`)
}
