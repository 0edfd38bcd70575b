/**
 * `npm run sim`: runs jobs of the product in virtual time among faults, one for every seed, and says
 * whether any promise was broken.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import type { Batch } from './batch.js'
import { sometimes } from './counters.js'
import { explain } from './explain.js'
import { caughtBy } from './mutants.js'

/** The sum of all batches. */
interface Summary {
  readonly from: number
  readonly seeds: number
  readonly violations: number
  readonly seconds: number
  readonly seedsPerSecond: number
  readonly events: number
  readonly recoveries: number
  readonly recoveriesPerSeed: number
  readonly virtualHours: number
  /** Fingerprint of every event of every seed, whatever the number of jobs. */
  readonly hash: string
  readonly counters: Readonly<Record<string, number>>
  readonly failed: readonly number[]
  /** What never happened. */
  readonly never: readonly string[]
}

interface Options {
  readonly seeds: number
  readonly from: number
  readonly seed: number | undefined
  readonly jobs: number
  readonly json: string | undefined
  readonly mutants: boolean
  readonly only: string | undefined
}

const wholeNumber = (text: string): number => {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new InvalidArgumentError('Pass a whole number.')
}

const batchSeeds = 50
/** Nearly all of a seed is garbage after it: a larger young generation makes runs a sixth faster. */
const youngMebibytes = 64
/** With fewer seeds something rare may well not happen. */
const seedsForCounters = 5_000

/** Runs seeds in several processes; `onBatch` is called in no particular order. */
const runAll = async (
  from: number,
  seeds: number,
  jobs: number,
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
        const batch = await ask(child, at, Math.min(batchSeeds, from + seeds - at))
        if (!onBatch(batch)) stop = true
      }
    } finally {
      if (child.connected) child.disconnect()
    }
  }
  await Promise.all(Array.from({ length: Math.min(jobs, starts.length) }, work))
}

const ask = (child: ChildProcess, from: number, seeds: number): Promise<Batch> =>
  new Promise((resolve, reject) => {
    const onExit = (code: number | null): void =>
      reject(
        new Error(`the process of seeds ${from} to ${from + seeds - 1} ended with code ${code}`),
      )
    child.once('exit', onExit)
    child.once('message', (batch: Batch) => {
      child.off('exit', onExit)
      resolve(batch)
    })
    child.send({ from, seeds })
  })

const runSeeds = async ({ seeds, from, jobs, json }: Options): Promise<number> => {
  const startedAt = performance.now()
  const batches: Batch[] = []
  let done = 0
  let saidAt = startedAt
  const say = (): void => {
    const seconds = (performance.now() - startedAt) / 1_000
    const failed = batches.reduce((sum, batch) => sum + batch.failed.length, 0)
    console.log(
      `${done} of ${seeds} seeds, ${Math.round(done / seconds)}/s, ${failed} with violations`,
    )
  }
  await runAll(from, seeds, jobs, batch => {
    batches.push(batch)
    done += batch.seeds
    for (const { seed, violations } of batch.failed) {
      const [first] = violations
      console.log(`seed ${seed}: ${first?.rule} ${first?.facts} (repeat with --seed ${seed})`)
    }
    if (performance.now() - saidAt > 5_000) {
      saidAt = performance.now()
      say()
    }
    return true
  })
  say()
  const summary = summaryOf(batches, from, seeds, (performance.now() - startedAt) / 1_000)
  if (json !== undefined) await writeFile(json, `${JSON.stringify(summary, undefined, 2)}\n`)
  for (const what of summary.never) console.log(`never happened: ${what}`)
  console.log(
    JSON.stringify({ ...summary, counters: undefined, failed: summary.failed.slice(0, 20) }),
  )
  const [first] = summary.failed
  if (first !== undefined) await explain(first)
  return summary.violations > 0 || summary.never.length > 0 ? 1 : 0
}

const summaryOf = (
  unordered: readonly Batch[],
  from: number,
  seeds: number,
  seconds: number,
): Summary => {
  const batches = [...unordered].sort((a, b) => a.from - b.from)
  const counters: Record<string, number> = {}
  for (const batch of batches)
    for (const [what, times] of Object.entries(batch.counters))
      counters[what] = (counters[what] ?? 0) + times
  const sum = (of: (batch: Batch) => number): number =>
    batches.reduce((all, one) => all + of(one), 0)
  const failed = batches.flatMap(batch => batch.failed.map(({ seed }) => seed))
  const recoveries = sum(batch => batch.recoveries)
  const hash = batches.reduce((all, batch) => (Math.imul(all, 31) + batch.hash) >>> 0, 0)
  return {
    from,
    seeds,
    violations: failed.length,
    seconds: Math.round(seconds),
    seedsPerSecond: Math.round((seeds / seconds) * 10) / 10,
    events: sum(batch => batch.events),
    recoveries,
    recoveriesPerSeed: Math.round((recoveries / seeds) * 100) / 100,
    virtualHours: Math.round(sum(batch => batch.virtualMs) / 3_600_000),
    hash: hash.toString(16).padStart(8, '0'),
    counters,
    failed,
    never: seeds < seedsForCounters ? [] : sometimes.filter(what => (counters[what] ?? 0) === 0),
  }
}

const program = new Command('sim')
  .option('--seeds <n>', 'how many', wholeNumber, 1_000)
  .option('--from <seed>', 'the first one', wholeNumber, 1)
  .option('--seed <seed>', 'this one alone, event by event', wholeNumber)
  .option('--jobs <n>', 'processes', wholeNumber, 2)
  .option('--json <file>', 'write the summary there')
  .option('--mutants', 'break the product on purpose, and see whether it is found out')
  .option('--only <text>', 'only mutants whose name holds it')
  .action(async (options: Options) => {
    if (options.seed !== undefined) process.exitCode = await explain(options.seed)
    else if (options.mutants) process.exitCode = await caughtBy(options)
    else process.exitCode = await runSeeds(options)
  })

await program.parseAsync()
