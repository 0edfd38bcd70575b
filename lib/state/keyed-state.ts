/**
 * Keyed state of one stateful operator in one subtask: one `Map` of immutable values per key group.
 *
 * A barrier captures the state by reference, and the operator goes on while the capture is encoded
 * over many event-loop turns. What makes both true at once is copy-on-write by key group: a captured
 * Map is never written again; the first write to its group goes to a copy.
 *
 * Invariants
 *   KS1. A Map that a capture holds is never written, so a capture shows the state of its instant.
 *   KS2. `capture` copies no entry and calls no user code: its cost is the number of key groups.
 *   KS3. A group is copied at its first write after a capture, once, and no other group with it.
 *   KS4. A group that no capture holds any more is written in place. A released capture is not read.
 *   KS5. A key lives in its own group's Map only, and `keys` is the sum of the Maps' sizes.
 *   KS6. `initial()` is not stored: only `set` and `update` add a key.
 *   KS7. A recipe that throws leaves the state, and what captures share, as they were.
 *   KS8. Where changes are tracked, every key that was set or removed since the capture of an epoch is
 *       among the changes since that epoch, until they are forgotten. Others may be among them, too.
 *   KS9. Sets of changed keys are as many as captures that something may yet build on, and one.
 *
 * Keys are `Map` keys: `1` and `'1'` are two keys, and `__proto__` is a key like any other.
 */
import { Immer, isDraftable } from 'immer'
import { invariant } from '../invariant.js'
import type { KeyedState, StateSpec } from '../job/contracts.js'
import type { Epoch, Key, KeyGroup, KeyGroupRange } from '../protocol/ids.js'

/** The keys of one key group as they were at the capture. */
export interface CapturedGroup<S> {
  readonly group: KeyGroup
  readonly entries: ReadonlyMap<Key, S>
  /**
   * Of a capture of changes: the keys that may have changed, in several sets that may overlap. A key
   * that has no entry any more was removed.
   */
  readonly changed?: readonly ReadonlySet<Key>[]
}

/** The state of one operator at one instant, shared with the live state until it is released. */
export interface CapturedState<S> {
  /** Groups that held a key, in ascending order. Reading it after `release` is a defect (KS4). */
  readonly groups: readonly CapturedGroup<S>[]
  readonly keys: number
  readonly released: boolean
  /** Gives the groups back, so that they need not be copied when written. Idempotent. */
  release(): void
}

/** What a keyed state is made from. */
export interface KeyedStateOptions<S> {
  /** Id of the operator, for messages. */
  readonly operator: string
  readonly initial: StateSpec<S>['initial']
  /** The subtask's key groups. */
  readonly keyGroups: KeyGroupRange
  /**
   * Whether `update` deep-freezes what it makes, so that code that mutates a value fails at once.
   * On in development and tests; off in production, where it would double the cost of an update.
   */
  readonly freeze: boolean
  /** Whether it is remembered which keys have changed, for incremental snapshots. Default false. */
  readonly tracksChanges?: boolean
}

/** Keys that changed between two captures, by group, counted from the range's first. */
interface Layer {
  /** The capture that ended it. */
  readonly epoch: Epoch
  readonly changed: readonly (ReadonlySet<Key> | undefined)[]
}

/** A key group's Map, and how many captures show it. */
interface Shard<S> {
  readonly entries: Map<Key, S>
  holds: number
}

/**
 * State of one stateful operator in one subtask. The subtask names the current record's key with
 * `setCurrent`, then `view` acts on that key until `clearCurrent`. Nothing is allocated per record.
 */
export class KeyedStateStore<S> {
  /** What the operator's `receive` sees: always the same object, acting on the current key. */
  readonly view: KeyedState<S>
  readonly #options: KeyedStateOptions<S>
  // An own instance: immer's global `setAutoFreeze` would change the user's application.
  readonly #immer: Immer
  // By group, counted from the range's first. Made at a group's first write.
  readonly #shards: (Shard<S> | undefined)[]
  /** By group, since the last capture; undefined: changes are not tracked. */
  #changed: (Set<Key> | undefined)[] | undefined
  /** Oldest first. */
  #layers: readonly Layer[] = []
  #keys = 0
  #key: Key | undefined = undefined
  #at = 0

  constructor(options: KeyedStateOptions<S>) {
    const { from, to } = options.keyGroups
    invariant(from >= 0 && from <= to, 'KS5', `key groups ${from} to ${to}`)
    this.#options = options
    this.#immer = new Immer({ autoFreeze: options.freeze })
    this.#shards = new Array<Shard<S> | undefined>(to - from + 1).fill(undefined)
    this.#changed = options.tracksChanges === true ? this.#noChanges() : undefined
    this.view = {
      get: () => this.#get(this.#current()),
      set: value => this.#set(this.#current(), value),
      update: recipe => this.#update(this.#current(), recipe),
      clear: () => this.#clear(this.#current()),
    }
  }

  /** Number of keys that have a value. */
  get keys(): number {
    return this.#keys
  }

  /** Makes `key` the one that `view` acts on. A group outside of the subtask's range is a defect. */
  setCurrent(key: Key, group: KeyGroup): void {
    this.#at = this.#index(group)
    this.#key = key
  }

  /** Ends the record: until the next `setCurrent`, `view` throws. */
  clearCurrent(): void {
    this.#key = undefined
  }

  /** The stored value of the current key, without `initial()`; undefined when it has none. */
  peek(): S | undefined {
    return this.#shards[this.#at]?.entries.get(this.#current())
  }

  /** Puts back what `peek` answered before a record that failed. */
  revert(value: S | undefined): void {
    const key = this.#current()
    if (value === undefined) this.#clear(key)
    else if (this.peek() !== value) this.#set(key, value)
  }

  /**
   * Takes references to every group that has a key, and marks them shared (KS1, KS2). With an epoch,
   * what changes from here on is told apart from what changed before it.
   */
  capture(epoch?: Epoch): CapturedState<S> {
    if (epoch !== undefined) this.#closeLayer(epoch)
    const shards: Shard<S>[] = []
    const groups: CapturedGroup<S>[] = []
    for (const [index, shard] of this.#shards.entries()) {
      if (shard === undefined || shard.entries.size === 0) continue
      shard.holds += 1
      shards.push(shard)
      groups.push({ group: this.#options.keyGroups.from + index, entries: shard.entries })
    }
    return new Capture(shards, groups, this.#keys)
  }

  /**
   * Captures what changed since the capture of an earlier epoch, or since the restore (KS8). Groups
   * without changes are left out, and are not copied at their next write.
   */
  captureChanges(epoch: Epoch, since: Epoch): CapturedState<S> {
    invariant(this.#changed !== undefined, 'KS8', `of "${this.#options.operator}"`)
    this.#closeLayer(epoch)
    const layers = this.#layers.filter(layer => layer.epoch > since)
    const shards: Shard<S>[] = []
    const groups: CapturedGroup<S>[] = []
    for (let index = 0; index < this.#shards.length; index += 1) {
      const changed = layers.map(layer => layer.changed[index]).filter(keys => keys !== undefined)
      if (changed.length === 0) continue
      const shard = this.#shards[index] ?? { entries: new Map<Key, S>(), holds: 0 }
      shard.holds += 1
      shards.push(shard)
      const group = this.#options.keyGroups.from + index
      groups.push({ group, entries: shard.entries, changed })
    }
    return new Capture(shards, groups, this.#keys)
  }

  /** Sets of changed keys that are held, of all groups. */
  get changeSets(): number {
    return this.#layers.reduce(
      (sum, { changed }) => sum + changed.filter(keys => keys !== undefined).length,
      0,
    )
  }

  /** Forgets the changes up to the capture of an epoch: nobody asks for them any more. */
  forgetChanges(upTo: Epoch): void {
    this.#layers = this.#layers.filter(layer => layer.epoch > upTo)
  }

  /**
   * Tells changes before the capture of an epoch no more from those after it: nothing will build on it.
   * Without this, captures in vain would pile up sets of the same keys.
   */
  mergeChanges(epoch: Epoch): void {
    const at = this.#layers.findIndex(layer => layer.epoch === epoch)
    const layer = this.#layers[at]
    if (layer === undefined || this.#changed === undefined) return
    const next = this.#layers[at + 1]
    // What a capture shows may still be read: a set is copied before it grows. The newest is nobody's yet.
    if (next === undefined)
      this.#changed = this.#changed.map((keys, i) => grown(keys, layer.changed[i]))
    const rest = this.#layers.slice(at + 2)
    const merged =
      next === undefined
        ? []
        : [{ ...next, changed: next.changed.map((keys, i) => united(keys, layer.changed[i])) }]
    this.#layers = [...this.#layers.slice(0, at), ...merged, ...rest]
  }

  #closeLayer(epoch: Epoch): void {
    if (this.#changed === undefined) return
    this.#layers = [...this.#layers, { epoch, changed: this.#changed }]
    this.#changed = this.#noChanges()
  }

  #noChanges(): (Set<Key> | undefined)[] {
    return new Array<Set<Key> | undefined>(this.#shards.length).fill(undefined)
  }

  #note(key: Key, changed: (Set<Key> | undefined)[]): void {
    const keys = changed[this.#at]
    if (keys === undefined) changed[this.#at] = new Set([key])
    else keys.add(key)
  }

  /** Adds entries of a snapshot to a group. They replace what the group has under the same keys. */
  restore(group: KeyGroup, entries: Iterable<readonly [Key, S]>): void {
    const shard = this.#writable(this.#index(group))
    const before = shard.size
    for (const [key, value] of entries) shard.set(key, value)
    this.#keys += shard.size - before
  }

  #index(group: KeyGroup): number {
    const { from, to } = this.#options.keyGroups
    // The text is made in the failing case only: this runs for every record.
    if (!(group >= from && group <= to)) {
      invariant(
        false,
        'KS5',
        `key group ${group} of "${this.#options.operator}" is outside ${from} to ${to}`,
      )
    }
    return group - from
  }

  #current(): Key {
    if (this.#key === undefined) {
      throw new Error(
        `The state of "${this.#options.operator}" was used outside of a record: it belongs to the ` +
          'key of the record that receive handles, and only until receive returns.',
      )
    }
    return this.#key
  }

  #get(key: Key): S {
    const entries = this.#shards[this.#at]?.entries
    const value = entries?.get(key)
    if (value === undefined && entries?.has(key) !== true) return this.#options.initial()
    return value as S
  }

  #set(key: Key, value: S): void {
    const entries = this.#writable(this.#at)
    const before = entries.size
    entries.set(key, value)
    this.#keys += entries.size - before
    if (this.#changed !== undefined) this.#note(key, this.#changed)
  }

  #update(key: Key, recipe: (draft: S) => void): void {
    const base = this.#get(key)
    // Immer would call the recipe with a primitive and drop the outcome; a Map at the top would make
    // it throw halfway and leave its scope open, which turns freezing off for every later update.
    if (!isDraftable(base) || base instanceof Map || base instanceof Set) {
      throw new Error(
        `The state of "${this.#options.operator}" is ${kindOf(base)}, and update takes a plain ` +
          'object or an array: use set.',
      )
    }
    const value = this.#immer.produce<S, S>(base, recipe)
    if (value instanceof Promise) {
      throw new Error(
        `The recipe given to the state of "${this.#options.operator}" is asynchronous: a recipe must be synchronous.`,
      )
    }
    // A recipe that changed nothing answers its base: no need to copy a shared group for it.
    if (value === base && this.#shards[this.#at]?.entries.has(key) === true) return
    this.#set(key, value)
  }

  #clear(key: Key): void {
    if (this.#shards[this.#at]?.entries.has(key) !== true) return
    this.#writable(this.#at).delete(key)
    this.#keys -= 1
    if (this.#changed !== undefined) this.#note(key, this.#changed)
  }

  /** The Map to write to: every write goes through here, and a held Map is never what it answers. */
  #writable(at: number): Map<Key, S> {
    const shard = this.#shards[at]
    if (shard !== undefined && shard.holds === 0) return shard.entries
    const entries = new Map(shard?.entries)
    this.#shards[at] = { entries, holds: 0 }
    return entries
  }
}

/** The first set, which no capture shows, with the keys of the second in it. */
const grown = (
  keys: Set<Key> | undefined,
  more: ReadonlySet<Key> | undefined,
): Set<Key> | undefined => {
  if (more === undefined) return keys
  if (keys === undefined) return new Set(more)
  for (const key of more) keys.add(key)
  return keys
}

const united = (
  keys: ReadonlySet<Key> | undefined,
  more: ReadonlySet<Key> | undefined,
): ReadonlySet<Key> | undefined =>
  keys === undefined || more === undefined ? (keys ?? more) : grown(new Set(keys), more)

class Capture<S> implements CapturedState<S> {
  #shards: readonly Shard<S>[]
  #groups: readonly CapturedGroup<S>[]
  #released = false

  constructor(
    shards: readonly Shard<S>[],
    groups: readonly CapturedGroup<S>[],
    readonly keys: number,
  ) {
    this.#shards = shards
    this.#groups = groups
  }

  get groups(): readonly CapturedGroup<S>[] {
    invariant(!this.#released, 'KS4', 'a released capture was read')
    return this.#groups
  }

  get released(): boolean {
    return this.#released
  }

  release(): void {
    this.#released = true
    for (const shard of this.#shards) shard.holds -= 1
    // Emptied, so that a second release does nothing and superseded Maps do not live on.
    this.#shards = []
    this.#groups = []
  }
}

const kindOf = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (typeof value !== 'object') return `a ${typeof value}`
  return `a ${value.constructor?.name ?? 'host object'}`
}
