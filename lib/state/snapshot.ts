/**
 * Snapshot of one subtask: captured state to chunks. Decides how state is cut into items. The way back
 * is `snapshot-decode.ts`, the chunks' bytes are `chunk.ts`, and the data is `snapshot-format.ts`; all
 * of it is to be imported from here.
 *
 * Items: the header first; then, section by section, a source's position, runs of keyed entries
 * `[key, value, key, value …]` of one group, and slices of prepared output. A run holds up to 64 entries
 * because serializing them one by one costs 13 times as much (4.4 µs against 0.35 µs an entry).
 *
 * Invariants
 *   SN1. One step of the encoder takes bounded time: it makes a chunk of at most `chunkBytesMax` bytes
 *       and `chunkEntriesMax` entries, and serializes at most one run more.
 *   SN2. Only captures are read, and only while they are held: what the operator does between two steps
 *       is not in the snapshot.
 *   SN3. Every keyed value goes through its codec: `encode` here, `decode` on the way back.
 *   SN4. Operator and kind name one section of a snapshot.
 */
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, SluiceError, streamError } from '../errors.js'
import { absurd, invariant } from '../invariant.js'
import type { Key } from '../protocol/ids.js'
import { ChunkBuilder, type ChunkItem, headerSection, itemBytesMax, wholeVersion } from './chunk.js'
import { sliceOutputs } from './output-slice.js'
import {
  brief,
  chunkEntriesMax,
  codecFingerprint,
  type SectionHeader,
  type SectionInput,
  type SnapshotHeader,
  type SnapshotInput,
  stateValueBytesMax,
  stateVersionOf,
} from './snapshot-format.js'

export { decodeSnapshot } from './snapshot-decode.js'
export * from './snapshot-format.js'

/** Entries that are serialized in one call. */
const runEntriesMax = 64

type Serialize = (value: unknown) => Uint8Array
type KeyedSection = Extract<SectionInput, { kind: 'keyed' }>

/** An item, and how many entries it adds to its chunk. */
interface Piece extends ChunkItem {
  readonly entries: number
}

/**
 * Encodes a snapshot, one chunk per step, so that the caller can spread the work over turns of the event
 * loop. A chunk is larger than `chunkBytesMax` (256 B to 1 MiB) only if the header, one state
 * value or one record is.
 *
 * Throws a `SluiceError`: `full` for a state value, or a record in a loop, above `stateValueBytesMax`,
 * `invalid` for one that its codec or `serialize` refuses. Both name the operator, and the key of a state.
 */
export function* encodeSnapshot(
  input: SnapshotInput,
  serialize: Serialize,
  chunkBytesMax: number,
): Generator<Uint8Array, void, undefined> {
  // With larger chunks a value above the limit could hide inside of a run.
  invariant(
    chunkBytesMax >= 256 && chunkBytesMax <= stateValueBytesMax,
    'SN1',
    `chunkBytesMax ${chunkBytesMax}`,
  )
  const version = versionOf(input)
  let chunk = new ChunkBuilder(0, chunkBytesMax, version)
  let entries = 0
  for (const piece of pieces(input, serialize, itemBytesMax(chunkBytesMax))) {
    if (!chunk.fits(piece) || entries + piece.entries > chunkEntriesMax) {
      yield chunk.close(false)
      chunk = new ChunkBuilder(chunk.index + 1, chunkBytesMax, version)
      entries = 0
    }
    chunk.add(piece)
    entries += piece.entries
  }
  yield chunk.close(true)
}

function* pieces(input: SnapshotInput, serialize: Serialize, bytesMax: number): Generator<Piece> {
  const header = serialize(headerOf(input))
  yield { section: headerSection, group: 0, entries: 1, bytes: header }
  for (const [index, section] of listed(input).entries()) {
    switch (section.kind) {
      case 'source': {
        const bytes = serializeOf(section.operator, 'position', serialize)(section.position)
        yield { section: index, group: 0, entries: 1, bytes }
        break
      }
      case 'keyed':
        yield* keyedPieces(section, index, serialize, bytesMax)
        break
      case 'removed':
        yield* removedPieces(section.of, index, serialize, bytesMax)
        break
      case 'output': {
        const guarded = serializeOf(section.operator, 'prepared output', serialize)
        for (const slice of sliceOutputs(section.prepared, guarded, bytesMax, chunkEntriesMax)) {
          yield { section: index, group: 0, entries: slice.records, bytes: slice.bytes }
        }
        break
      }
      case 'loop': {
        yield* loopPieces(section, index, serialize, bytesMax)
        break
      }
      default:
        absurd(section)
    }
  }
}

/** Runs of records; one that is too large for a chunk has an item of its own. */
function* loopPieces(
  { operator, records }: Extract<SectionInput, { kind: 'loop' }>,
  index: number,
  serialize: Serialize,
  bytesMax: number,
): Generator<Piece> {
  const guarded = serializeOf(operator, 'records in a loop', serialize)
  for (let at = 0; at < records.length; at += runEntriesMax) {
    for (const piece of halved(records.slice(at, at + runEntriesMax), guarded, bytesMax)) {
      if (piece.bytes.length > stateValueBytesMax) throw tooLargeInLoop(operator, piece.bytes)
      yield { section: index, group: 0, ...piece }
    }
  }
}

const tooLargeInLoop = (operator: string, { length }: Uint8Array): SluiceError =>
  new SluiceError(
    streamError(
      'full',
      `a record in the loop "${operator}" takes ${length} bytes, and ${stateValueBytesMax} is the limit`,
      { next: 'Send smaller records round: one that is in the loop is stored in one piece.' },
    ),
  )

/** Serializes a list; where it is too large, its halves, down to single values. */
const halved = (
  values: readonly unknown[],
  serialize: Serialize,
  bytesMax: number,
): readonly { readonly bytes: Uint8Array; readonly entries: number }[] => {
  const bytes = serialize(values)
  if (bytes.length <= bytesMax || values.length === 1) return [{ bytes, entries: values.length }]
  const half = Math.floor(values.length / 2)
  return [
    ...halved(values.slice(0, half), serialize, bytesMax),
    ...halved(values.slice(half), serialize, bytesMax),
  ]
}

/** A section as the header lists it: what changes have removed is one of its own. */
type Listed =
  | SectionInput
  | { readonly kind: 'removed'; readonly operator: string; readonly of: KeyedSection }

const listed = ({ sections }: SnapshotInput): readonly Listed[] =>
  sections.flatMap((section): Listed[] =>
    section.kind === 'keyed' && section.changes === true
      ? [section, { kind: 'removed', operator: section.operator, of: section }]
      : [section],
  )

const versionOf = ({ sections }: SnapshotInput): 1 | 2 =>
  sections.some(section => section.kind === 'loop' || ('changes' in section && section.changes))
    ? 2
    : wholeVersion

const headerOf = (input: SnapshotInput): SnapshotHeader => {
  const { sections: _, ...facts } = input
  const sections = listed(input)
  const names = new Set(sections.map(section => `${section.kind} ${section.operator}`))
  invariant(names.size === sections.length, 'SN4', 'two sections have one operator and kind')
  invariant(sections.length < headerSection, 'SN4', `${sections.length} sections`)
  return { format: versionOf(input), ...facts, sections: sections.map(sectionHeaderOf) }
}

const sectionHeaderOf = (section: Listed): SectionHeader => {
  const { operator, kind } = section
  if (kind !== 'keyed') return { operator, kind }
  const { spec } = section
  return {
    operator,
    kind,
    codecFingerprint: codecFingerprint(spec),
    stateVersion: stateVersionOf(spec),
    ...(section.changes === true ? { changes: true } : {}),
  }
}

function* keyedPieces(
  section: KeyedSection,
  index: number,
  serialize: Serialize,
  bytesMax: number,
): Generator<Piece> {
  let length = 16
  for (const captured of section.state.groups) {
    const { group } = captured
    const entries = presentIn(captured)
    let run: unknown[] = []
    let left = entries.size
    for (const [key, value] of entries) {
      run.push(key, encodeValue(section, key, value))
      left -= 1
      if (run.length < 2 * length && left > 0) continue
      let bytes = 0
      for (const piece of cut(section, run, serialize, bytesMax)) {
        bytes += piece.bytes.length
        yield { section: index, group, ...piece }
        // The generator slept: the Map under the loop is constant only while the capture is held.
        invariant(!section.state.released, 'SN2', `state of "${section.operator}"`)
      }
      // Several runs to a chunk, so that large values do not make a run that must be cut again.
      const fitting = Math.floor((bytesMax * run.length) / 2 / (4 * bytes))
      length = Math.max(1, Math.min(runEntriesMax, fitting))
      run = []
    }
  }
}

/** The entries of a group that are to be written: all, or those that have changed and are still there. */
const presentIn = ({
  entries,
  changed,
}: KeyedSection['state']['groups'][number]): ReadonlyMap<Key, unknown> => {
  if (changed === undefined) return entries
  const present = new Map<Key, unknown>()
  for (const keys of changed)
    for (const key of keys) if (entries.has(key)) present.set(key, entries.get(key))
  return present
}

/** Runs of keys, group by group, that changes have removed. */
function* removedPieces(
  section: KeyedSection,
  index: number,
  serialize: Serialize,
  bytesMax: number,
): Generator<Piece> {
  const guarded = serializeOf(section.operator, 'removed keys', serialize)
  for (const { group, entries, changed = [] } of section.state.groups) {
    const gone = new Set<Key>()
    for (const keys of changed) for (const key of keys) if (!entries.has(key)) gone.add(key)
    const keys = [...gone]
    for (let at = 0; at < keys.length; at += runEntriesMax) {
      for (const piece of halved(keys.slice(at, at + runEntriesMax), guarded, bytesMax))
        yield { section: index, group, ...piece }
      invariant(!section.state.released, 'SN2', `state of "${section.operator}"`)
    }
  }
}

/** Serializes a run; where it is too large, or refused, its halves, down to single entries. */
const cut = (
  section: KeyedSection,
  run: readonly unknown[],
  serialize: Serialize,
  bytesMax: number,
): readonly { readonly bytes: Uint8Array; readonly entries: number }[] => {
  const entries = run.length / 2
  const bytes = attempt(() => serialize(run))
  if (E.isRight(bytes) && bytes.right.length <= bytesMax) return [{ bytes: bytes.right, entries }]
  if (entries > 1) {
    const half = 2 * Math.floor(entries / 2)
    return [
      ...cut(section, run.slice(0, half), serialize, bytesMax),
      ...cut(section, run.slice(half), serialize, bytesMax),
    ]
  }
  const of = `the state of key ${brief(run[0])} of "${section.operator}"`
  if (E.isLeft(bytes)) throw refused(`${of} cannot be stored`, bytes.left)
  const size = bytes.right.length
  if (size <= stateValueBytesMax) return [{ bytes: bytes.right, entries }]
  throw new SluiceError(
    streamError('full', `${of} takes ${size} bytes, and ${stateValueBytesMax} is the limit`, {
      next: 'Split it over more keys, or keep less of it: a value is stored and restored in one piece.',
    }),
  )
}

const encodeValue = (section: KeyedSection, key: Key, value: unknown): unknown => {
  try {
    return section.spec.codec.encode(value)
  } catch (cause) {
    throw refused(
      `the codec of "${section.operator}" does not encode the state of key ${brief(key)}`,
      cause,
    )
  }
}

const serializeOf =
  (operator: string, what: string, serialize: Serialize): Serialize =>
  value => {
    const bytes = attempt(() => serialize(value))
    if (E.isLeft(bytes)) throw refused(`the ${what} of "${operator}" cannot be stored`, bytes.left)
    return bytes.right
  }

const attempt = (make: () => Uint8Array): E.Either<unknown, Uint8Array> => {
  try {
    return E.right(make())
  } catch (cause) {
    return E.left(cause)
  }
}

const refused = (fact: string, cause: unknown): SluiceError =>
  new SluiceError(
    streamError('invalid', `${fact}: ${messageOf(cause)}`, {
      next: 'Keep plain data in the state, of the type that its codec describes.',
      cause,
    }),
  )
