/** The only source of time for actors, so that a simulation can own it. */
export interface Scheduler {
  /** Monotonic milliseconds. */
  now(): number
  /** Wall-clock milliseconds since 1970: for people and logs, never for decisions. */
  wallClock(): number
  /** Calls back once after at least `delayMs`; returns what cancels it. */
  after(delayMs: number, callback: () => void): () => void
  /** Calls back after pending I/O had its turn. */
  defer(callback: () => void): void
  /** A number in [0, 1). */
  random(): number
}
