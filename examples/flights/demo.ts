/**
 * Runs the flights job on 20 000 real flights, kills three of its processes with SIGKILL while records
 * flow, and compares every output with what a plain loop computes.
 *
 * Exits with 0 only if nothing is missing, duplicated or wrong. The last line of the output is JSON.
 */
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connect, type NatsConnection } from 'nats'
import { startJob, startServers } from 'sluice/actors'
import { type Comparison, compare } from './compare.js'
import { type Display, makeDisplay } from './display.js'
import { busiest, type Expected, expectedOf, type FlightRecord } from './expected.js'
import { createInput, feed, loadFlights } from './feed.js'
import { killEach, type Recovery, victimsOf } from './kills.js'
import { alterOutput, followOutput, readOutput } from './output.js'
import { Watch } from './watch.js'

interface Options {
  readonly kill: boolean
  /** Alters one output before the comparison, which must then fail. */
  readonly tamper: boolean
  readonly display: Display
  readonly signal: AbortSignal
}

const deadlineMs = 240_000
/** The feed is at most so many records ahead of the output. */
const aheadMax = 4_000
/** While a kill is still to come, the feed stops at this share of the input. */
const heldAt = 0.9
/** Source, two of delays, sink, coordinator. */
const processesMin = 5

/** The job as its author wrote it; the processes load the TypeScript file themselves. */
const jobFile = fileURLToPath(
  new URL('examples/flights/job.ts', import.meta.resolve('sluice/package.json')),
)

/** What is left to close, the latest first. */
type Closers = (() => Promise<void>)[]

/** Runs everything and closes everything. True if the outputs are the expected ones. */
const demo = async (options: Options): Promise<boolean> => {
  const { display, signal } = options
  const closers: Closers = []
  try {
    const flights = await loadFlights()
    const servers = await startServers({ say: text => display.say(text) })
    closers.push(() => servers.stop())
    display.servers(servers)
    const nats = await connect({ servers: servers.natsUrl, name: 'flights demo' })
    closers.push(() => nats.close())
    signal.throwIfAborted()
    const expected = expectedOf(flights)
    const run = await runJob(flights, nats, servers, closers, options)
    if (options.tamper) await alterOutput(nats)
    const comparison = compare(await readOutput(nats), expected)
    return report(run, comparison, expected, options)
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

interface Run {
  readonly watch: Watch
  readonly recoveries: readonly Recovery[]
  readonly durationMs: number
}

/** Resolves when the job has finished by itself. */
const runJob = async (
  flights: readonly FlightRecord[],
  nats: NatsConnection,
  servers: { readonly natsUrl: string; readonly redisUrl: string },
  closers: Closers,
  { kill, display, signal }: Options,
): Promise<Run> => {
  const startedAt = performance.now()
  const watch = new Watch(signal)
  await createInput(nats)
  const job = await startJob({
    jobFile,
    natsUrl: servers.natsUrl,
    redisUrl: servers.redisUrl,
    onEvent: event => {
      watch.hear(event)
      display.event(event)
    },
  })
  closers.push(() => job.stop())
  void job.outcome.then(outcome => watch.hasEnded(outcome))

  const victims = kill ? victimsOf(flights.length) : []
  const recoveries: Recovery[] = []
  const mayFeed = (): number => {
    const held = recoveries.length < victims.length ? heldAt : 1
    return Math.min(watch.outputs + aheadMax, flights.length * held)
  }
  const room = (): Promise<void> => watch.until('room for input', () => watch.fed < mayFeed())
  const show = (): void => display.progress(watch, flights.length)
  await Promise.all([
    watch.until('the job to finish', () => watch.finished),
    followOutput(
      nats,
      records => {
        watch.hasOutputs(records)
        show()
      },
      () => watch.isOver,
    ),
    feed(nats, flights, room, records => {
      watch.hasFed(records)
      show()
    }),
    killEach(victims, job, watch, {
      onKill: done => display.kill(done),
      onRecovery: recovery => {
        recoveries.push(recovery)
        display.recovery(recovery)
      },
    }),
  ])
  return { watch, recoveries, durationMs: Math.round(performance.now() - startedAt) }
}

/** Prints the outcome. True if everything is as it must be. */
const report = (
  { watch, recoveries, durationMs }: Run,
  { faults, ...counts }: Comparison,
  expected: Expected,
  { kill, display }: Options,
): boolean => {
  display.table(busiest(expected, 10))
  for (const fault of faults) display.say(fault)
  const total = [...expected.values()].reduce((sum, outputs) => sum + outputs.length, 0)
  const kills = recoveries.length
  const { generation: generations, processesMax: processes } = watch
  const passed =
    counts.records === total &&
    counts.missing === 0 &&
    counts.duplicated === 0 &&
    counts.wrong === 0 &&
    kills === (kill ? victimsOf(total).length : 0) &&
    generations > kills &&
    processes >= processesMin
  display.say(
    passed
      ? `all ${total} outputs are exactly those of a plain loop over the same flights`
      : 'the outputs are NOT those of a plain loop over the same flights',
  )
  display.result({
    passed,
    records: counts.records,
    kills,
    generations,
    missing: counts.missing,
    duplicated: counts.duplicated,
    wrong: counts.wrong,
    processes,
    processesEver: watch.pids.size,
    checkpoint: watch.completed,
    recoveriesMs: recoveries.map(recovery => recovery.durationMs),
    durationMs,
  })
  return passed
}

interface Flags {
  readonly 'no-kill': boolean
  readonly json: boolean
  readonly tamper: boolean
}

/** Undefined: wrong usage. */
const flagsOf = (args: string[]): Flags | undefined => {
  const flag = { type: 'boolean', default: false } as const
  try {
    return parseArgs({ args, options: { 'no-kill': flag, json: flag, tamper: flag } }).values
  } catch {
    return undefined
  }
}

/** The exit code: 0 passed, 1 not, 2 wrong usage, 128 + n ended by signal n. */
const main = async (): Promise<number> => {
  const flags = flagsOf(process.argv.slice(2))
  if (flags === undefined) {
    process.stderr.write('usage: npm run demo -- [--no-kill] [--json] [--tamper]\n')
    return 2
  }
  const interrupt = new AbortController()
  let code = 1
  const onSignal = (name: NodeJS.Signals): void => {
    code = 128 + constants.signals[name]
    interrupt.abort(new Error(`stopped by ${name}`))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const giveUp = setTimeout(
    () => interrupt.abort(new Error(`gave up after ${deadlineMs / 1_000} s`)),
    deadlineMs,
  )
  try {
    const passed = await demo({
      kill: !flags['no-kill'],
      tamper: flags.tamper,
      display: makeDisplay(flags.json),
      signal: interrupt.signal,
    })
    return passed ? 0 : 1
  } catch (error) {
    process.stderr.write(`demo: ${error instanceof Error ? error.message : error}\n`)
    return code
  } finally {
    clearTimeout(giveUp)
  }
}

process.exitCode = await main()
