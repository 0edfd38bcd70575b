/**
 * Running jobs from a program: what `sluice dev` and `sluice up` do, as functions.
 *
 * Everything here returns promises; an expected failure rejects with a `SluiceError`, whose `error` says
 * in one sentence what happened and in one more what to do.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { ServersOptions } from '../lib/adapters/servers/embedded.js'
import { SluiceError, type StreamError } from '../lib/errors.js'
import { probe, startEmbeddedServers } from './deploy.js'
import { environmentWith } from './load-configuration.js'
import { loadJob } from './load-job.js'
import { type JobEvent, type RunningJob, Supervisor } from './supervisor.js'

export { SluiceError, type StreamError } from '../lib/errors.js'
export type { JobProgress } from './ipc.js'
export type { JobEvent, JobOutcome, RunningJob } from './supervisor.js'

/** What `startServers` takes. */
export type EmbeddedServersOptions = ServersOptions

/** A real nats-server and redis-server as child processes. They end with this process, even if it is killed. */
export interface EmbeddedServers {
  readonly natsUrl: string
  readonly redisUrl: string
  /** Holds everything that the servers write; a temporary one is removed when they stop. */
  readonly folder: string
  /** Sends SIGKILL to one of them; resolves when it is gone. */
  kill(which: 'nats' | 'redis'): Promise<void>
  /** Starts one of them again, on its folder and its port; resolves when it answers. */
  start(which: 'nats' | 'redis'): Promise<void>
  stop(): Promise<void>
}

const orThrow = async <A>(task: TaskEither<StreamError, A>): Promise<A> => {
  const result = await task()
  if (E.isLeft(result)) throw new SluiceError(result.left)
  return result.right
}

/**
 * Starts both servers on free ports of 127.0.0.1, and installs them first where they are missing and
 * that needs no password. Rejects with `missing` and the command to type where it does.
 */
export const startServers = async (
  options: EmbeddedServersOptions = {},
): Promise<EmbeddedServers> => {
  const servers = await orThrow(startEmbeddedServers(options))
  return {
    natsUrl: servers.natsUrl,
    redisUrl: servers.redisUrl,
    folder: servers.folder,
    kill: which => orThrow(servers.kill(which)),
    start: which => orThrow(servers.start(which)),
    stop: () => orThrow(servers.stop()),
  }
}

/** What `startJob` takes. */
export interface StartJobOptions {
  /** A TypeScript or JavaScript file that exports a job by default. */
  readonly jobFile: string
  readonly natsUrl: string
  readonly redisUrl: string
  /** The configuration file. Default: what `SLUICE_CONFIG` names, or the one in the working directory. */
  readonly config?: string
  /** Gives up the job's stored state and starts it from nothing. Default: false. */
  readonly fresh?: boolean
  /**
   * Starts a new job from a kept checkpoint: `<job>`, the newest that it keeps, or `<job>/<id>`. Nothing
   * of that job is changed. Default: none.
   */
  readonly from?: string
  /** Told everything that happens. Default: nobody. */
  readonly onEvent?: (event: JobEvent) => void
}

/**
 * Runs a job, one process per subtask and one for the coordinator, and starts again what dies. A job that
 * ran before goes on from its latest checkpoint. Rejects when the job file or a server cannot be used.
 */
export const startJob = async (options: StartJobOptions): Promise<RunningJob> => {
  const { jobFile, natsUrl, redisUrl, config, fresh = false, from, onEvent = () => {} } = options
  const environment = environmentWith(config)
  const plan = await loadJob(jobFile, environment)
  if (E.isLeft(plan)) throw new SluiceError(plan.left)
  const servers = { natsUrl, redisUrl }
  const usable = await probe(servers, plan.right.graph.durability)
  if (E.isLeft(usable)) throw new SluiceError(usable.left)
  const supervisor = new Supervisor({
    jobFile,
    plan: plan.right,
    servers,
    environment,
    fresh,
    from,
    onEvent,
  })
  supervisor.start()
  return supervisor
}
