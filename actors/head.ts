import type { Epoch } from '../lib/protocol/ids.js'

/** Why a pump stopped: nothing to do, no room downstream, or its slice of time is over. */
export type PumpOutcome = 'idle' | 'blocked' | 'yield'

/** Where a subtask's records come from: a source, or its mailbox. */
export interface Head {
  /** Begins to read. */
  start(): void
  /** Processes what is there, one synchronous run, until about `until` (monotonic ms). */
  pump(until: number): PumpOutcome
  /** Forgets an aborted checkpoint's alignment. */
  abort(epoch: Epoch): void
  tick(now: number): void
  /** A bounded source has read everything. */
  readonly ended: boolean
  dispose(): void
}
