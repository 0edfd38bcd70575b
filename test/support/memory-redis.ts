/**
 * What a Redis server keeps for the stores in memory: values that may expire.
 *
 *   MD1. A TTL is a time at which the key is gone, whatever the server does meanwhile.
 *   MD2. Keys are called as in a real server, so that both can be looked at in the same way.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { ExpiringMap } from '../../lib/adapters/memory/expiring-map.js'
import { type DataNames, JobData, type Needs } from '../../lib/adapters/memory/job-data.js'
import { redisError } from '../../lib/adapters/redis/errors.js'
import * as keys from '../../lib/adapters/redis/keys.js'
import type { StreamError } from '../../lib/errors.js'
import { MemoryServer } from './memory-server.js'
import type { VirtualTime } from './memory-time.js'
import type { MemoryWire } from './memory-wire.js'

/** Whether the server takes writes of any kind, of those that free memory only, or nothing at all. */
export type MemoryRedisMode = 'ok' | 'oom' | 'readonly' | 'loading'

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

const names: DataNames = {
  manifest: keys.manifestKey,
  part: keys.partKey,
  meta: keys.metaKey,
  lease: keys.leaseKey,
  completed: keys.completedKey,
  history: keys.historyKey,
}

/** A job id is random, so that not even a server that forgot it gives it out twice. */
const jobIds = (): (() => string) => {
  let given = 0
  return () => {
    given += 1
    return `job-id-${given}`
  }
}

export class MemoryRedis extends JobData {
  /** Whether it runs, for the wires to it. */
  readonly server = new MemoryServer()
  #mode: MemoryRedisMode = 'ok'

  constructor(override readonly time: VirtualTime) {
    super(time, jobIds(), names)
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
