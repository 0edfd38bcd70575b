/** Values that may have a time to live. */

/** A clock, in ms of whatever time its owner lives in. */
export interface Clock {
  readonly now: number
}

interface Entry<V> {
  readonly value: V
  expiresAt: number | undefined
}

/** A map whose entries may have a time to live, in ms of its clock. */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, Entry<V>>()

  constructor(
    private readonly time: Clock,
    /** What a real server calls the key. */
    private readonly nameOf: (key: string) => string = key => key,
    /** For values that change in place. */
    private readonly copy: (value: V) => V = value => value,
  ) {}

  get(key: string): V | undefined {
    return this.#live(key)?.value
  }

  /** Ms left; undefined: for ever, or nothing there. */
  ttl(key: string): number | undefined {
    return this.#left(this.#live(key))
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

  /** What is there, by the names of a real server. */
  entries(): readonly { readonly key: string; readonly ttlMs: number | undefined }[] {
    return this.keys().map(key => ({ key: this.nameOf(key), ttlMs: this.ttl(key) }))
  }

  /** Removes what has a TTL and a name that the filter takes. */
  expireNow(filter: (name: string) => boolean): void {
    for (const [key, { expiresAt }] of this.#entries)
      if (expiresAt !== undefined && filter(this.nameOf(key))) this.#entries.delete(key)
  }

  /** Returns what brings back all that is here now, any number of times. */
  backup(): () => void {
    const copies = (from: Iterable<readonly [string, Entry<V>]>): readonly [string, Entry<V>][] =>
      [...from].map(([key, { value, expiresAt }]) => [key, { value: this.copy(value), expiresAt }])
    const kept = copies(this.#entries)
    return () => {
      this.#entries.clear()
      for (const [key, entry] of copies(kept)) this.#entries.set(key, entry)
    }
  }

  #left(entry: Entry<V> | undefined): number | undefined {
    return entry?.expiresAt === undefined ? undefined : entry.expiresAt - this.time.now
  }

  #live(key: string): Entry<V> | undefined {
    const entry = this.#entries.get(key)
    if (entry?.expiresAt === undefined || entry.expiresAt > this.time.now) return entry
    this.#entries.delete(key)
    return undefined
  }
}
