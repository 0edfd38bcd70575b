/**
 * Which snapshot a subtask's next one builds on: a chain of parts, the oldest of them whole.
 *
 * Invariants
 *   IN1. A snapshot builds on one that belongs to a completed checkpoint and that this incarnation of the
 *        subtask has written: others may expire, or come from a job that was another one.
 *   IN2. A chain has at most `chainMax` parts, and its changes no more bytes than the state had: what a
 *        restore reads is bounded by twice the state.
 *   IN3. The news of a completion may be lost, or late, and an attempt may have begun before it: the chain
 *        then builds on an older part, which the newest completed checkpoint needs as well, or which stays
 *        for a while (RT4). Its loss after that is noticed by the commit.
 */
import type { Epoch } from './ids.js'
import type { PartRef, StoredPart } from './manifest.js'

/** What one subtask has written. */
export interface Increments {
  readonly chainMax: number
  /** The newest part that is known to belong to a completed checkpoint. */
  readonly completed: PartRef | undefined
  /** Parts whose checkpoints may still complete, oldest first. */
  readonly pending: readonly PartRef[]
}

/** A subtask that has written nothing yet, whatever it has restored. */
export const startIncrements = (chainMax: number): Increments => ({
  chainMax,
  completed: undefined,
  pending: [],
})

/** What the next snapshot builds on; undefined: nothing, it is to be whole. */
export const baseOf = ({ completed, chainMax }: Increments): PartRef | undefined => {
  if (completed === undefined) return undefined
  const [whole, ...changes] = chainOf(completed)
  if (whole === undefined || changes.length + 2 > chainMax) return undefined // IN2
  const changed = changes.reduce((sum, { bytes }) => sum + bytes, 0)
  return changed > whole.bytes ? undefined : completed
}

/** A part and all that it builds on, oldest first. */
export const chainOf = ({ bases = [], ...newest }: PartRef): readonly StoredPart[] => [
  ...bases,
  newest,
]

/** A part is stored. */
export const withPart = (state: Increments, part: PartRef): Increments => ({
  ...state,
  pending: [...state.pending, part],
})

/** Everything up to an epoch has completed, or never will. */
export const withCompleted = (state: Increments, epoch: Epoch): Increments => ({
  ...state,
  completed: state.pending.find(part => part.epoch === epoch) ?? state.completed,
  pending: state.pending.filter(part => part.epoch > epoch),
})

/** An epoch will not complete. */
export const withAborted = (state: Increments, epoch: Epoch): Increments => ({
  ...state,
  pending: state.pending.filter(part => part.epoch !== epoch),
})
