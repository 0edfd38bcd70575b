/**
 * How each server is configured and how it shows that it is ready.
 *
 * Invariant
 *   ES1. Only the very process that was started counts as ready: whoever took its port in the
 *       meantime may speak the same protocol. nats-server is known by a name drawn for it, redis-
 *       server by its process id.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { NatsServerOptions, RedisServerOptions, ServerName } from './options.js'
import { LOOPBACK } from './port.js'
import { ask } from './probe.js'

/** All that is needed to run one server. */
export interface ServerSpec {
  readonly name: ServerName
  readonly binary: string
  /** Holds the server's configuration, log and data; nothing else is written by it. */
  readonly folder: string
  /** The text of the configuration file. Passwords are in it, never on a command line. */
  configure(port: number): string
  args(configFile: string): readonly string[]
  /** Added to this process's own environment, whose values come first. */
  readonly environment?: Readonly<Record<string, string>>
  /** Whether that process answers on that port, and with everything that was asked for. */
  isReady(port: number, pid: number): Promise<boolean>
}

/**
 * How much garbage nats-server collects before it cleans up, in percent of what is alive (Go's
 * GOGC). With Go's own 100 its memory swings between once and twice what it needs.
 */
const garbagePercent = 25

/** A nats-server with its JetStream store in the folder. */
export const natsSpec = (
  binary: string,
  folder: string,
  options: NatsServerOptions,
): ServerSpec => {
  const serverName = `sluice-${randomUUID()}`
  const jetstream = options.jetstream ?? true
  return {
    name: 'nats',
    binary,
    folder,
    configure: port => {
      const lines = [`listen: "${LOOPBACK}:${port}"`, `server_name: "${serverName}"`]
      if (jetstream) lines.push(`jetstream { store_dir: ${quote(join(folder, 'jetstream'))} }`)
      if (options.maxPayloadBytes !== undefined) {
        lines.push(`max_payload: ${options.maxPayloadBytes}`)
      }
      if (options.user !== undefined || options.password !== undefined) {
        const user = quote(options.user ?? '')
        lines.push(`authorization { user: ${user}, password: ${quote(options.password ?? '')} }`)
      }
      return `${lines.join('\n')}\n`
    },
    args: configFile => ['--config', configFile],
    environment: { GOGC: `${garbagePercent}` },
    isReady: async port => {
      const info = await ask(port, '', natsInfo)
      if (info?.server_name !== serverName) return false // ES1
      return !jetstream || info.jetstream === true
    },
  }
}

/** A redis-server with its append-only file in the folder. */
export const redisSpec = (
  binary: string,
  folder: string,
  options: RedisServerOptions,
): ServerSpec => ({
  name: 'redis',
  binary,
  folder,
  configure: port => {
    const lines = [
      `bind ${LOOPBACK}`,
      `port ${port}`,
      'protected-mode yes',
      'daemonize no',
      'set-proc-title no', // So that the process list shows whose it is: the folder.
      `dir ${quote(folder)}`,
      'save ""',
      `appendonly ${(options.appendOnly ?? true) ? 'yes' : 'no'}`,
      `appendfsync ${options.appendFsync ?? 'everysec'}`,
      `maxmemory-policy ${options.maxmemoryPolicy ?? 'noeviction'}`,
    ]
    if (options.password !== undefined) lines.push(`requirepass ${quote(options.password)}`)
    return `${lines.join('\n')}\n`
  },
  args: configFile => [configFile],
  isReady: async (port, pid) => {
    const login = options.password === undefined ? '' : command('AUTH', options.password)
    const question = login + command('PING') + command('INFO', 'server')
    return (await ask(port, question, received => redisAnswer(received, pid))) ?? false
  },
})

interface NatsInfo {
  readonly server_name?: unknown
  readonly jetstream?: unknown
}

/** What the banner says that a nats-server sends to whoever connects. */
const natsInfo = (received: string): NatsInfo | undefined => {
  const banner = /^INFO (\{.*\}) *\r\n/.exec(received)?.[1]
  if (banner === undefined) return undefined
  try {
    const info: unknown = JSON.parse(banner)
    return typeof info === 'object' && info !== null ? info : undefined
  } catch {
    return undefined // Not a nats-server.
  }
}

/** True for that process's PONG; an error, as while it still loads its data, is a no. */
const redisAnswer = (received: string, pid: number): boolean | undefined => {
  if (/^-/m.test(received)) return false
  const answering = /^process_id:(\d+)\r$/m.exec(received)?.[1]
  if (answering === undefined) return undefined
  return received.includes('+PONG\r\n') && Number(answering) === pid // ES1
}

const command = (...words: readonly string[]): string =>
  `*${words.length}\r\n${words.map(word => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`

/** A string for either server's configuration: both read \xHH within double quotes as one byte. */
const quote = (text: string): string => {
  const safe = /[A-Za-z0-9_/.-]/
  const bytes = [...Buffer.from(text)].map(byte => {
    const char = String.fromCharCode(byte)
    return safe.test(char) ? char : `\\x${byte.toString(16).padStart(2, '0')}`
  })
  return `"${bytes.join('')}"`
}
