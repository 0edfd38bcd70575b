/**
 * Which parts are carried in their report and kept in the manifest, instead of being written to the store.
 *
 * Invariants
 *   IP1. What the reports of one subtask carry that are not settled, with all that their snapshots build on,
 *        be they carried themselves or not, has at most the subtask's share: whatever the job's size, a beat, the orders to a worker and a
 *        manifest stay below what NATS takes in one message.
 *   IP2. A part is in the manifest or in the store, never in both: nobody looks for one there that is here.
 *   IP3. What is restored from a manifest has been verified against its digest, as what is read from a store.
 */
import type { Epoch } from './ids.js'
import { chainOf } from './increment.js'
import type { PartRef, StoredPart } from './manifest.js'

/** What one subtask may carry. In bytes, before they are text. */
export interface InlineRules {
  /** Largest part that is carried; 0: none is. */
  readonly thresholdBytes: number
  /** Of all that one checkpoint carries. */
  readonly shareBytes: number
}

/** What the reports of one subtask carry that are not settled, in bytes by epoch. */
export interface Inlined {
  readonly rules: InlineRules
  readonly carried: ReadonlyMap<Epoch, number>
}

/** As text, and in JSON, bytes take a third more: three eighths become half of a message. */
const payloadShare = 3 / 8

/** The rules for each of so many subtasks, of which all may be in one process, and in one message. */
export const inlineRules = (options: {
  readonly thresholdBytes: number
  /** For one checkpoint. */
  readonly bytesMax: number
  readonly subtasks: number
  /** Largest message that NATS takes. */
  readonly payloadBytesMax: number
}): InlineRules => {
  const bytesMax = Math.min(options.bytesMax, options.payloadBytesMax * payloadShare)
  const shareBytes = Math.floor(bytesMax / Math.max(1, options.subtasks))
  return { thresholdBytes: options.thresholdBytes, shareBytes }
}

/** A subtask that has reported nothing yet. */
export const startInlined = (rules: InlineRules): Inlined => ({ rules, carried: new Map() })

/**
 * The state after a snapshot has begun that builds on another: its report names all of that, wherever the
 * part itself will be. Undefined: there is no room, and the snapshot is to be whole.
 */
export const withBase = (state: Inlined, epoch: Epoch, base: PartRef): Inlined | undefined =>
  withCarried(state, epoch, inlineBytesOf(chainOf(base)))

/** The state after a part is carried; undefined: it is to be stored. */
export const withInline = (state: Inlined, part: PartRef): Inlined | undefined => {
  const { thresholdBytes } = state.rules
  if (part.bytes > thresholdBytes || thresholdBytes === 0) return undefined
  return withCarried(state, part.epoch, part.bytes + inlineBytesOf(part.bases ?? []))
}

const withCarried = (
  { rules, carried }: Inlined,
  epoch: Epoch,
  bytes: number,
): Inlined | undefined => {
  const next = new Map(carried).set(epoch, bytes)
  const sum = [...next.values()].reduce((all, each) => all + each, 0)
  return sum > rules.shareBytes && bytes > 0 ? undefined : { rules, carried: next } // IP1
}

/** The reports of these epochs are not told any more. */
export const withSettled = (state: Inlined, isSettled: (epoch: Epoch) => boolean): Inlined => ({
  ...state,
  carried: new Map([...state.carried].filter(([epoch]) => !isSettled(epoch))),
})

/** How many bytes of these parts are in a manifest. */
export const inlineBytesOf = (parts: readonly StoredPart[]): number =>
  parts.reduce((sum, { inline, bytes }) => sum + (inline === undefined ? 0 : bytes), 0)
