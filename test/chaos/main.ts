/**
 * `npm run chaos`: many runs of the flights example with processes killed at random moments, and a
 * comparison of every output record with what a plain computation gives.
 */
import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { describePlan, drawPlan, type PlanOptions, type RunPlan } from './plan.js'
import { type ChaosJob, chaosRun, type RunResult, subtasksOf } from './run.js'

const wholeNumber = (text: string): number => {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1) return value
  throw new InvalidArgumentError('expected a whole number of at least 1')
}

interface Options {
  readonly runs: number
  readonly seed: number
  readonly run?: number
  readonly json?: string
  readonly natsKill: boolean
  readonly redisKill: boolean
  readonly atOnce: boolean
  readonly parallel: number
}

const options = new Command('chaos')
  .description('Runs the flights example and kills its processes at random moments')
  .option('--runs <n>', 'how many runs', wholeNumber, 50)
  .option('--seed <n>', 'what the moments are drawn from', wholeNumber, 1)
  .option('--run <k>', 'repeat this run only, and keep what happened in it', wholeNumber)
  .option('--json <file>', 'write the result of every run to a file')
  .option('--nats-kill', 'kill nats-server too, once in every run', false)
  .option('--redis-kill', 'kill redis-server too, once in every run', false)
  .option('--at-once', 'with an output that waits for no checkpoint', false)
  .option('--parallel <n>', 'runs at a time', wholeNumber, Math.min(4, availableParallelism()))
  .parse()
  .opts<Options>()

const job: ChaosJob = options.atOnce ? 'at-once' : 'example'

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const report = (plan: RunPlan, result: RunResult): void => {
  const { run, seed } = plan
  const { kills, generations, seconds, failures, logFile } = result
  const verdict = failures.length === 0 ? 'ok' : 'FAILED'
  const killed = kills.length === 0 ? 'nothing in time' : kills.join(', ')
  print(
    `run ${run} (seed ${seed}) ${verdict} in ${seconds.toFixed(1)} s, ${generations} generations, killed ${killed}`,
  )
  print(`  plan: ${describePlan(plan)}`)
  for (const failure of failures) print(`  ${failure}`)
  if (logFile !== undefined) print(`  what happened: ${logFile}`)
}

const failedRun = (run: number, thrown: unknown): RunResult => ({
  run,
  kills: [],
  generations: 0,
  missing: 0,
  duplicated: 0,
  wrong: 0,
  failures: [thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)],
  logFile: undefined,
  seconds: 0,
})

/** Runs everything, a few at a time, in order of their numbers. */
const runAll = async (planOptions: PlanOptions): Promise<readonly RunResult[]> => {
  const { runs, seed, run, parallel } = options
  const queue = run === undefined ? Array.from({ length: runs }, (_, k) => k + 1) : [run]
  const results: RunResult[] = []
  const lane = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const number = next
      const plan = drawPlan(seed, number, planOptions)
      const keep = run !== undefined
      const result = await chaosRun(plan, job, keep).catch((thrown: unknown) =>
        failedRun(number, thrown),
      )
      results.push(result)
      report(plan, result)
    }
  }
  await Promise.all(Array.from({ length: parallel }, lane))
  return results
}

const startedAt = performance.now()
const { natsKill, redisKill } = options
const results = await runAll({ subtasks: await subtasksOf(job), natsKill, redisKill })
const sum = (of: (result: RunResult) => number): number =>
  results.reduce((total, result) => total + of(result), 0)
const summary = {
  runs: results.length,
  kills: sum(r => r.kills.length),
  generations: sum(r => r.generations),
  missing: sum(r => r.missing),
  duplicated: sum(r => r.duplicated),
  wrong: sum(r => r.wrong),
  failures: results.filter(r => r.failures.length > 0).length,
  seconds: Math.round((performance.now() - startedAt) / 100) / 10,
}
if (options.json !== undefined) {
  await writeFile(
    options.json,
    `${JSON.stringify({ seed: options.seed, summary, results }, null, 2)}\n`,
  )
}
const { runs, kills, generations, failures, seconds } = summary
print(
  `${runs} runs of the flights example (20 000 records each), ${kills} kills, ${generations} generations in ${seconds} s: ${failures === 0 ? 'every output exactly once' : `${failures} runs failed`}`,
)
print(JSON.stringify(summary))
process.exitCode = failures === 0 ? 0 : 1
