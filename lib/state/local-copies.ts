/**
 * Copies of snapshots in the memory of the worker that wrote them, so that a worker that lives on
 * restores without asking the store.
 *
 * Invariants
 *   LC1. A copy is handed out only if its bytes match the digest in the manifest: a copy that was
 *       damaged is dropped, and the store is asked.
 *   LC2. Only what may still be restored is kept: the newest completed snapshot of each subtask, and
 *       at most `pendingMax` newer ones.
 *   LC3. What another generation than the current one stores late is not kept.
 */
import type { Epoch, Generation, SubtaskId } from '../protocol/ids.js'
import type { PartRef } from '../protocol/manifest.js'

type Chunks = readonly Uint8Array[]

interface Copy {
  readonly part: PartRef
  readonly chunks: Chunks
}

/** The copies of one worker, over all its generations. */
export class LocalCopies {
  readonly #copies = new Map<SubtaskId, readonly Copy[]>()
  #generation: Generation = 0
  #completed: Epoch = 0

  /** `pendingMax`: checkpoints that may be pending at a time. */
  constructor(
    readonly pendingMax: number,
    readonly digestOf: (chunks: Chunks) => string,
  ) {}

  /** Bytes that are kept now. */
  get bytes(): number {
    let sum = 0
    for (const copies of this.#copies.values()) for (const { part } of copies) sum += part.bytes
    return sum
  }

  /** A generation begins from a completed epoch, 0 from nothing: nothing else can be restored any more. */
  begin(generation: Generation, restored: Epoch): void {
    this.#generation = generation
    this.#completed = restored
    this.#keepOnly(({ part }) => part.epoch === restored)
  }

  /** Keeps what was stored. The chunks are not copied: nobody may write to them. */
  keep(part: PartRef, chunks: Chunks): void {
    if (part.generation !== this.#generation || part.epoch <= this.#completed) return // LC3
    const others = this.#of(part.subtask).filter(copy => copy.part.epoch !== part.epoch)
    const sorted = [...others, { part, chunks }].sort((a, b) => a.part.epoch - b.part.epoch)
    const completed = sorted.filter(copy => copy.part.epoch <= this.#completed)
    const pending = sorted.filter(copy => copy.part.epoch > this.#completed)
    this.#copies.set(part.subtask, [...completed, ...pending.slice(-this.pendingMax)]) // LC2
  }

  /** An epoch has completed: what is older will not be restored. */
  completed(epoch: Epoch): void {
    this.#completed = Math.max(this.#completed, epoch)
    this.#keepOnly(({ part }) => part.epoch >= this.#completed)
  }

  /** An epoch will not complete. */
  aborted(epoch: Epoch): void {
    if (epoch > this.#completed) this.#keepOnly(({ part }) => part.epoch !== epoch)
  }

  /** The chunks of a part as it was stored; undefined: there is no copy, or none that verifies. */
  find(part: PartRef): Chunks | undefined {
    const copies = this.#of(part.subtask)
    const copy = copies.find(other => other.part.digest === part.digest)
    if (copy === undefined) return undefined
    if (this.digestOf(copy.chunks) === part.digest) return copy.chunks
    const others = copies.filter(other => other !== copy)
    this.#copies.set(part.subtask, others) // LC1
    return undefined
  }

  #of(subtask: SubtaskId): readonly Copy[] {
    return this.#copies.get(subtask) ?? []
  }

  #keepOnly(isKept: (copy: Copy) => boolean): void {
    for (const [subtask, copies] of this.#copies) {
      const kept = copies.filter(isKept)
      if (kept.length === 0) this.#copies.delete(subtask)
      else this.#copies.set(subtask, kept)
    }
  }
}
