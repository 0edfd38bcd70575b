/**
 * What lies in Redis as text, read back as data. Everything is decoded once, here; whatever does not
 * decode is `corrupt` and names its key.
 */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { PathReporter } from 'io-ts/lib/PathReporter.js'
import { type StreamError, streamError } from '../../errors.js'
import type { HistoryEntry, JobRecord } from '../../ports/job-store.js'
import { Manifest, type StoredPart } from '../../protocol/manifest.js'

/** A count as Redis keeps it in a hash. */
const Count = new t.Type<number, string, unknown>(
  'Count',
  t.number.is,
  (input, context) =>
    typeof input === 'string' && /^\d+$/.test(input)
      ? t.success(Number(input))
      : t.failure(input, context),
  String,
)

/** Checkpoint ids with commas between them, newest first; '' for none. */
const Epochs = new t.Type<readonly number[], string, unknown>(
  'Epochs',
  (value): value is readonly number[] => Array.isArray(value) && value.every(t.number.is),
  (input, context) =>
    typeof input === 'string' && /^(\d+(,\d+)*)?$/.test(input)
      ? t.success(input === '' ? [] : input.split(',').map(Number))
      : t.failure(input, context),
  String,
)

/** `Count`, or '' for none. */
const OptionalCount = new t.Type<number | undefined, string, unknown>(
  'OptionalCount',
  t.union([t.number, t.undefined]).is,
  (input, context) => (input === '' ? t.success(undefined) : Count.validate(input, context)),
  String,
)

const Required = t.strict({
  job: t.string,
  jobId: t.string,
  status: t.keyof({ running: 0, restarting: 0, finished: 0, canceled: 0, failed: 0 }),
  reason: t.string,
  createdAt: Count,
  term: Count,
  generation: Count,
  epoch: Count,
  graph: t.string,
  latest: OptionalCount,
  completed: Count,
  failed: Count,
  cancel: t.keyof({ '0': 0, '1': 0 }),
  fresh: t.keyof({ '0': 0, '1': 0 }),
})

/** What records of older versions lack. */
const Optional = t.partial({ kept: Epochs, retained: Epochs })

const Meta = t.intersection([Required, Optional])

/** A job's record as it lies in Redis; `latest` is the id of the newest completed checkpoint. */
export type Meta = t.TypeOf<typeof Meta>

const SubtaskEntry = t.exact(
  t.intersection([
    t.type({
      subtask: t.string,
      bytes: t.number,
      writtenBytes: t.number,
      alignmentMs: t.number,
      syncMs: t.number,
      asyncMs: t.number,
    }),
    t.partial({ inlineBytes: t.number, copyTrouble: t.string }),
  ]),
)

const History = t.intersection([
  t.strict({
    epoch: t.number,
    generation: t.number,
    status: t.keyof({ completed: 0, aborted: 0 }),
    triggeredAt: t.number,
    durationMs: t.number,
    bytes: t.number,
  }),
  t.partial({
    reason: t.string,
    writtenBytes: t.number,
    inlineBytes: t.number,
    subtasks: t.readonlyArray(SubtaskEntry),
  }),
])

/** Reads the hash of a job's record. */
export const decodeMeta = (
  place: string,
  key: string,
  fields: Readonly<Record<string, string>>,
): E.Either<StreamError, Meta> => decode(place, key, Meta, fields)

/** Reads a manifest that the commit script wrote. */
export const decodeManifest = (
  place: string,
  key: string,
  json: string,
): E.Either<StreamError, Manifest> => decodeJson(place, key, Manifest, json)

/** Reads one entry of a job's history. */
export const decodeHistory = (
  place: string,
  key: string,
  json: string,
): E.Either<StreamError, HistoryEntry> =>
  E.map(({ reason, writtenBytes, inlineBytes, subtasks, ...entry }: t.TypeOf<typeof History>) => ({
    ...entry,
    ...(writtenBytes === undefined ? {} : { writtenBytes }),
    ...(inlineBytes === undefined ? {} : { inlineBytes }),
    ...(subtasks === undefined ? {} : { subtasks }),
    ...(reason === undefined ? {} : { reason }),
  }))(decodeJson(place, key, History, json))

/** A manifest as text, always in the same order of fields: equal manifests are equal texts. */
export const manifestJson = (manifest: Manifest): string =>
  JSON.stringify({
    version: manifest.version,
    job: manifest.job,
    jobId: manifest.jobId,
    epoch: manifest.epoch,
    generation: manifest.generation,
    maxParallelism: manifest.maxParallelism,
    graph: manifest.graph,
    triggeredAt: manifest.triggeredAt,
    completedAt: manifest.completedAt,
    parts: manifest.parts.map(part => ({
      ...storedFields(part),
      ...(part.bases === undefined ? {} : { bases: part.bases.map(storedFields) }),
    })),
    final: manifest.final,
    backend: manifest.backend,
    origin: manifest.origin,
  })

const storedFields = (part: StoredPart): StoredPart => ({
  subtask: part.subtask,
  epoch: part.epoch,
  generation: part.generation,
  digest: part.digest,
  chunks: part.chunks,
  bytes: part.bytes,
  ...(part.origin === undefined ? {} : { origin: part.origin }),
  ...(part.inline === undefined ? {} : { inline: part.inline }),
})

/** A history entry as text, always in the same order of fields. */
export const historyJson = (entry: HistoryEntry): string =>
  JSON.stringify({
    epoch: entry.epoch,
    generation: entry.generation,
    status: entry.status,
    triggeredAt: entry.triggeredAt,
    durationMs: entry.durationMs,
    bytes: entry.bytes,
    writtenBytes: entry.writtenBytes,
    inlineBytes: entry.inlineBytes,
    subtasks: entry.subtasks,
    reason: entry.reason,
  })

/** The record as people and coordinators see it. */
export const jobRecord = (
  meta: Meta,
  latest: Manifest | undefined,
  heldBy: string | undefined,
): JobRecord => ({
  job: meta.job,
  jobId: meta.jobId,
  status: meta.status,
  statusReason: meta.reason === '' ? undefined : meta.reason,
  createdAt: meta.createdAt,
  term: meta.term,
  generation: meta.generation,
  epoch: meta.epoch,
  graph: meta.graph,
  latest,
  cancelRequested: meta.cancel === '1',
  heldBy,
  completed: meta.completed,
  failed: meta.failed,
})

const decodeJson = <A>(
  place: string,
  key: string,
  codec: t.Type<A, unknown, unknown>,
  json: string,
): E.Either<StreamError, A> => {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (thrown) {
    return E.left(corrupt(place, key, 'it is no JSON', thrown))
  }
  return decode(place, key, codec, value)
}

const decode = <A>(
  place: string,
  key: string,
  codec: t.Type<A, unknown, unknown>,
  value: unknown,
): E.Either<StreamError, A> => {
  const decoded = codec.decode(value)
  return E.isRight(decoded)
    ? decoded
    : E.left(corrupt(place, key, PathReporter.report(decoded).slice(0, 3).join('; ')))
}

const corrupt = (place: string, key: string, reason: string, cause?: unknown): StreamError =>
  streamError('corrupt', `the key ${key} of Redis at ${place} cannot be read: ${reason}`, {
    next: 'Restore the Redis data from its backup; nothing was changed.',
    cause,
  })
