/** What a Redis server keeps for the stores in memory: values that may expire. */
import type { HistoryEntry, JobStatus } from '../../lib/ports/job-store.js'
import type { Epoch, Generation, Term } from '../../lib/protocol/ids.js'
import type { Manifest, PartRef } from '../../lib/protocol/manifest.js'
import type { VirtualTime } from './memory-time.js'

/** A map whose entries may have a time to live, in ms of virtual time. */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, { readonly value: V; expiresAt: number | undefined }>()

  constructor(private readonly time: VirtualTime) {}

  get(key: string): V | undefined {
    return this.#live(key)?.value
  }

  /** Ms left; undefined: for ever, or nothing there. */
  ttl(key: string): number | undefined {
    const expiresAt = this.#live(key)?.expiresAt
    return expiresAt === undefined ? undefined : expiresAt - this.time.now
  }

  set(key: string, value: V, ttlMs?: number): void {
    this.#entries.set(key, {
      value,
      expiresAt: ttlMs === undefined ? undefined : this.time.now + ttlMs,
    })
  }

  /** A TTL of 0 or less removes at once. */
  expire(key: string, ttlMs: number): void {
    const entry = this.#live(key)
    if (entry !== undefined) entry.expiresAt = this.time.now + ttlMs
  }

  persist(key: string): void {
    const entry = this.#live(key)
    if (entry !== undefined) entry.expiresAt = undefined
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  keys(): readonly string[] {
    return [...this.#entries.keys()].filter(key => this.#live(key) !== undefined)
  }

  #live(key: string): { readonly value: V; expiresAt: number | undefined } | undefined {
    const entry = this.#entries.get(key)
    if (entry?.expiresAt === undefined || entry.expiresAt > this.time.now) return entry
    this.#entries.delete(key)
    return undefined
  }
}

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
  ended: 'no' | 'kept' | 'expires'
  fresh: boolean
}

export interface StoredPart {
  readonly digest: string
  readonly chunks: Map<number, Uint8Array>
}

export class MemoryRedis {
  readonly metas: ExpiringMap<JobMeta>
  readonly leases: ExpiringMap<string>
  readonly manifests: ExpiringMap<Manifest>
  readonly histories: ExpiringMap<HistoryEntry[]>
  readonly parts: ExpiringMap<StoredPart>
  /** Jobs that are listed, and until when; `Infinity`: a record that is missing was lost. */
  readonly listed = new Map<string, number>()
  #jobIds = 0

  constructor(readonly time: VirtualTime) {
    this.metas = new ExpiringMap(time)
    this.leases = new ExpiringMap(time)
    this.manifests = new ExpiringMap(time)
    this.histories = new ExpiringMap(time)
    this.parts = new ExpiringMap(time)
  }

  newJobId(): string {
    this.#jobIds += 1
    return `job-id-${this.#jobIds}`
  }
}

export const partKey = (job: string, { generation, epoch, subtask }: PartRef): string =>
  JSON.stringify([job, generation, epoch, subtask])

export const manifestKey = (job: string, epoch: Epoch): string => JSON.stringify([job, epoch])
