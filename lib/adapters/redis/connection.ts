/**
 * Connections to Redis.
 *
 * The coordinator's connection fails fast: a command without an answer is an error within seconds,
 * never a queue, because an unanswered write must be re-read and not repeated behind its back. A
 * snapshot's connection may queue and resend: its writes are idempotent. The two are never shared, so
 * that an upload cannot hold up a lease (P13).
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { Redis, type RedisOptions } from 'ioredis'
import { messageOf, type StreamError, streamError } from '../../errors.js'
import { redisError } from './errors.js'

/** What a connection is for: the first fails fast, the second queues and resends. */
export type RedisRole = 'control' | 'snapshots'

/** Changes of an established connection. Tries in between are not reported. */
export type RedisStatus =
  | { readonly type: 'lost'; readonly error: StreamError }
  | { readonly type: 'restored' }

/** An established connection. */
export interface RedisConnection {
  readonly redis: Redis
  /** The server without credentials, for messages. */
  readonly place: string
  /** Waits for answers under way, then closes. Never fails. */
  close(): Promise<void>
}

/** What `connectRedis` takes. */
export interface RedisRequest {
  /** `redis://user:password@host:port/db`, or `rediss://` for TLS. */
  readonly url: string
  /** Shown by the server in `CLIENT LIST`. */
  readonly name: string
  readonly role: RedisRole
  readonly onStatus: (status: RedisStatus) => void
  /** A command without an answer for this long has timed out. Default 2 000, for snapshots 30 000. */
  readonly commandTimeoutMs?: number
}

const connectTimeoutMs = 5_000

/** Opens one connection and waits until the server is ready. One try: the caller decides on more. */
export const connectRedis =
  (request: RedisRequest): TaskEither<StreamError, RedisConnection> =>
  async () => {
    const place = placeOf(request.url)
    if (place === undefined) return E.left(invalidUrl)
    const redis = new Redis(request.url, optionsOf(request))
    const watch = watchStatus(redis, place, request.onStatus)
    try {
      await beforeDeadline(redis.connect(), connectTimeoutMs)
    } catch (thrown) {
      redis.disconnect()
      // `connect` only says that the connection was closed; the reason came as an event before.
      return E.left(redisError(place, 'connect', handshakeError(watch.lastError() ?? thrown)))
    }
    watch.established()
    return E.right({ redis, place, close: () => close(redis, watch.closing) })
  }

/** A handshake without an answer leaves nothing unknown: the server is not reachable as Redis. */
const handshakeError = (thrown: unknown): unknown =>
  /Command timed out/.test(messageOf(thrown))
    ? new Error('ETIMEDOUT: no answer to the handshake')
    : thrown

const invalidUrl = streamError('invalid', 'the Redis URL cannot be read', {
  next: 'Write it as redis://user:password@host:port/db.',
})

/** The URL without its credentials; undefined when it is none. */
const placeOf = (url: string): string | undefined => {
  if (!/^rediss?:\/\//i.test(url) || !URL.canParse(url)) return undefined
  const { protocol, hostname, port, pathname } = new URL(url)
  if (hostname === '') return undefined
  return `${protocol}//${hostname}:${port === '' ? '6379' : port}${pathname === '/' ? '' : pathname}`
}

const optionsOf = ({
  role,
  name,
  commandTimeoutMs,
}: RedisRequest): RedisOptions & { replyMapping: 'legacy' } => {
  const control = role === 'control'
  const timeoutMs = commandTimeoutMs ?? (control ? 2_000 : 30_000)
  return {
    lazyConnect: true,
    connectionName: name,
    disableClientInfo: true,
    connectTimeout: connectTimeoutMs,
    commandTimeout: timeoutMs,
    // A server that vanished without a word: the commands time out, and then the socket goes too.
    socketTimeout: timeoutMs * 2,
    keepAlive: 10_000,
    enableReadyCheck: true,
    enableOfflineQueue: !control,
    autoResendUnfulfilledCommands: !control,
    // 0 fails commands under way when the connection breaks. Without resending, any other number
    // would leave them unanswered until they time out.
    maxRetriesPerRequest: control ? 0 : 10,
    enableAutoPipelining: false,
    protocol: 3,
    replyMapping: 'legacy',
    retryStrategy: attempt =>
      Math.min(50 * 2 ** Math.min(attempt - 1, 10), control ? 1_000 : 5_000),
  }
}

const watchStatus = (redis: Redis, place: string, onStatus: (status: RedisStatus) => void) => {
  let phase: 'connecting' | 'up' | 'down' | 'closing' = 'connecting'
  let last: Error | undefined
  redis.on('error', (error: Error) => {
    last = error
  })
  redis.on('close', () => {
    if (phase !== 'up') return
    phase = 'down'
    const reason = last ?? new Error('Connection is closed.')
    onStatus({ type: 'lost', error: redisError(place, 'keep the connection', reason) })
  })
  redis.on('ready', () => {
    last = undefined
    if (phase !== 'down') return
    phase = 'up'
    onStatus({ type: 'restored' })
  })
  return {
    lastError: () => last,
    established: () => {
      phase = 'up'
    },
    closing: () => {
      phase = 'closing'
    },
  }
}

const beforeDeadline = async (work: Promise<void>, deadlineMs: number): Promise<void> => {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    const late = new Error(`ETIMEDOUT: not ready after ${deadlineMs} ms`)
    timer = setTimeout(() => reject(late), deadlineMs)
  })
  try {
    await Promise.race([work, deadline])
  } finally {
    clearTimeout(timer)
  }
}

const close = async (redis: Redis, closing: () => void): Promise<void> => {
  closing()
  if (redis.status !== 'ready') {
    redis.disconnect()
    return
  }
  const ended = new Promise<void>(resolve => redis.once('end', () => resolve()))
  // QUIT lets answers under way arrive. When the server does not answer, the socket is cut instead.
  await redis.quit().catch(() => redis.disconnect())
  await ended
}
