import * as t from 'io-ts'

/** Where one subtask's snapshot lies, and what it must verify against. */
export const PartRef = t.readonly(
  t.strict({
    subtask: t.string,
    epoch: t.number,
    generation: t.number,
    /** SHA-256 over the chunks' digests, hexadecimal. */
    digest: t.string,
    chunks: t.number,
    bytes: t.number,
  }),
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
