/**
 * What a Redis server keeps for the stores in memory: values that may expire.
 *
 *   MD1. A TTL is a time at which the key is gone, whatever the server does meanwhile.
 *   MD2. Keys are called as in a real server, so that both can be looked at in the same way.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { redisError } from '../../lib/adapters/redis/errors.js'
import * as keys from '../../lib/adapters/redis/keys.js'
import type { StreamError } from '../../lib/errors.js'
import type { HistoryEntry, JobStatus } from '../../lib/ports/job-store.js'
import type { Epoch, Generation, Term } from '../../lib/protocol/ids.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import { ExpiringMap } from './memory-expiring-map.js'
import { MemoryServer } from './memory-server.js'
import type { VirtualTime } from './memory-time.js'
import type { MemoryWire } from './memory-wire.js'

/** A job's record. */
export interface JobMeta {
  jobId: string
  status: JobStatus
  reason: string
  createdAt: number
  term: Term
  generation: Generation
  epoch: Epoch
  graph: string
  latest: Epoch | undefined
  completed: number
  failed: number
  cancel: boolean
  /** Kept checkpoints, newest first; and those that earlier lives have left. */
  kept: readonly Epoch[]
  retained: readonly Epoch[]
  ended: 'no' | 'kept' | 'retained' | 'kept-expires' | 'expires'
  fresh: boolean
}

export interface StoredPart {
  readonly digest: string
  readonly chunks: Map<number, Uint8Array>
}

/** Whether the server takes writes of any kind, of those that free memory only, or nothing at all. */
export type MemoryRedisMode = 'ok' | 'oom' | 'readonly' | 'loading'

/** What a request needs of the server; steps of the job store write even when memory is full (RL5). */
export type Needs = 'an answer' | 'data' | 'writing' | 'memory'

/** What the server says to requests that it does not serve, by its mode. */
const refusals: {
  readonly [M in MemoryRedisMode]: { readonly of: readonly Needs[]; readonly text: string }
} = {
  ok: { of: [], text: '' },
  oom: { of: ['memory'], text: "OOM command not allowed when used memory > 'maxmemory'." },
  readonly: {
    of: ['writing', 'memory'],
    text: "READONLY You can't write against a read only replica.",
  },
  loading: {
    of: ['data', 'writing', 'memory'],
    text: 'LOADING Redis is loading the dataset in memory',
  },
}

/** All that a server held at a time. To be restored on that server only. */
export interface MemoryRedisBackup {
  readonly maps: readonly (() => void)[]
  readonly listed: ReadonlyMap<string, number>
}

export class MemoryRedis {
  readonly metas: ExpiringMap<JobMeta>
  readonly leases: ExpiringMap<string>
  readonly manifests: ExpiringMap<Manifest>
  readonly completed: ExpiringMap<readonly Epoch[]>
  readonly histories: ExpiringMap<readonly HistoryEntry[]>
  readonly parts: ExpiringMap<StoredPart>
  /** Jobs that are listed, and until when; `Infinity`: a record that is missing was lost. */
  readonly listed = new Map<string, number>()
  /** Whether it runs, for the wires to it. */
  readonly server = new MemoryServer()
  #mode: MemoryRedisMode = 'ok'
  #jobIds = 0

  constructor(readonly time: VirtualTime) {
    this.metas = new ExpiringMap(time, keys.metaKey, meta => ({ ...meta }))
    this.leases = new ExpiringMap(time, keys.leaseKey)
    this.manifests = new ExpiringMap(time)
    this.completed = new ExpiringMap(time, keys.completedKey)
    this.histories = new ExpiringMap(time, keys.historyKey)
    this.parts = new ExpiringMap(time, undefined, part => ({
      ...part,
      chunks: new Map(part.chunks),
    }))
  }

  /** A job id is random, so that not even a server that forgot it gives it out twice. */
  newJobId(): string {
    this.#jobIds += 1
    return `job-id-${this.#jobIds}`
  }

  /** While it is down, nothing reaches it: every request has an unknown outcome. */
  setDown(down: boolean): void {
    this.server.setDown(down)
  }

  /** While it hangs, what reaches it waits; it is done when it goes on. */
  setHung(hung: boolean): void {
    this.server.setHung(hung)
  }

  /** Kills the server and starts it again; its append-only file has every key. */
  restart(): void {
    this.server.restart()
  }

  setMode(mode: MemoryRedisMode): void {
    this.#mode = mode
  }

  /** A request over a wire, served if the server's mode allows what it needs. */
  ask<A>(
    wire: MemoryWire,
    request: string,
    needs: Needs,
    step: (torn: boolean) => E.Either<StreamError, A>,
  ): TaskEither<StreamError, A> {
    const serve = (torn: boolean): E.Either<StreamError, A> => {
      const { of, text } = refusals[this.#mode]
      if (!of.includes(needs)) return step(torn)
      return E.left(redisError('redis://memory', request, new Error(text)))
    }
    return wire.ask(request, serve, this.server)
  }

  /** Everything as it is now, for `restore`, any number of times. */
  backup(): MemoryRedisBackup {
    return { maps: this.#maps.map(map => map.backup()), listed: new Map(this.listed) }
  }

  /** A replica that lagged behind takes over: all is as it was, but for what has expired since. */
  restore(backup: MemoryRedisBackup): void {
    this.server.restart(() => {
      for (const restore of backup.maps) restore()
      this.listed.clear()
      for (const [job, until] of backup.listed) this.listed.set(job, until)
    })
  }

  /** Takes away, before its time, every key that has a TTL and that the filter names. */
  expireNow(filter: (key: string) => boolean = () => true): void {
    for (const map of this.#maps) map.expireNow(filter)
  }

  /** Every key that is there, and what is left of its TTL. */
  keys(): readonly { readonly key: string; readonly ttlMs: number | undefined }[] {
    const found = this.#maps.flatMap(map => map.entries())
    return this.listed.size === 0 ? found : [...found, { key: keys.jobsKey, ttlMs: undefined }]
  }

  get #maps(): readonly AnyMap[] {
    return [this.metas, this.leases, this.manifests, this.completed, this.histories, this.parts]
  }
}

type AnyMap = Pick<ExpiringMap<unknown>, 'backup' | 'expireNow' | 'entries'>

export const { manifestKey, partKey } = keys
