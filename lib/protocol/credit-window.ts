/**
 * How many bytes a channel may have under way: as many as its reader processes in a given time.
 *
 * A number of bytes alone is no bound in time. 256 KiB of small records are a minute of work for an
 * actor that needs a millisecond each, and a barrier waits behind all of it. So the window follows the
 * reader's speed, which the writer sees in the credits that come back. It starts small, since nothing
 * is known of the reader yet and what was sent cannot be taken back.
 *
 * Invariants
 *   B1. The window lies between `bytesMin` and `bytesMax`.
 *   B2. It shrinks only by what was measured while the reader held the writer back: how fast a slow
 *       writer's records are processed says nothing about the reader.
 *   B3. A reader that keeps up gets twice the window with every measurement, up to `bytesMax`.
 *   B4. One measurement halves the window at most: the reader may just have waited for an alignment.
 */

/** Bounds of a window. */
export interface CreditWindowOptions {
  readonly bytesMax: number
  /** The work, in the reader's time, that the window is to hold. */
  readonly targetMs: number
}

const bytesMin = 128
const bytesAtFirst = 16 * 1024
/** Several credits, so that one late credit does not look like a slow reader. */
const measureMs = 200

/** The window of one channel, at its writer. Time enters as `now`, monotonic milliseconds. */
export class CreditWindow {
  readonly #options: CreditWindowOptions
  #bytes: number
  #since: number | undefined
  #credited = 0
  #heldBack = false

  constructor(options: CreditWindowOptions) {
    this.#options = options
    this.#bytes = Math.min(bytesAtFirst, options.bytesMax)
  }

  /** Bytes that may be sent and not yet credited. */
  get bytes(): number {
    return this.#bytes
  }

  /** The writer ran against the window. */
  heldBack(): void {
    this.#heldBack = true
  }

  /** The reader has processed so many bytes more. */
  credited(bytes: number, now: number): void {
    this.#credited += bytes
    this.#since ??= now
    const elapsedMs = now - this.#since
    if (elapsedMs < measureMs) return
    const wanted = this.#heldBack
      ? (this.#credited / elapsedMs) * this.#options.targetMs
      : Number.POSITIVE_INFINITY
    const followed = Math.min(Math.max(wanted, this.#bytes / 2), this.#bytes * 2) // B3, B4
    const { bytesMax } = this.#options
    this.#bytes = Math.min(bytesMax, Math.max(Math.min(bytesMin, bytesMax), Math.floor(followed)))
    this.#since = now
    this.#credited = 0
    this.#heldBack = false
  }
}
