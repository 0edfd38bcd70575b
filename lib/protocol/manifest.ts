import * as t from 'io-ts'

/** Where one subtask's snapshot lies, and what it must verify against. */
export const PartRef = t.readonly(
  t.exact(
    t.intersection([
      t.type({
        subtask: t.string,
        epoch: t.number,
        generation: t.number,
        /** SHA-256 over the chunks' digests, hexadecimal. */
        digest: t.string,
        chunks: t.number,
        bytes: t.number,
      }),
      t.partial({
        /** A copy: the job, epoch and generation that the snapshot inside was written by. */
        origin: t.readonly(t.strict({ job: t.string, epoch: t.number, generation: t.number })),
      }),
    ]),
  ),
)
export type PartRef = t.TypeOf<typeof PartRef>

/** Where a checkpoint was copied from. */
export const Origin = t.readonly(
  t.strict({
    job: t.string,
    epoch: t.number,
    /** What of the output prepared in it others may have published: up to which epoch, as which jobs. */
    output: t.readonly(t.strict({ epoch: t.number, jobIds: t.readonlyArray(t.string) })),
  }),
)
export type Origin = t.TypeOf<typeof Origin>

/** A completed checkpoint: all snapshots of one barrier. Written by the commit script only. */
export const Manifest = t.readonly(
  t.exact(
    t.intersection([
      t.type({
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
      t.partial({
        /** The state backend that holds its parts. Absent: Redis. */
        backend: t.string,
        /** The checkpoint that this one is a copy of: what its job was started from. */
        origin: Origin,
      }),
    ]),
  ),
)
export type Manifest = t.TypeOf<typeof Manifest>

/** Who wrote the snapshot that a part holds, and as what: a copy still says so in its header. */
export const writtenAs = (
  job: string,
  part: PartRef,
): { readonly job: string; readonly part: PartRef } => {
  const { origin } = part
  if (origin === undefined) return { job, part }
  const { epoch, generation } = origin
  return { job: origin.job, part: { ...part, epoch, generation } }
}

/** The state backend that holds a checkpoint's parts. */
export const backendOf = ({ backend = 'redis' }: Manifest): string => backend
