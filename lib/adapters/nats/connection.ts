/**
 * One connection to NATS: opened with a reason when it fails, watched while it lives, given up
 * after a bounded outage.
 *
 *   NL1. An outage is never silent: `disconnected` is reported at once, then `reconnected` or
 *       `closed`.
 *   NL2. An outage longer than `reconnectTimeoutMs` closes the link with an error; it never waits
 *       for ever.
 *   NL3. No message names credentials.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { Task } from 'fp-ts/lib/Task.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import {
  type ConnectionOptions,
  connect,
  type JetStreamManager,
  type NatsConnection,
  NatsError,
  type Status,
} from 'nats'
import { messageOf, type StreamError, streamError } from '../../errors.js'
import { jetStreamAdvice, thrownError } from './errors.js'

/** What `connectNats` takes. */
export interface NatsOptions {
  /**
   * `nats://[user:password@|token@]host[:port]`, several separated by commas. `tls://` demands TLS.
   */
  readonly url: string
  /** Shown in the server's list of connections. */
  readonly name: string
  /** False for a connection that carries core NATS only. */
  readonly jetstream?: boolean
  readonly connectTimeoutMs?: number
  readonly reconnectTimeoutMs?: number
  /** Two unanswered pings end a half-open connection. */
  readonly pingIntervalMs?: number
  readonly apiTimeoutMs?: number
  readonly onStatus?: (status: LinkStatus) => void
  /** Called once. Undefined when `close` was called. */
  readonly onClosed?: (error: StreamError | undefined) => void
}

/**
 * What becomes of a link, in order of happening. `closing` comes while messages can still be sent.
 */
export type LinkStatus =
  | { readonly type: 'disconnected' }
  | { readonly type: 'reconnected' }
  | { readonly type: 'publish-denied'; readonly subject: string }
  | { readonly type: 'closing' }
  | { readonly type: 'closed'; readonly error: StreamError | undefined }

/** A watched connection. `connection` and `manager` are for this folder only. */
export interface NatsLink {
  /** Host and port, without credentials. */
  readonly address: string
  readonly serverVersion: string
  /** Largest message, headers included, that the server accepts. */
  readonly payloadBytesMax: number
  readonly state: 'up' | 'down' | 'closed'
  readonly apiTimeoutMs: number
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
  /** Returns what ends the listening. */
  listen(listener: (status: LinkStatus) => void): () => void
  /** Stops every subscription of the link, sends what is buffered, disconnects. Never fails. */
  close(): Task<void>
}

/** Defaults of `connectNats`. */
export const natsDefaults = {
  connectTimeoutMs: 5_000,
  reconnectTimeoutMs: 60_000,
  reconnectWaitMs: 250,
  pingIntervalMs: 5_000,
  apiTimeoutMs: 5_000,
  closeFlushTimeoutMs: 500,
} as const

const oldestServer = [2, 9] as const

interface Target {
  readonly servers: readonly string[]
  readonly address: string
  readonly credentials: Pick<ConnectionOptions, 'user' | 'pass' | 'token' | 'tls'>
}

const targetOf = (urls: string): E.Either<StreamError, Target> => {
  const invalid = streamError(
    'invalid',
    'The NATS address is not a URL such as nats://host:4222.',
    {
      next: 'Write it as nats://host:port, or nats://user:password@host:port.',
    },
  )
  const parsed: URL[] = []
  for (const text of urls.split(',')) {
    if (!URL.canParse(text.trim())) return E.left(invalid)
    const url = new URL(text.trim())
    if (url.hostname === '') return E.left(invalid)
    if (url.protocol !== 'nats:' && url.protocol !== 'tls:') return E.left(invalid)
    parsed.push(url)
  }
  const first = parsed[0]
  if (first === undefined) return E.left(invalid)
  const servers = parsed.map(url => `${url.hostname}:${url.port === '' ? '4222' : url.port}`)
  const user = decodeURIComponent(first.username)
  const login =
    user === ''
      ? {}
      : first.password === ''
        ? { token: user }
        : { user, pass: decodeURIComponent(first.password) }
  const tls = first.protocol === 'tls:' ? { tls: {} } : {}
  return E.right({ servers, address: servers.join(','), credentials: { ...login, ...tls } })
}

const connectError = (address: string, thrown: unknown): StreamError => {
  const code = thrown instanceof NatsError ? thrown.code : ''
  if (code === 'AUTHORIZATION_VIOLATION' || code === 'BAD_AUTHENTICATION') {
    return streamError(
      'refused',
      `The NATS server at ${address} refused the user name or password.`,
      {
        next: 'Check the credentials in the address: nats://user:password@host:port.',
      },
    )
  }
  const why =
    code === 'CONNECTION_REFUSED'
      ? 'nothing listens there'
      : code === 'TIMEOUT'
        ? 'it did not answer in time'
        : messageOf(thrown)
  return streamError('unavailable', `The NATS server at ${address} cannot be reached: ${why}.`, {
    next: 'Start it, or give the address of one that runs.',
    cause: thrown,
  })
}

const tooOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < oldestServer[0] || (major === oldestServer[0] && minor < oldestServer[1])
}

/** Undefined when the server can carry jobs. */
const unfit = async (
  address: string,
  connection: NatsConnection,
  manager: JetStreamManager,
): Promise<StreamError | undefined> => {
  // Read before anything is asked: a connection that breaks forgets what the server said of itself.
  const { version = '0.0.0', jetstream } = connection.info ?? {}
  if (tooOld(version)) {
    return streamError('refused', `The NATS server at ${address} has version ${version}.`, {
      next: `Install nats-server ${oldestServer.join('.')} or newer.`,
    })
  }
  try {
    await manager.getAccountInfo()
    return undefined
  } catch (thrown) {
    const error = thrownError(`ask the NATS server at ${address} about JetStream`, thrown)
    const nobodyAnswers = thrown instanceof NatsError && thrown.code === '503'
    // A server that died or hangs has not said no.
    if (jetstream === true && !nobodyAnswers) return error
    return streamError('refused', `The NATS server at ${address} runs without JetStream.`, {
      next: jetStreamAdvice,
      cause: thrown,
    })
  }
}

/**
 * Connects, and checks that the server can carry jobs: `unavailable`, `refused` or `invalid` if
 * not.
 */
export const connectNats =
  (options: NatsOptions): TaskEither<StreamError, NatsLink> =>
  async () => {
    const target = targetOf(options.url)
    if (E.isLeft(target)) return target
    const { servers, address, credentials } = target.right
    const apiTimeoutMs = options.apiTimeoutMs ?? natsDefaults.apiTimeoutMs
    let connection: NatsConnection
    try {
      connection = await connect({
        ...credentials,
        servers: [...servers],
        name: options.name,
        noAsyncTraces: true,
        timeout: options.connectTimeoutMs ?? natsDefaults.connectTimeoutMs,
        reconnect: true,
        maxReconnectAttempts: -1,
        reconnectTimeWait: natsDefaults.reconnectWaitMs,
        reconnectJitter: natsDefaults.reconnectWaitMs / 5,
        pingInterval: options.pingIntervalMs ?? natsDefaults.pingIntervalMs,
        maxPingOut: 2,
      })
    } catch (thrown) {
      return E.left(connectError(address, thrown))
    }
    const manager = await connection.jetstreamManager({ checkAPI: false, timeout: apiTimeoutMs })
    const problem =
      options.jetstream === false ? undefined : await unfit(address, connection, manager)
    if (problem !== undefined) {
      await connection.close()
      return E.left(problem)
    }
    return E.right(new Link(address, connection, manager, apiTimeoutMs, options))
  }

class Link implements NatsLink {
  state: 'up' | 'down' | 'closed' = 'up'
  serverVersion = ''
  payloadBytesMax = 0
  private readonly listeners = new Set<(status: LinkStatus) => void>()
  private readonly reconnectTimeoutMs: number
  private givingUp: NodeJS.Timeout | undefined
  private reason: StreamError | undefined
  private ending: Promise<void> | undefined

  constructor(
    readonly address: string,
    readonly connection: NatsConnection,
    readonly manager: JetStreamManager,
    readonly apiTimeoutMs: number,
    private readonly options: NatsOptions,
  ) {
    this.reconnectTimeoutMs = options.reconnectTimeoutMs ?? natsDefaults.reconnectTimeoutMs
    this.readInfo()
    void this.watch()
    void connection.closed().then(thrown => this.onClosed(thrown))
  }

  listen(listener: (status: LinkStatus) => void): () => void {
    this.listeners.add(listener)
    return () => {
      this.listeners.delete(listener)
    }
  }

  close(): Task<void> {
    return () => {
      this.ending ??= this.end()
      return this.ending
    }
  }

  private async end(): Promise<void> {
    if (this.state !== 'closed') this.emit({ type: 'closing' })
    if (this.state === 'up') await this.flushBriefly()
    await this.connection.close()
    this.onClosed(undefined)
  }

  /**
   * What was published last should leave, but a server that hangs must not keep us from closing.
   */
  private async flushBriefly(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const enough = new Promise<void>(resolve => {
      timer = setTimeout(resolve, natsDefaults.closeFlushTimeoutMs)
    })
    await Promise.race([this.connection.flush().catch(() => undefined), enough])
    clearTimeout(timer)
  }

  private readInfo(): void {
    const info = this.connection.info
    if (info === undefined) return
    this.serverVersion = info.version
    this.payloadBytesMax = info.max_payload
  }

  private emit(status: LinkStatus): void {
    for (const listener of [...this.listeners]) listener(status)
    if (status.type !== 'closed') this.options.onStatus?.(status)
  }

  private async watch(): Promise<void> {
    for await (const status of this.connection.status()) this.onStatus(status)
  }

  private onStatus(status: Status): void {
    switch (status.type) {
      // A half-open connection first goes stale: its pending writes can keep the client from
      // closing it.
      case 'staleConnection':
      case 'disconnect':
        this.onDown()
        break
      case 'reconnect':
        this.onUp()
        break
      case 'error':
        if (status.permissionContext?.operation === 'publish') {
          this.emit({ type: 'publish-denied', subject: status.permissionContext.subject })
        }
    }
  }

  private onDown(): void {
    if (this.state !== 'up') return
    this.state = 'down'
    this.givingUp = setTimeout(() => this.giveUp(), this.reconnectTimeoutMs)
    this.emit({ type: 'disconnected' })
  }

  private onUp(): void {
    if (this.state !== 'down') return
    clearTimeout(this.givingUp)
    this.state = 'up'
    this.readInfo()
    this.emit({ type: 'reconnected' })
  }

  private giveUp(): void {
    const seconds = this.reconnectTimeoutMs / 1_000
    const message = `The NATS server at ${this.address} was gone for more than ${seconds} s.`
    this.reason = streamError('unavailable', message, { next: 'Start it, then start this again.' })
    void this.connection.close()
  }

  /** The client closes by itself when the credentials are refused on a reconnect. */
  private onClosed(thrown: unknown): void {
    if (this.state === 'closed') return
    clearTimeout(this.givingUp)
    this.state = 'closed'
    const error = this.reason ?? (thrown ? connectError(this.address, thrown) : undefined)
    const unasked = this.ending === undefined
    const gone = streamError('unavailable', `The connection to ${this.address} is closed.`)
    const told = unasked ? (error ?? gone) : undefined
    this.emit({ type: 'closed', error: told })
    this.listeners.clear()
    this.options.onClosed?.(told)
  }
}
