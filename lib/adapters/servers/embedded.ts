/**
 * Embedded servers: a real nats-server and a real redis-server for as long as this process lives.
 *
 * They listen on the loopback address only, write into one folder only, and are gone with this
 * process however it ends, since a keeper process owns them (see keeper.ts).
 */
import { resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../errors.js'
import { findBinaries } from './binaries.js'
import { KeeperClient } from './keeper-client.js'
import type { KeeperRequest, ServerExit } from './keeper-messages.js'
import type { NatsServerOptions, RedisServerOptions, ServerName } from './options.js'
import { LOOPBACK } from './port.js'
import { type System, thisSystem } from './system.js'

export type { ServerExit } from './keeper-messages.js'
export type { NatsServerOptions, RedisServerOptions, ServerName } from './options.js'

/** Which servers, where, and how. */
export interface ServersOptions {
  /** Told what is being done where that takes long or changes the machine. Default: nobody. */
  readonly say?: (line: string) => void
  /** Kept when the servers end, and found again by the next ones. Default: a temporary one. */
  readonly folder?: string
  /** Whether nats-server is wanted. Default: true. */
  readonly nats?: boolean
  /** Whether redis-server is wanted. Default: true. */
  readonly redis?: boolean
  readonly natsOptions?: NatsServerOptions
  readonly redisOptions?: RedisServerOptions
}

/** The ids of the processes that run now. */
export interface ServerPids {
  readonly keeper: number
  readonly nats?: number
  readonly redis?: number
}

/** Running servers. Every call is carried out after those before it; `stop()` overtakes them. */
export interface Servers {
  /** Where nats-server listens, with the credentials if it has any. Empty if it was not wanted. */
  readonly natsUrl: string
  /** Where redis-server listens, with the password if it has one. Empty if it was not wanted. */
  readonly redisUrl: string
  /** Holds everything that the servers write. */
  readonly folder: string
  pids(): TaskEither<StreamError, ServerPids>
  /** Sends SIGKILL. Resolves when the process is gone; does nothing if it does not run. */
  kill(which: ServerName): TaskEither<StreamError, void>
  /** Starts it on its folder and its port. Resolves when it answers; does nothing if it runs. */
  start(which: ServerName): TaskEither<StreamError, void>
  /** Stops it in good order and starts it on its folder and its port. */
  restart(which: ServerName): TaskEither<StreamError, void>
  /** Stops that server in good order; without a name all of them, for good. Resolves when gone. */
  stop(which?: ServerName): TaskEither<StreamError, void>
  /** Calls back for each server that ends unasked, until the returned function is called. */
  onExit(callback: (exit: ServerExit) => void): () => void
}

/**
 * Starts the servers, and installs them first where they are missing and that needs no password.
 * Resolves when they answer. Left: 'missing' with the command to type, 'unavailable' with the last
 * lines of the log of a server that did not start, 'conflict' when another server runs in the
 * folder, 'invalid' options.
 */
export const startServers =
  (options: ServersOptions = {}, system: System = thisSystem): TaskEither<StreamError, Servers> =>
  async () => {
    const problem = problemOf(options)
    if (problem !== undefined) return E.left(streamError('invalid', problem))
    const wanted: ServerName[] = []
    if (options.nats ?? true) wanted.push('nats')
    if (options.redis ?? true) wanted.push('redis')
    const binaries = await findBinaries(wanted, options.say ?? (() => undefined), system)()
    if (E.isLeft(binaries)) return binaries
    const keeper = new KeeperClient()
    const opened = await keeper.request({
      type: 'open',
      plan: {
        ...(options.folder === undefined ? {} : { folder: resolve(options.folder) }),
        binaries: binaries.right,
        nats: options.natsOptions ?? {},
        redis: options.redisOptions ?? {},
      },
    })
    if (E.isLeft(opened)) {
      await keeper.close()
      return opened
    }
    return E.right(serversOf(keeper, options))
  }

/** What would not fit the servers' configuration files, or is not what was meant. */
const problemOf = ({ natsOptions = {}, redisOptions = {} }: ServersOptions): string | undefined => {
  const { user, password, maxPayloadBytes } = natsOptions
  if ((user === undefined) !== (password === undefined)) {
    return 'NATS needs both a user and a password, or neither'
  }
  if (user === '' || password === '' || redisOptions.password === '') {
    return 'a user or password of a server must not be empty'
  }
  if (
    maxPayloadBytes !== undefined &&
    !(Number.isInteger(maxPayloadBytes) && maxPayloadBytes > 0)
  ) {
    return `maxPayloadBytes must be a positive whole number, not ${maxPayloadBytes}`
  }
  return undefined
}

const serversOf = (keeper: KeeperClient, options: ServersOptions): Servers => {
  const ask =
    (request: KeeperRequest): TaskEither<StreamError, void> =>
    () =>
      keeper.request(request)
  const { natsOptions = {}, redisOptions = {} } = options
  return {
    natsUrl: urlOf(keeper, 'nats', natsOptions.user, natsOptions.password),
    redisUrl: urlOf(keeper, 'redis', '', redisOptions.password),
    folder: keeper.holding?.folder ?? '',
    pids: () => async () => {
      const reported = await keeper.request({ type: 'report' })
      return E.isLeft(reported) ? reported : E.right(pidsOf(keeper))
    },
    kill: server => ask({ type: 'kill', server }),
    start: server => ask({ type: 'start', server }),
    restart: server => ask({ type: 'restart', server }),
    stop: server => (server === undefined ? () => keeper.close() : ask({ type: 'stop', server })),
    onExit: callback => keeper.onExit(callback),
  }
}

const pidsOf = (keeper: KeeperClient): ServerPids => {
  const { nats, redis } = keeper.holding?.servers ?? {}
  return {
    keeper: keeper.pid ?? 0,
    ...(nats?.pid === undefined ? {} : { nats: nats.pid }),
    ...(redis?.pid === undefined ? {} : { redis: redis.pid }),
  }
}

const urlOf = (
  keeper: KeeperClient,
  name: ServerName,
  user: string | undefined,
  password: string | undefined,
): string => {
  const port = keeper.holding?.servers[name]?.port
  if (port === undefined) return ''
  const login =
    password === undefined
      ? ''
      : `${encodeURIComponent(user ?? '')}:${encodeURIComponent(password)}@`
  return `${name}://${login}${LOOPBACK}:${port}`
}
