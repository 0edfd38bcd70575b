/** A server behind the stores, and what may happen to it. */
import type { ExecutionContext } from 'ava'
import type { PartRef } from '../../lib/protocol/manifest.js'
import type { Stores } from './snapshots.js'

/**
 * One server for one test. Every change has happened when its promise resolves; `elapse` takes its
 * time whatever the server does.
 */
export interface StoreServer extends Stores {
  /** SIGKILL, and a new start with an append-only file; connections are back. */
  restart(): Promise<void>
  /** Down: killed, and clients have noticed. Up: connections are back. */
  setDown(down: boolean): Promise<void>
  /** SIGSTOP and SIGCONT; connections are back. */
  setHung(hung: boolean): Promise<void>
  /** Memory is full; or it is a replica; or it is still reading its data. */
  setMode(mode: 'ok' | 'oom' | 'readonly' | 'loading'): Promise<void>
  /** Returns what puts everything back to how it is now, as the promotion of a lagging replica. */
  backup(): Promise<() => Promise<void>>
  /** Takes away, before its time, every key that has a TTL and that the filter takes. */
  expireNow(filter: (key: string) => boolean): Promise<void>
  /** Keys of Sluice, and what is left of the TTL of each, in ms. */
  keys(): Promise<ReadonlyMap<string, number | undefined>>
  /** Writes a snapshot as a process does that dies after the first chunk. */
  tear(job: string, part: PartRef, chunks: readonly Uint8Array[], ttlMs: number): Promise<void>
}

/** A server with nothing in it, taken away by the test's teardown. */
export type OpenStoreServer = (t: ExecutionContext) => Promise<StoreServer>
