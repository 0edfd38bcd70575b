/**
 * What a snapshot consists of: the data that `snapshot.ts` writes into chunks and reads back. Decides
 * the header, which makes a snapshot self-describing, and how two versions of a state's codec are told
 * apart before any value is read.
 */
import * as t from 'io-ts'
import type { StateSpec } from '../job/contracts.js'
import type { Epoch, Generation, Key, KeyGroup, KeyGroupRange, SubtaskId } from '../protocol/ids.js'
import type { PartRef } from '../protocol/manifest.js'
import type { CapturedState } from './keyed-state.js'

/** Bytes of one encoded state value, its key included. A larger one fails the snapshot. */
export const stateValueBytesMax = 1024 * 1024

/** Entries that one chunk may hold, however small: bounds the time that encoding a chunk takes. */
export const chunkEntriesMax = 4096

const SectionHeader = t.readonly(
  t.intersection([
    t.type({
      /** Id of the vertex. */
      operator: t.string,
      kind: t.keyof({ source: null, keyed: null, removed: null, output: null }),
    }),
    // Of keyed sections only. Changes alone are of use together with what they changed.
    t.partial({ codecFingerprint: t.string, stateVersion: t.number, changes: t.boolean }),
  ]),
)
/** One section of a snapshot: what one vertex of the subtask's chain stored in it. */
export type SectionHeader = t.TypeOf<typeof SectionHeader>

/** Describes a snapshot. Always its first item, and verified before anything else is read. */
export const SnapshotHeader = t.readonly(
  t.type({
    /** 2: some sections hold changes only. */
    format: t.union([t.literal(1), t.literal(2)]),
    job: t.string,
    subtask: t.string,
    epoch: t.number,
    generation: t.number,
    maxParallelism: t.number,
    keyGroups: t.readonly(t.type({ from: t.number, to: t.number })),
    sections: t.readonlyArray(SectionHeader),
  }),
)
export type SnapshotHeader = t.TypeOf<typeof SnapshotHeader>

/** Output that one barrier closed and that no completed checkpoint has released yet. */
export interface PreparedOutput {
  readonly epoch: Epoch
  readonly records: readonly Uint8Array[]
  /** Plain data of the output's own, such as the stream's last sequence when it was prepared. */
  readonly meta?: unknown
}

/** A state's codec and version. Its `initial` plays no part in a snapshot. */
export type StateCodec = Pick<StateSpec<unknown>, 'codec' | 'version'>

/** What one vertex gives to a snapshot. `operator` and `kind` together are unique in it. */
export type SectionInput =
  | { readonly kind: 'source'; readonly operator: string; readonly position: unknown }
  | {
      readonly kind: 'keyed'
      readonly operator: string
      readonly spec: StateCodec
      /** Held until the last chunk is made; the caller releases it. */
      readonly state: CapturedState<unknown>
      /** Whether `state` is a capture of changes. Default false. */
      readonly changes?: boolean
    }
  | {
      readonly kind: 'output'
      readonly operator: string
      readonly prepared: readonly PreparedOutput[]
    }

/** One subtask at one barrier. */
export interface SnapshotInput {
  readonly job: string
  readonly subtask: SubtaskId
  readonly epoch: Epoch
  readonly generation: Generation
  readonly maxParallelism: number
  readonly keyGroups: KeyGroupRange
  readonly sections: readonly SectionInput[]
}

/** A vertex of the job as it is now, that may have something in the snapshot. */
export type ExpectedSection =
  | { readonly kind: 'source' | 'output'; readonly operator: string }
  | { readonly kind: 'keyed'; readonly operator: string; readonly spec: StateCodec }

/** What the restoring subtask needs a snapshot to be. */
export interface SnapshotExpectation {
  readonly job: string
  /** The manifest's entry for the snapshot. Its subtask is the one that wrote it. */
  readonly part: Pick<PartRef, 'subtask' | 'epoch' | 'generation'>
  readonly maxParallelism: number
  /** Key groups to restore. Entries of other groups are left to the subtasks that own these. */
  readonly keyGroups: KeyGroupRange
  /** Everything that the job has now. A section of anything else is refused. */
  readonly sections: readonly ExpectedSection[]
}

/** Entries of one key group, decoded. */
export type RestoredEntries = readonly (readonly [Key, unknown])[]

/** A verified and decoded snapshot, by id of the vertex. What was new since then is absent. */
export interface Snapshot {
  readonly header: SnapshotHeader
  readonly sources: ReadonlyMap<string, unknown>
  readonly keyed: ReadonlyMap<string, ReadonlyMap<KeyGroup, RestoredEntries>>
  /** Keys that a snapshot of changes says are gone, by operator. */
  readonly removed: ReadonlyMap<string, ReadonlyMap<KeyGroup, readonly Key[]>>
  readonly outputs: ReadonlyMap<string, readonly PreparedOutput[]>
}

/** The version of a state: 1 where its spec names none. */
export const stateVersionOf = (spec: StateCodec): number => spec.version ?? 1

/**
 * What tells one shape of a state from another: the codec's name and the state's version, as text.
 *
 * io-ts derives a codec's name from its structure, `{ flights: number, total: number }`, so a changed
 * field changes the fingerprint, and a person who reads two of them sees the difference: that is why
 * it is no hash. A codec with a name of its own is identified by that name only. If such a
 * codec changes its structure under the same name, raise the state's version; where this is forgotten,
 * restoring still decodes every value, and refuses the first that no longer fits.
 */
export const codecFingerprint = (spec: StateCodec): string =>
  `${spec.codec.name} version ${stateVersionOf(spec)}`

/** A key as text for a message: keys are users' data of any length. */
export const brief = (key: unknown): string => {
  const text = JSON.stringify(key) ?? String(key)
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
