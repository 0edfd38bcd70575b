/**
 * Copies of snapshots in the memory of the worker that wrote them, so that a worker that lives on
 * restores without asking the store.
 *
 * Invariants
 *   LC1. A copy is handed out only if its bytes match the digest in the manifest: a copy that was
 *       damaged is dropped, and the store is asked.
 *   LC2. Only what may still be restored is kept: the newest completed snapshot of each subtask, at
 *       most `pendingMax` newer ones, and what these build on.
 *   LC3. What another generation than the current one stores late is not kept.
 */
import type { Epoch, Generation, SubtaskId } from '../protocol/ids.js'
import type { PartRef, StoredPart } from '../protocol/manifest.js'

type Chunks = readonly Uint8Array[]

/** A part, and its bytes. */
export interface Copy {
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
    this.#keepOnly(epoch => epoch === restored)
  }

  /** Keeps what was stored. The chunks are not copied: nobody may write to them. */
  keep(part: PartRef, chunks: Chunks): void {
    if (part.generation !== this.#generation || part.epoch <= this.#completed) return // LC3
    const copies = [...this.of(part.subtask), { part, chunks }]
    const pending = copies.map(copy => copy.part.epoch).filter(epoch => epoch > this.#completed)
    const oldest = pending.sort((a, b) => b - a).at(this.pendingMax - 1) ?? 0
    const isWanted = (epoch: Epoch): boolean =>
      epoch === this.#completed || epoch >= Math.max(oldest, this.#completed)
    this.#copies.set(part.subtask, kept(copies, isWanted)) // LC2
  }

  /** An epoch has completed: what is older will not be restored. */
  completed(epoch: Epoch): void {
    this.#completed = Math.max(this.#completed, epoch)
    this.#keepOnly(other => other >= this.#completed)
  }

  /** An epoch will not complete. */
  aborted(epoch: Epoch): void {
    if (epoch > this.#completed)
      this.#keepOnly(other => other >= this.#completed && other !== epoch)
  }

  /** The chunks of a part as it was stored; undefined: there is no copy, or none that verifies. */
  find(part: StoredPart): Chunks | undefined {
    const copies = this.of(part.subtask)
    const copy = copies.find(other => other.part.digest === part.digest)
    if (copy === undefined) return undefined
    if (this.digestOf(copy.chunks) === part.digest) return copy.chunks
    const others = copies.filter(other => other !== copy)
    this.#copies.set(part.subtask, others) // LC1
    return undefined
  }

  /** What is kept of a subtask. */
  of(subtask: SubtaskId): readonly Copy[] {
    return this.#copies.get(subtask) ?? []
  }

  #keepOnly(isWanted: (epoch: Epoch) => boolean): void {
    for (const [subtask, copies] of this.#copies) {
      const left = kept(copies, isWanted)
      if (left.length === 0) this.#copies.delete(subtask)
      else this.#copies.set(subtask, left)
    }
  }
}

/** The copies of wanted epochs, and those of what they build on. */
const kept = (copies: readonly Copy[], isWanted: (epoch: Epoch) => boolean): readonly Copy[] => {
  const bases = copies
    .filter(({ part }) => isWanted(part.epoch))
    .flatMap(({ part }) => part.bases ?? [])
  const needed = new Set(bases.map(({ digest }) => digest))
  return copies.filter(({ part }) => isWanted(part.epoch) || needed.has(part.digest))
}
