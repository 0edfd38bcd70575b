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

const base64 = /^[A-Za-z0-9+/]*={0,2}$/

/** Bytes as text, padded. */
const Base64 = new t.Type<string, string, unknown>(
  'Base64',
  t.string.is,
  (value, context) =>
    typeof value === 'string' && value.length % 4 === 0 && base64.test(value)
      ? t.success(value)
      : t.failure(value, context),
  t.identity,
)

const more = t.partial({
  /** Of a copy: the job, epoch and generation that the snapshot inside was written by. */
  origin: t.readonly(t.strict({ job: t.string, epoch: t.number, generation: t.number })),
  /** The chunks themselves: the part is here, and in no store (IP1–IP3). Absent in older manifests. */
  inline: t.readonlyArray(Base64),
})

/** Where one snapshot lies, and what it must verify against. */
export const StoredPart = t.readonly(t.exact(t.intersection([t.type(part), more])))
export type StoredPart = t.TypeOf<typeof StoredPart>

/** Where one subtask's state lies: its newest snapshot, and what that one builds on. */
export const PartRef = t.readonly(
  t.exact(
    t.intersection([
      t.type(part),
      more,
      // Of a snapshot of changes: what they changed, oldest first.
      t.partial({ bases: t.readonlyArray(StoredPart) }),
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
  part: StoredPart,
): { readonly job: string; readonly part: StoredPart } => {
  const { origin } = part
  if (origin === undefined) return { job, part }
  const { epoch, generation } = origin
  return { job: origin.job, part: { ...part, epoch, generation } }
}

/** The state backend that holds a checkpoint's parts. */
export const backendOf = ({ backend = 'redis' }: Manifest): string => backend

/** All that a checkpoint needs to be in the store, each part once. */
export const neededParts = (manifest: Pick<Manifest, 'parts'>): readonly StoredPart[] => {
  const needed = new Map<string, StoredPart>()
  for (const { bases = [], ...newest } of manifest.parts)
    for (const one of [...bases, newest]) {
      if (one.inline !== undefined) continue // IP2
      needed.set(`${one.generation} ${one.epoch} ${one.subtask}`, one)
    }
  return [...needed.values()]
}
