/**
 * What a process and its keeper say to each other over their private channel.
 *
 * Invariant
 *   EM1. The keeper reports the whole of what it holds whenever that changes, and before it answers
 *       the request that changed it: whoever got the answer knows the outcome.
 */
import type { StreamError } from '../../errors.js'
import type { Binaries } from './binaries.js'
import type { NatsServerOptions, RedisServerOptions, ServerName } from './options.js'

/** What the keeper is asked to hold. */
export interface KeeperPlan {
  /** A folder to keep; without one a temporary folder is made, and removed at the end. */
  readonly folder?: string
  /** A server without a binary is not wanted. */
  readonly binaries: Binaries
  readonly nats: NatsServerOptions
  readonly redis: RedisServerOptions
}

/** One thing asked of the keeper. 'close' ends everything, the keeper too. */
export type KeeperRequest =
  | { readonly type: 'open'; readonly plan: KeeperPlan }
  | { readonly type: 'start' | 'stop' | 'kill' | 'restart'; readonly server: ServerName }
  | { readonly type: 'report' }
  | { readonly type: 'close' }

/** A request with the number that its answer will bear. */
export interface NumberedRequest {
  readonly id: number
  readonly request: KeeperRequest
}

/** A server as the keeper holds it: the port from its first start on, the id while it runs. */
export interface HeldServer {
  readonly port?: number
  readonly pid?: number
}

/** All that must be ended or removed when the keeper cannot do so itself. */
export interface Holding {
  readonly folder: string
  readonly isTemporary: boolean
  readonly servers: Readonly<Partial<Record<ServerName, HeldServer>>>
}

/** A server that ended without having been asked to. */
export interface ServerExit {
  readonly server: ServerName
  readonly pid: number
  readonly code: number | null
  readonly signal: string | null
  /** The last lines of its log. */
  readonly log: string
}

/** What the keeper says. */
export type KeeperMessage =
  | { readonly type: 'done'; readonly id: number }
  | { readonly type: 'failed'; readonly id: number; readonly error: StreamError }
  | { readonly type: 'holds'; readonly holding: Holding }
  | { readonly type: 'exited'; readonly exit: ServerExit }
  | { readonly type: 'crashed'; readonly reason: string }
