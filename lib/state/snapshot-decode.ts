/**
 * Chunks back to a snapshot. Decides what a snapshot must agree with before any of it is restored.
 *
 * Invariants
 *   SD1. Chunks are verified first, then the header, then every section against the job as it is now; only
 *       then is a value decoded.
 *   SD2. All or nothing: a snapshot that does not verify and fit in every part restores no part.
 *   SD3. No state is dropped in silence: a section of a vertex that the job no longer has is refused.
 */
import * as E from 'fp-ts/lib/Either.js'
import { failure } from 'io-ts/lib/PathReporter.js'
import { messageOf, type StreamError, streamError } from '../errors.js'
import { absurd } from '../invariant.js'
import type { Key, KeyGroup } from '../protocol/ids.js'
import { type ChunkItem, corrupt, headerSection, openChunks } from './chunk.js'
import { OutputReader } from './output-slice.js'
import {
  brief,
  codecFingerprint,
  type ExpectedSection,
  type PreparedOutput,
  type SectionHeader,
  type Snapshot,
  type SnapshotExpectation,
  SnapshotHeader,
  stateVersionOf,
} from './snapshot-format.js'

type Deserialize = (bytes: Uint8Array) => E.Either<StreamError, unknown>
type KeyedSection = Extract<ExpectedSection, { kind: 'keyed' }>

/**
 * Verifies and decodes a snapshot. The left is `corrupt` where bytes do not verify, `conflict` where the
 * snapshot is of another format, job, codec or state version or of a vertex that the job no longer
 * has, and `invalid` where a codec refuses a value. An operator that is new in the job is absent from
 * the snapshot, and starts empty.
 *
 * Key groups outside of `expected.keyGroups` are ignored, so that after a rescale several subtasks can
 * each take their share of one snapshot.
 */
export const decodeSnapshot = (
  chunks: readonly Uint8Array[],
  deserialize: Deserialize,
  expected: SnapshotExpectation,
): E.Either<StreamError, Snapshot> => {
  const opened = openChunks(chunks)
  if (E.isLeft(opened)) return opened
  const [first, ...items] = opened.right
  if (first?.section !== headerSection) return E.left(corrupt('its first item is not a header'))
  const raw = deserialize(first.bytes)
  if (E.isLeft(raw)) return raw
  const header = SnapshotHeader.decode(raw.right)
  if (E.isLeft(header)) {
    return E.left(corrupt(`its header is not valid: ${failure(header.left).join('; ')}`))
  }
  const problem = headerMismatch(header.right, expected) ?? sectionMismatch(header.right, expected)
  if (problem !== undefined) return E.left(problem)
  const reader = new ItemReader(header.right, deserialize, expected)
  for (const item of items) {
    const failed = reader.add(item)
    if (failed !== undefined) return E.left(failed)
  }
  return E.right(reader.snapshot())
}

const headerMismatch = (
  header: SnapshotHeader,
  expected: SnapshotExpectation,
): StreamError | undefined => {
  const { part } = expected
  const facts = [
    ['job', header.job, expected.job],
    ['subtask', header.subtask, part.subtask],
    ['epoch', header.epoch, part.epoch],
    ['generation', header.generation, part.generation],
  ] as const
  for (const [name, stored, wanted] of facts) {
    if (stored === wanted) continue
    return streamError('conflict', `the snapshot is of ${name} "${stored}", not of "${wanted}"`, {
      next: 'Check that nothing else writes to the keys of this job in the store.',
    })
  }
  const groups = header.maxParallelism
  if (groups === expected.maxParallelism) return undefined
  return streamError(
    'conflict',
    `the snapshot has maxParallelism ${groups}, and the job has ${expected.maxParallelism}`,
    { next: `Set maxParallelism to ${groups}: it is fixed for the life of the state.` },
  )
}

const sectionMismatch = (
  header: SnapshotHeader,
  expected: SnapshotExpectation,
): StreamError | undefined => {
  for (const section of header.sections) {
    const { operator } = section
    const now = expectedOf(section, expected)
    if (section.kind === 'removed') continue
    if (now === undefined) {
      return streamError(
        'conflict',
        `the snapshot holds ${section.kind} state of "${operator}", which the job no longer has`,
        { next: `Put "${operator}" back, or run the job under a new name, which starts empty.` },
      )
    }
    if (now.kind !== 'keyed') continue
    const fingerprint = codecFingerprint(now.spec)
    const version = stateVersionOf(now.spec)
    if (section.codecFingerprint === fingerprint && section.stateVersion === version) continue
    return streamError(
      'conflict',
      `the state of "${operator}" was stored with the codec ${section.codecFingerprint}, ` +
        `and the job expects ${fingerprint}`,
      {
        next: 'Run the actor with the codec and version that stored it, or run the job under a new name, which starts empty.',
      },
    )
  }
  return undefined
}

const expectedOf = (
  section: SectionHeader,
  expected: SnapshotExpectation,
): ExpectedSection | undefined =>
  expected.sections.find(
    now =>
      now.operator === section.operator &&
      now.kind === (section.kind === 'removed' ? 'keyed' : section.kind),
  )

/** Gathers the decoded items of a snapshot whose header fits. */
class ItemReader {
  readonly #sources = new Map<string, unknown>()
  readonly #keyed = new Map<string, Map<KeyGroup, (readonly [Key, unknown])[]>>()
  readonly #removed = new Map<string, Map<KeyGroup, Key[]>>()
  readonly #outputs = new Map<string, OutputReader>()
  readonly #targets: readonly (ExpectedSection | undefined)[]

  constructor(
    readonly header: SnapshotHeader,
    readonly deserialize: Deserialize,
    readonly expected: SnapshotExpectation,
  ) {
    this.#targets = header.sections.map(section => expectedOf(section, expected))
    for (const { kind, operator } of header.sections) {
      // An empty section has no items, and is still there.
      if (kind === 'keyed') this.#keyed.set(operator, new Map())
      if (kind === 'removed') this.#removed.set(operator, new Map())
      if (kind === 'output') this.#outputs.set(operator, new OutputReader())
    }
  }

  /** Decodes one item; answers why it cannot. */
  add(item: ChunkItem): StreamError | undefined {
    const target = this.#targets[item.section]
    if (target === undefined) return corrupt(`it has no section ${item.section}`)
    switch (target.kind) {
      case 'source': {
        const position = this.deserialize(item.bytes)
        if (E.isLeft(position)) return position.left
        this.#sources.set(target.operator, position.right)
        return undefined
      }
      case 'keyed':
        return this.header.sections[item.section]?.kind === 'removed'
          ? this.#addRemoved(item, target.operator)
          : this.#addRun(item, target)
      case 'output':
        return this.#outputs.get(target.operator)?.add(item.bytes, this.deserialize)
      default:
        return absurd(target)
    }
  }

  snapshot(): Snapshot {
    const outputs = new Map<string, readonly PreparedOutput[]>()
    for (const [operator, reader] of this.#outputs) outputs.set(operator, reader.outputs)
    return {
      header: this.header,
      sources: this.#sources,
      keyed: this.#keyed,
      removed: this.#removed,
      outputs,
    }
  }

  #addRemoved(item: ChunkItem, operator: string): StreamError | undefined {
    const { from, to } = this.expected.keyGroups
    if (item.group < from || item.group > to) return undefined
    const raw = this.deserialize(item.bytes)
    if (E.isLeft(raw)) return raw.left
    const keys: unknown = raw.right
    if (!Array.isArray(keys) || !keys.every(isKey))
      return corrupt(`the removed keys of "${operator}" are not keys`)
    const groups = this.#removed.get(operator)
    groups?.set(item.group, [...(groups.get(item.group) ?? []), ...keys])
    return undefined
  }

  #addRun(item: ChunkItem, target: KeyedSection): StreamError | undefined {
    const { from, to } = this.expected.keyGroups
    if (item.group < from || item.group > to) return undefined
    const raw = this.deserialize(item.bytes)
    if (E.isLeft(raw)) return raw.left
    const run: unknown = raw.right
    const of = `the state of "${target.operator}"`
    if (!Array.isArray(run) || run.length % 2 !== 0) return corrupt(`${of} is not a list of pairs`)
    const entries = this.#entries(target.operator, item.group)
    for (let index = 0; index < run.length; index += 2) {
      const key: unknown = run[index]
      if (!isKey(key)) return corrupt(`${of} has no key`)
      const value = decodeValue(target, key, run[index + 1])
      if (E.isLeft(value)) return value.left
      entries.push([key, value.right])
    }
    return undefined
  }

  #entries(operator: string, group: KeyGroup): (readonly [Key, unknown])[] {
    const groups = this.#keyed.get(operator)
    const entries = groups?.get(group) ?? []
    groups?.set(group, entries)
    return entries
  }
}

const isKey = (key: unknown): key is Key => typeof key === 'string' || typeof key === 'number'

const decodeValue = (
  target: KeyedSection,
  key: Key,
  stored: unknown,
): E.Either<StreamError, unknown> => {
  try {
    const decoded = target.spec.codec.decode(stored)
    if (E.isRight(decoded)) return decoded
    return E.left(refusal(target, key, failure(decoded.left).join('; ')))
  } catch (thrown) {
    // A codec is the user's code.
    return E.left(refusal(target, key, messageOf(thrown)))
  }
}

const refusal = (target: KeyedSection, key: Key, reason: string): StreamError =>
  streamError(
    'invalid',
    `the codec of "${target.operator}" refuses the stored state of key ${brief(key)}: ${reason}`,
    { next: 'Run the actor with the codec that stored it.' },
  )
