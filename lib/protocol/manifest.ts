import * as t from 'io-ts'

const part = {
  subtask: t.string,
  epoch: t.number,
  generation: t.number,
  /** SHA-256 over the chunks' digests, hexadecimal. */
  digest: t.string,
  chunks: t.number,
  bytes: t.number,
}

/** Where one snapshot lies, and what it must verify against. */
export const StoredPart = t.readonly(t.strict(part))
export type StoredPart = t.TypeOf<typeof StoredPart>

/** Where one subtask's state lies: its newest snapshot, and what that one builds on. */
export const PartRef = t.readonly(
  t.exact(
    t.intersection([
      t.type(part),
      // Of a snapshot of changes: what they changed, oldest first.
      t.partial({ bases: t.readonlyArray(StoredPart) }),
    ]),
  ),
)
export type PartRef = t.TypeOf<typeof PartRef>

/** A completed checkpoint: all snapshots of one barrier. Written by the commit script only. */
export const Manifest = t.readonly(
  t.strict({
    version: t.literal(1),
    job: t.string,
    jobId: t.string,
    epoch: t.number,
    generation: t.number,
    maxParallelism: t.number,
    /** Fingerprint of the job graph that wrote it. */
    graph: t.string,
    triggeredAt: t.number,
    completedAt: t.number,
    parts: t.readonlyArray(PartRef),
    final: t.boolean,
  }),
)
export type Manifest = t.TypeOf<typeof Manifest>

/** All that a checkpoint needs to be there, each part once. */
export const neededParts = (manifest: Pick<Manifest, 'parts'>): readonly StoredPart[] => {
  const needed = new Map<string, StoredPart>()
  for (const { bases = [], ...newest } of manifest.parts)
    for (const one of [...bases, newest])
      needed.set(`${one.generation} ${one.epoch} ${one.subtask}`, one)
  return [...needed.values()]
}
