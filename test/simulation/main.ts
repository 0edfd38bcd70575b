/**
 * `npm run sim`: runs jobs of the product in virtual time among faults, one for every seed, and says
 * whether any promise was broken.
 */
import { writeFile } from 'node:fs/promises'
import { Command, InvalidArgumentError } from 'commander'
import { messageOf } from '../../lib/errors.js'
import type { Batch } from './batch.js'
import { sometimes } from './counters.js'
import { explain } from './explain.js'
import { codeFingerprint, Kept } from './kept.js'
import { runMutants } from './mutant-run.js'
import { runAll } from './processes.js'
import { untilViolation } from './until-violation.js'

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
  readonly seeds: number | undefined
  readonly from: number
  readonly seed: number | undefined
  readonly jobs: number
  readonly json: string | undefined
  readonly keep: string | undefined
  readonly untilViolation: boolean
  readonly mutants: boolean
  readonly only: string | undefined
}

const wholeNumber = (text: string): number => {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new InvalidArgumentError('Pass a whole number.')
}

/** With fewer seeds something rare may well not happen. */
const seedsForCounters = 5_000

const runSeeds = async ({
  seeds,
  from,
  jobs,
  json,
  keep,
}: Options & { readonly seeds: number }): Promise<number> => {
  const kept =
    keep === undefined ? undefined : Kept.open(keep, { from, seeds, code: codeFingerprint() })
  const batches: Batch[] = [...(kept?.batches ?? [])]
  const secondsBefore = kept?.seconds ?? 0
  let done = batches.reduce((sum, batch) => sum + batch.seeds, 0)
  if (done > 0) console.log(`${keep} holds ${done} of ${seeds} seeds already`)
  const startedAt = performance.now()
  const secondsNow = (): number => secondsBefore + (performance.now() - startedAt) / 1_000
  let saidAt = startedAt
  const say = (): void => {
    const failed = batches.reduce((sum, batch) => sum + batch.failed.length, 0)
    console.log(
      `${done} of ${seeds} seeds, ${Math.round(done / secondsNow())}/s, ${failed} with violations`,
    )
  }
  const isDone = new Set(batches.map(batch => batch.from))
  await runAll({ from, seeds, jobs, untilViolation: false, done: isDone }, batch => {
    kept?.add(batch, secondsNow() - kept.seconds)
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
  const summary = summaryOf(batches, from, seeds, secondsNow())
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
  .option('--seeds <n>', 'how many (1000; for each mutant 10000)', wholeNumber)
  .option('--from <seed>', 'the first one', wholeNumber, 1)
  .option('--seed <seed>', 'this one alone, event by event', wholeNumber)
  .option('--jobs <n>', 'processes', wholeNumber, 2)
  .option('--json <file>', 'write the summary there')
  .option('--keep <file>', 'keep every batch there: cut off, the same command goes on from it')
  .option('--until-violation', 'stop at the first seed that breaks a promise, and say which')
  .option('--mutants', 'break the product on purpose, and see whether it is found out')
  .option('--only <text>', 'only mutants with it in their name, file or rules')
  .action(async (options: Options) => {
    const isSearch = options.mutants || options.untilViolation
    const seeds = options.seeds ?? (isSearch ? 10_000 : 1_000)
    if (options.seed !== undefined) process.exitCode = await explain(options.seed)
    else if (options.mutants) process.exitCode = await runMutants({ ...options, seeds })
    else if (options.untilViolation) process.exitCode = await untilViolation({ ...options, seeds })
    else process.exitCode = await runSeeds({ ...options, seeds })
  })

try {
  await program.parseAsync()
} catch (thrown) {
  console.error(messageOf(thrown))
  process.exitCode = 1
}
