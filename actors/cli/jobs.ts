/** `sluice dev` and `sluice up`: a whole job, supervised from this process. */
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { Plan } from '../../lib/job/plan.js'
import { memoryRisk, type StateBackend } from '../../lib/job/state-backend.js'
import { givenUp } from '../claim.js'
import { probe, type Servers, startEmbeddedServers } from '../deploy.js'
import { exitCodes } from '../ipc.js'
import { loadJob } from '../load-job.js'
import { type JobOutcome, Supervisor } from '../supervisor.js'
import type { Printer } from './output.js'

/** How a job is begun, if not where it was. */
export interface Beginning {
  readonly fresh: boolean
  /** A checkpoint: `<job>` or `<job>/<checkpoint>`. */
  readonly from: string | undefined
}

/** Runs a job on given servers until it ends or Ctrl-C stops it. */
export const upCommand = async (
  file: string,
  options: Beginning & { readonly servers: Servers },
  printer: Printer,
): Promise<number> => {
  const plan = await loadJob(file)
  if (E.isLeft(plan)) {
    printer.error(plan.left)
    return exitCodes.invalid
  }
  return supervise(file, plan.right, options.servers, options, printer)
}

/** Runs a job on servers of its own, which are gone afterwards. */
export const devCommand = async (
  file: string,
  options: Beginning & { readonly data: string | undefined },
  printer: Printer,
): Promise<number> => {
  const plan = await loadJob(file)
  if (E.isLeft(plan)) {
    printer.error(plan.left)
    return exitCodes.invalid
  }
  const folder = options.data === undefined ? undefined : resolve(options.data)
  if (folder !== undefined) mkdirSync(folder, { recursive: true })
  const servers = await startEmbeddedServers({
    say: printer.say,
    ...(folder === undefined ? {} : { folder }),
  })()
  if (E.isLeft(servers)) {
    printer.error(servers.left)
    return exitCodes.invalid
  }
  const { natsUrl, redisUrl } = servers.right
  printer.say(`embedded servers: NATS at ${natsUrl}, Redis at ${redisUrl}`)
  try {
    return await supervise(file, plan.right, { natsUrl, redisUrl }, options, printer)
  } finally {
    await servers.right.stop()()
  }
}

const supervise = async (
  file: string,
  plan: Plan,
  servers: Servers,
  { fresh, from }: Beginning,
  printer: Printer,
): Promise<number> => {
  const usable = await probe(servers, plan)
  if (E.isLeft(usable)) {
    printer.error(usable.left)
    return exitCodes.invalid
  }
  const risk = riskOf(plan, usable.right)
  if (risk !== undefined) printer.say(risk)
  const supervisor = new Supervisor({
    jobFile: file,
    plan,
    servers,
    fresh,
    from,
    onEvent: printer.event,
  })
  const stop = (): void => {
    printer.say(stoppingSays(usable.right))
    void supervisor.stop()
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  supervisor.start()
  const outcome = await supervisor.outcome
  process.off('SIGINT', stop)
  process.off('SIGTERM', stop)
  return tell(plan.job, outcome, printer)
}

/** What may be lost, before anything is started. */
const riskOf = ({ graph }: Plan, backend: StateBackend): string | undefined => {
  if (backend.type === 'memory') {
    const chosen = graph.settings.stateBackend?.type === 'memory'
    const why = chosen ? "state backend 'memory'" : 'no Redis is configured'
    return `${why}: ${memoryRisk(backend.stateBytesMax)}`
  }
  const risk = givenUp(graph.durability)
  return risk === undefined ? undefined : `durability '${graph.durability}': ${risk}`
}

const stoppingSays = ({ type }: StateBackend): string =>
  type === 'memory'
    ? "stopping; the job's state is gone with its coordinator"
    : 'stopping; the job goes on from its latest checkpoint when it is started again'

const tell = (job: string, outcome: JobOutcome, printer: Printer): number => {
  if (outcome.type === 'stopped') {
    printer.result({ job, status: 'stopped' }, `job '${job}' is stopped`)
    return exitCodes.ok
  }
  if (outcome.type === 'error') {
    const { message, next } = outcome
    printer.error({ type: 'invalid', message, ...(next === undefined ? {} : { next }) })
    return exitCodes.invalid
  }
  const { status, reason } = outcome
  if (status === 'failed') {
    printer.error({
      type: 'invalid',
      message: `job '${job}' failed: ${reason ?? 'no reason given'}`,
    })
    return exitCodes.failed
  }
  printer.result({ job, status, reason }, `job '${job}' is ${status}`)
  return exitCodes.ok
}
