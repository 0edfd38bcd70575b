/**
 * What can be said about the embedded servers: which ones, and how they are set up. Plain data,
 * since it travels to the keeper process as a message.
 */

/** One of the two servers that are kept. */
export type ServerName = 'nats' | 'redis'

/** How the embedded nats-server is set up. */
export interface NatsServerOptions {
  /** Whether JetStream is on. Default: true. */
  readonly jetstream?: boolean
  /** With `password`: what every client must present. Default: no credentials. */
  readonly user?: string
  readonly password?: string
  /** The largest message that the server accepts. Default: the server's own, 1 MiB. */
  readonly maxPayloadBytes?: number
}

/** How the embedded redis-server is set up. */
export interface RedisServerOptions {
  /** Whether every write goes to the append-only file. Default: true. */
  readonly appendOnly?: boolean
  /** When the append-only file is forced to disk. Default: 'everysec'. */
  readonly appendFsync?: 'everysec' | 'always'
  /** What every client must present. Default: none. */
  readonly password?: string
  /** What happens when memory is full. Default: 'noeviction', the only one that loses nothing. */
  readonly maxmemoryPolicy?:
    | 'noeviction'
    | 'allkeys-lru'
    | 'allkeys-lfu'
    | 'allkeys-random'
    | 'volatile-lru'
    | 'volatile-lfu'
    | 'volatile-random'
    | 'volatile-ttl'
}
