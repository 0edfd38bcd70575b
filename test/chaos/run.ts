/** One run: the flights example on fresh servers, with processes killed as the plan says. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import { loadJob } from '../../actors/load-job.js'
import { compare } from '../../examples/flights/compare.js'
import { expectedOf } from '../../examples/flights/expected.js'
import { loadFlights } from '../../examples/flights/feed.js'
import { connectRedis } from '../../lib/adapters/redis/connection.js'
import { redisJobStore } from '../../lib/adapters/redis/store.js'
import { messageOf } from '../../lib/errors.js'
import { leftovers } from './leftovers.js'
import { describeFault, describePlan, type Fault, type RunPlan, type Target } from './plan.js'
import { Supervised } from './supervised.js'
import { done, feed, openWorld, outputCount, readOutput, type World } from './world.js'

/** What came of one run. */
export interface RunResult {
  readonly run: number
  /** Processes that were killed; a fault whose moment never came kills none. */
  readonly kills: readonly string[]
  readonly generations: number
  readonly missing: number
  readonly duplicated: number
  readonly wrong: number
  /** Empty: the run is as it must be. */
  readonly failures: readonly string[]
  /** What happened in the run. */
  readonly logFile: string | undefined
  readonly seconds: number
}

const at = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** The jobs that runs are made of: the example, and the same with an output that waits for no checkpoint. */
export const chaosJobs = {
  example: at('../../examples/flights/job.js'),
  'at-once': at('./at-once-job.js'),
} as const
export type ChaosJob = keyof typeof chaosJobs

const jobName = 'flights'
const expectedRecords = 20_000
const deadlineMs = 180_000
const pollMs = 4
const outputPollMs = 20

/** What a plan can choose from. */
export const subtasksOf = async (job: ChaosJob): Promise<readonly string[]> => {
  const plan = await loadJob(chaosJobs[job])
  if (E.isLeft(plan)) throw new Error(plan.left.message)
  return plan.right.subtasks.map(subtask => subtask.id)
}

/**
 * Runs the example once. What happened is written to a file when the run failed, or always if `keep`
 * says so. Rejects only when the servers cannot be started.
 */
export const chaosRun = async (
  plan: RunPlan,
  job: ChaosJob = 'example',
  keep = false,
): Promise<RunResult> => {
  const startedAt = performance.now()
  const folder = await mkdtemp(join(tmpdir(), 'sluice-chaos-'))
  try {
    const jobFile = join(folder, 'job.mjs')
    // A file of the run's own, so that its processes can be told from those of others.
    const source = `export { default } from ${JSON.stringify(pathToFileURL(chaosJobs[job]))}\n`
    await writeFile(jobFile, source)
    await mkdir(join(folder, 'servers'))
    const world = await openWorld(join(folder, 'servers'))
    const run = new Run(plan, world, jobFile)
    const facts = await run.play().finally(() => world.close())
    const logFile = keep || facts.failures.length > 0 ? await run.keepLog() : undefined
    return { ...facts, run: plan.run, logFile, seconds: (performance.now() - startedAt) / 1_000 }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

type Facts = Omit<RunResult, 'run' | 'logFile' | 'seconds'>

class Run {
  private readonly startedAt = performance.now()
  private readonly lines: string[] = []
  private readonly supervised: Supervised
  private readonly kills: string[] = []
  private readonly returns: Promise<void>[] = []
  private readonly failures: string[] = []
  /** How often the last victim's role had been started when it was killed. */
  private startsBefore = 0
  private counted = 0
  private countedAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly plan: RunPlan,
    private readonly world: World,
    private readonly jobFile: string,
  ) {
    const { natsUrl, redisUrl } = world.servers
    this.supervised = new Supervised({
      jobFile,
      natsUrl,
      redisUrl,
      say: text => this.say(text),
      serversAway: () => world.away.size > 0,
      outages: () => world.outages,
    })
  }

  async play(): Promise<Facts> {
    this.say(`seed ${this.plan.seed}, run ${this.plan.run}: ${describePlan(this.plan)}`)
    const flights = await loadFlights()
    const stopFeeding = new AbortController()
    const fed = feed(this.world.log, flights, this.plan.feedMs, stopFeeding.signal)
    if (this.plan.feedMs === 0) await fed
    this.supervised.start()
    try {
      await this.strikeAll()
      await this.until('the job has ended', () => this.supervised.ended !== undefined)
      const { ended } = this.supervised
      if (ended?.type === 'failed') this.failures.push(ended.reason)
    } catch (thrown) {
      this.failures.push(messageOf(thrown))
    } finally {
      stopFeeding.abort()
      await Promise.all(this.returns)
      await fed
      this.supervised.dispose()
    }
    return this.judge(expectedOf(flights))
  }

  /** Writes what happened to a file that stays, and returns its path. */
  async keepLog(): Promise<string> {
    const { seed, run } = this.plan
    const file = join(tmpdir(), `sluice-chaos-seed-${seed}-run-${run}-${process.pid}.log`)
    await writeFile(file, `${this.lines.join('\n')}\n`)
    return file
  }

  private get elapsedMs(): number {
    return Math.round(performance.now() - this.startedAt)
  }

  private say(text: string): void {
    this.lines.push(`${String(this.elapsedMs).padStart(7)} ${text}`)
  }

  private async strikeAll(): Promise<void> {
    let before: Fault | undefined
    for (const fault of this.plan.faults) {
      await this.moment(fault, before)
      const struck = await this.strike(fault)
      if (this.supervised.ended !== undefined) return
      if (struck) before = fault
    }
  }

  /** Waits for the fault's moment, or for the job's end. */
  private async moment({ moment }: Fault, before: Fault | undefined): Promise<void> {
    const { heard, starts } = this.supervised
    const notes = (name: string): number => heard.get(name) ?? 0
    const isEnded = (): boolean => this.supervised.ended !== undefined
    switch (moment.type) {
      case 'elapsed':
        await this.pass(moment.ms)
        return
      case 'running': {
        const seen = notes('running')
        await this.until('a generation runs', () => isEnded() || notes('running') > seen)
        await this.pass(moment.ms)
        return
      }
      case 'checkpoint': {
        const wanted = notes('checkpoint-completed') + moment.count
        const come = (): boolean => isEnded() || notes('checkpoint-completed') >= wanted
        await this.until(`${moment.count} checkpoints completed`, come)
        await this.pass(moment.ms)
        return
      }
      case 'output': {
        const wanted = moment.share * expectedRecords
        const what = `${Math.round(wanted)} records are in the output`
        await this.until(what, async () => isEnded() || (await this.outputs()) >= wanted)
        await this.pass(moment.ms)
        return
      }
      case 'respawned': {
        const role = before?.target ?? 'supervisor'
        const seen = before === undefined ? 0 : this.startsBefore
        const again = (): boolean => isEnded() || isServer(role) || (starts.get(role) ?? 0) > seen
        await this.until(`${role} is started again`, again)
        await this.pass(moment.ms)
      }
    }
  }

  /** Kills, once there is something to kill. False when the job ended before. */
  private async strike(fault: Fault): Promise<boolean> {
    const { target, downMs } = fault
    if (this.supervised.ended !== undefined) return false
    if (isServer(target)) {
      this.note(fault)
      await this.world.kill(target)
      this.returns.push(this.bringBack(target, downMs))
      return true
    }
    const { supervised } = this
    const alive = (): boolean => supervised.pidOf(target) !== undefined
    await this.until(`${target} lives`, () => supervised.ended !== undefined || alive())
    const pid = supervised.pidOf(target)
    this.startsBefore = supervised.starts.get(target) ?? 0
    if (supervised.ended !== undefined || !supervised.kill(target)) return false
    this.note(fault, pid)
    if (target === 'supervisor') this.returns.push(this.startAgain(downMs))
    return true
  }

  private async bringBack(server: 'nats' | 'redis', downMs: number): Promise<void> {
    await delay(downMs)
    try {
      await this.world.start(server)
      this.say(`${server} is back`)
    } catch (thrown) {
      this.failures.push(`${server} cannot be started again: ${messageOf(thrown)}`)
    }
  }

  private async startAgain(downMs: number): Promise<void> {
    await delay(downMs)
    this.supervised.start()
  }

  private note(fault: Fault, pid?: number): void {
    const who = pid === undefined ? '' : ` (process ${pid})`
    this.say(`KILL ${describeFault(fault)}${who}`)
    this.kills.push(`${fault.target} at ${(this.elapsedMs / 1_000).toFixed(2)} s`)
  }

  private async outputs(): Promise<number> {
    if (this.world.away.has('nats')) return 0
    if (performance.now() - this.countedAt < outputPollMs) return this.counted
    this.countedAt = performance.now()
    this.counted = await outputCount(this.world.log)
    return this.counted
  }

  private async pass(ms: number): Promise<void> {
    const at = performance.now() + ms
    await this.until(
      `${ms} ms`,
      () => this.supervised.ended !== undefined || performance.now() >= at,
    )
  }

  private async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await condition())) {
      if (this.failures.length > 0) throw new Error(`given up: ${what}`)
      if (this.elapsedMs > deadlineMs)
        throw new Error(`hangs: not within ${deadlineMs} ms: ${what}`)
      await delay(pollMs)
    }
  }

  private async judge(expected: ReturnType<typeof expectedOf>): Promise<Facts> {
    const { log } = this.world
    const outputs = await readOutput(log).catch((thrown: unknown) => {
      this.failures.push(`the output cannot be read: ${messageOf(thrown)}`)
      return []
    })
    const { missing, duplicated, wrong, faults } = compare(outputs, expected)
    this.failures.push(...faults)
    this.failures.push(...(await leftovers(this.world, this.jobFile)))
    for (const failure of this.failures) this.say(`FAILURE ${failure}`)
    const generations = await this.generations()
    return { kills: this.kills, generations, missing, duplicated, wrong, failures: this.failures }
  }

  private async generations(): Promise<number> {
    const { redisUrl } = this.world.servers
    const redis = await done(
      connectRedis({ url: redisUrl, name: 'chaos', role: 'control', onStatus: () => {} }),
    )
    try {
      return (await done(redisJobStore(redis).describe(jobName)))?.generation ?? 0
    } finally {
      await redis.close()
    }
  }
}

const isServer = (target: Target): target is 'nats' | 'redis' =>
  target === 'nats' || target === 'redis'
