import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { deserialize, serialize } from '../../lib/adapters/codec/v8.js'
import { SluiceError, type StreamError } from '../../lib/errors.js'
import { InvariantViolation } from '../../lib/invariant.js'
import type { Key } from '../../lib/protocol/ids.js'
import { crc32 } from '../../lib/state/crc32.js'
import { KeyedStateStore } from '../../lib/state/keyed-state.js'
import {
  chunkEntriesMax,
  codecFingerprint,
  decodeSnapshot,
  encodeSnapshot,
  type PreparedOutput,
  type SectionInput,
  type Snapshot,
  type SnapshotExpectation,
  type SnapshotInput,
  type StateCodec,
  stateValueBytesMax,
} from '../../lib/state/snapshot.js'
import { seeded } from './random.js'

const keyGroups = { from: 0, to: 63 }

/** State of operator `delays` as plain values: most tests ask about the way, not about the type. */
const anyValue: StateCodec = { codec: t.unknown }

type Entries = readonly (readonly [Key, unknown])[]

const groupOf = (index: number) => index % 64

const keyed = (
  entries: Entries,
  spec: StateCodec = anyValue,
  operator = 'delays',
): SectionInput => {
  const store = new KeyedStateStore<unknown>({
    operator,
    initial: () => undefined,
    keyGroups,
    freeze: false,
  })
  for (const [index, entry] of entries.entries()) store.restore(groupOf(index), [entry])
  return { kind: 'keyed', operator, spec, state: store.capture() }
}

const snapshotOf = (...sections: SectionInput[]): SnapshotInput => ({
  job: 'flights',
  subtask: 'delays/1',
  epoch: 7,
  generation: 2,
  maxParallelism: 128,
  keyGroups,
  sections,
})

const expecting = (
  input: SnapshotInput,
  changed: Partial<SnapshotExpectation> = {},
): SnapshotExpectation => ({
  job: input.job,
  part: input,
  maxParallelism: input.maxParallelism,
  keyGroups: input.keyGroups,
  sections: input.sections,
  ...changed,
})

const encode = (input: SnapshotInput, chunkBytesMax = 4096): Uint8Array[] => [
  ...encodeSnapshot(input, serialize, chunkBytesMax),
]

const decode = (
  chunks: readonly Uint8Array[],
  expected: SnapshotExpectation,
): E.Either<StreamError, Snapshot> => decodeSnapshot(chunks, deserialize, expected)

const restored = (input: SnapshotInput, chunkBytesMax?: number): Snapshot => {
  const decoded = decode(encode(input, chunkBytesMax), expecting(input))
  if (E.isLeft(decoded)) throw new SluiceError(decoded.left)
  return decoded.right
}

const entriesOf = (snapshot: Snapshot, operator = 'delays'): Entries =>
  [...(snapshot.keyed.get(operator)?.values() ?? [])].flat()

/** Entries in one order, as text: a deep comparison of large Maps takes quadratic time. */
const sorted = (entries: Entries): string =>
  entries
    .map(entry => JSON.stringify(entry))
    .sort()
    .join()

const problemOf = (
  chunks: readonly Uint8Array[],
  expected: SnapshotExpectation,
): StreamError | undefined => {
  const decoded = decode(chunks, expected)
  return E.isLeft(decoded) ? decoded.left : undefined
}

const refusal = (a: ExecutionContext, encoding: () => unknown): StreamError => {
  const thrown = a.throws(encoding, { instanceOf: SluiceError })
  return thrown?.error ?? { type: 'invalid', message: 'nothing was thrown' }
}

test('a snapshot of every kind of section comes back as it was', a => {
  const prepared: PreparedOutput[] = [
    { epoch: 6, records: [new Uint8Array([1, 2]), new Uint8Array(0)], meta: { lastSequence: 9 } },
    { epoch: 7, records: [] },
  ]
  const input = snapshotOf(
    { kind: 'source', operator: 'flights', position: { offset: 5, stream: undefined } },
    keyed([
      ['JFK', { flights: 1 }],
      [1, 'number'],
      ['1', 'text'],
    ]),
    { kind: 'output', operator: 'delays', prepared },
  )
  const snapshot = restored(input)
  a.deepEqual(snapshot.sources.get('flights'), { offset: 5, stream: undefined })
  a.deepEqual(
    new Map(entriesOf(snapshot)),
    new Map<Key, unknown>([
      ['JFK', { flights: 1 }],
      [1, 'number'],
      ['1', 'text'],
    ]),
  )
  a.deepEqual([...(snapshot.keyed.get('delays')?.keys() ?? [])], [0, 1, 2])
  a.deepEqual(snapshot.outputs.get('delays'), prepared)
  a.like(snapshot.header, {
    format: 1,
    job: 'flights',
    subtask: 'delays/1',
    epoch: 7,
    generation: 2,
  })
})

test('an empty snapshot, an empty state and an empty output come back empty', a => {
  a.deepEqual(restored(snapshotOf()).header.sections, [])
  const snapshot = restored(
    snapshotOf(keyed([]), { kind: 'output', operator: 'out', prepared: [] }),
  )
  a.deepEqual(snapshot.keyed.get('delays'), new Map())
  a.deepEqual(snapshot.outputs.get('out'), [])
})

test('NaN, undefined, -0 and __proto__ survive as values, fields and keys', a => {
  const odd: unknown = JSON.parse('{"__proto__": {"x": 1}}')
  const values: Entries = [
    ['nan', Number.NaN],
    ['undefined', undefined],
    ['zero', -0],
    ['__proto__', { own: 'value' }],
    ['field', odd],
    ['constructor', [undefined, Number.NaN]],
  ]
  const back = new Map(entriesOf(restored(snapshotOf(keyed(values)))))
  a.deepEqual(back, new Map(values))
  a.true(Object.is(back.get('zero'), -0))
  a.true(back.has('undefined'))
  a.deepEqual(Object.keys(back.get('field') as object), ['__proto__'])
})

const DateFromText = new t.Type<Date, string, unknown>(
  'DateFromText',
  (value): value is Date => value instanceof Date,
  (value, context) => {
    const date = new Date(typeof value === 'string' ? value : Number.NaN)
    return Number.isNaN(date.getTime()) ? t.failure(value, context) : t.success(date)
  },
  date => date.toISOString(),
)

/** A codec as a keyed section holds it: the section does not know its type. */
const erased = <A>(codec: t.Type<A, unknown, unknown>): t.Type<unknown, unknown, unknown> =>
  new t.Type<unknown, unknown, unknown>(codec.name, codec.is, codec.validate, value => {
    if (!codec.is(value)) throw new Error(`${String(value)} is no ${codec.name}`)
    return codec.encode(value)
  })

test('SN3: values go through the codec both ways', a => {
  const written: unknown[] = []
  const recording = (value: unknown) => {
    written.push(value)
    return serialize(value)
  }
  const spec = { codec: erased(t.type({ at: DateFromText })) }
  const input = snapshotOf(keyed([['a', { at: new Date(0) }]], spec))
  const chunks = [...encodeSnapshot(input, recording, 4096)]
  a.deepEqual(written.at(-1), ['a', { at: '1970-01-01T00:00:00.000Z' }])
  const decoded = decode(chunks, expecting(input))
  a.deepEqual(E.isRight(decoded) && entriesOf(decoded.right), [['a', { at: new Date(0) }]])
})

test('100 000 keys go into chunks below the limit, each made in bounded work', a => {
  const entries: Entries = Array.from({ length: 100_000 }, (_, n) => [
    `key-${n}`,
    { n, mean: n / 3 },
  ])
  const input = snapshotOf(keyed(entries))
  let serialized = 0
  let most = 0
  const counting = (value: unknown) => {
    if (Array.isArray(value)) serialized += value.length / 2
    return serialize(value)
  }
  const chunks: Uint8Array[] = []
  for (const chunk of encodeSnapshot(input, counting, 256 * 1024)) {
    chunks.push(chunk)
    most = Math.max(most, serialized)
    serialized = 0
  }
  a.true(chunks.length >= 100_000 / chunkEntriesMax)
  a.true(chunks.every(chunk => chunk.length <= 256 * 1024))
  a.true(most <= chunkEntriesMax + 64, `${most} entries in one step`)
  const decoded = decode(chunks, expecting(input))
  a.true(E.isRight(decoded))
  a.true(E.isRight(decoded) && sorted(entriesOf(decoded.right)) === sorted(entries))
})

test('random states of values of any size come back, in chunks below the limit', a => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  a.log(`seed ${seed}`)
  const below = seeded(seed)
  for (let run = 0; run < 60; run += 1) {
    const sizeMax = [3, 60, 900, 9_000][below(4)] ?? 3
    const limit = [512, 1_000, 4_096][below(3)] ?? 512
    const entries: Entries = Array.from({ length: below(400) }, (_, n) => [
      below(2) === 0 ? n : `${n}`,
      'x'.repeat(below(10) === 0 ? below(sizeMax) : below(20)),
    ])
    const records = Array.from({ length: below(50) }, () =>
      new Uint8Array(below(sizeMax)).fill(run),
    )
    const prepared: PreparedOutput[] = [
      { epoch: 1, records: records.slice(0, 20), meta: 'm' },
      { epoch: 2, records: records.slice(20) },
    ]
    const input = snapshotOf(keyed(entries), { kind: 'output', operator: 'out', prepared })
    const chunks = encode(input, limit)
    // Around a value there are at most 20 bytes of preamble, 10 of item, and the head of its run or slice.
    const largest = Math.max(...chunks.map(chunk => chunk.length))
    a.true(largest <= Math.max(limit, sizeMax + 120), `seed ${seed}, run ${run}: ${largest} bytes`)
    const snapshot = restored(input, limit)
    a.is(sorted(entriesOf(snapshot)), sorted(entries), `seed ${seed}, run ${run}`)
    a.deepEqual(snapshot.outputs.get('out'), prepared, `seed ${seed}, run ${run}`)
  }
})

test('large prepared output is split over chunks and keeps its order', a => {
  const records = Array.from({ length: 3_000 }, (_, n) =>
    serialize({ n, text: 'x'.repeat(n % 90) }),
  )
  const prepared: PreparedOutput[] = [
    { epoch: 6, records, meta: { lastSequence: 41 } },
    { epoch: 7, records: records.slice(0, 10) },
  ]
  const input = snapshotOf({ kind: 'output', operator: 'out', prepared })
  const chunks = encode(input, 16 * 1024)
  a.true(chunks.length > 10)
  a.true(chunks.every(chunk => chunk.length <= 16 * 1024))
  const back = restored(input, 16 * 1024).outputs.get('out')
  a.deepEqual(
    back?.map(({ epoch, meta }) => ({ epoch, meta })),
    [
      { epoch: 6, meta: { lastSequence: 41 } },
      { epoch: 7, meta: undefined },
    ],
  )
  const bytes = (outputs: readonly PreparedOutput[] = []) =>
    outputs.map(one => one.records.map(record => [...record]))
  a.deepEqual(bytes(back), bytes(prepared))
  a.true(back?.[0]?.records.every(record => record.buffer.byteLength === record.byteLength))
})

test('SN2: the encoder reads the capture while the operator goes on', a => {
  const store = new KeyedStateStore<unknown>({
    operator: 'delays',
    initial: () => 0,
    keyGroups,
    freeze: false,
  })
  for (let n = 0; n < 500; n += 1) store.restore(groupOf(n), [[n, 'before']])
  const state = store.capture()
  const input = snapshotOf({ kind: 'keyed', operator: 'delays', spec: anyValue, state })
  const chunks: Uint8Array[] = []
  for (const chunk of encodeSnapshot(input, serialize, 512)) {
    chunks.push(chunk)
    for (let n = 0; n < 500; n += 1) {
      store.setCurrent(n, groupOf(n))
      if (n % 3 === 0) store.view.clear()
      else store.view.set('after')
      store.setCurrent(`new ${n} ${chunks.length}`, groupOf(n))
      store.view.set('after')
    }
  }
  const decoded = decode(chunks, expecting(input))
  a.true(E.isRight(decoded))
  const back = E.isRight(decoded) ? entriesOf(decoded.right) : []
  a.is(back.length, 500)
  a.true(back.every(([, value]) => value === 'before'))
})

test('SN2: releasing a capture before its last chunk is a defect', a => {
  const section = keyed(Array.from({ length: 2_000 }, (_, n) => [n, 'x']))
  const chunks = encodeSnapshot(snapshotOf(section), serialize, 512)
  chunks.next()
  if (section.kind === 'keyed') section.state.release()
  a.throws(() => [...chunks], { instanceOf: InvariantViolation, message: /SN2|KS4/ })
})

test('SN4: two sections of one operator and kind are a defect', a => {
  a.throws(() => encode(snapshotOf(keyed([]), keyed([]))), { instanceOf: InvariantViolation })
  a.notThrows(() =>
    encode(snapshotOf(keyed([]), { kind: 'output', operator: 'delays', prepared: [] })),
  )
})

test('a value above the limit is refused with operator, key and bytes, and one below is stored', a => {
  const small: Entries = [
    ['small', 'x'],
    ['JFK', 'x'.repeat(stateValueBytesMax - 64)],
  ]
  a.deepEqual(new Map(entriesOf(restored(snapshotOf(keyed(small))))), new Map(small))
  const large: Entries = [
    ['small', 'x'],
    ['JFK', 'x'.repeat(stateValueBytesMax)],
  ]
  for (const limit of [4096, stateValueBytesMax]) {
    const error = refusal(a, () => encode(snapshotOf(keyed(large)), limit))
    a.is(error.type, 'full')
    a.regex(
      error.message,
      /state of key "JFK" of "delays" takes 10485\d\d bytes, and 1048576 is the limit/,
    )
  }
})

test('a value that cannot be serialized is refused with operator and key', a => {
  const entries: Entries = Array.from({ length: 640 }, (_, n) => [n, n === 320 ? () => n : n])
  const error = refusal(a, () => encode(snapshotOf(keyed(entries))))
  a.is(error.type, 'invalid')
  a.regex(
    error.message,
    /^the state of key 320 of "delays" cannot be stored: .*could not be cloned/,
  )
  const source: SectionInput = { kind: 'source', operator: 'flights', position: Symbol('s') }
  a.regex(refusal(a, () => encode(snapshotOf(source))).message, /position of "flights"/)
})

test('a value that its codec does not encode is refused with operator and key', a => {
  const error = refusal(a, () =>
    encode(snapshotOf(keyed([['JFK', 'no date']], { codec: erased(DateFromText) }))),
  )
  a.regex(error.message, /codec of "delays" does not encode the state of key "JFK": no date is no/)
})

const severalChunks = () => {
  const prepared = [{ epoch: 7, records: Array.from({ length: 9 }, () => new Uint8Array(50)) }]
  const input = snapshotOf(
    { kind: 'source', operator: 'flights', position: { offset: 1 } },
    keyed(Array.from({ length: 20 }, (_, n) => [`key-${n}`, { n }])),
    { kind: 'output', operator: 'out', prepared },
  )
  return { input, chunks: encode(input, 512) }
}

test('one altered byte in any chunk is detected', a => {
  const { input, chunks } = severalChunks()
  a.true(chunks.length >= 3)
  for (const [index, chunk] of chunks.entries()) {
    for (let at = 0; at < chunk.length; at += 1) {
      for (const bit of [0x01, 0x80]) {
        const altered = Uint8Array.from(chunk)
        altered[at] = (altered[at] ?? 0) ^ bit
        const error = problemOf(chunks.with(index, altered), expecting(input))
        if (error?.type !== 'corrupt') a.fail(`chunk ${index}, byte ${at}: ${error?.message}`)
      }
    }
  }
})

test('a missing, repeated, swapped or cut chunk is detected', a => {
  const { input, chunks } = severalChunks()
  const [first, second] = chunks
  if (first === undefined || second === undefined) return a.fail('too few chunks')
  const broken = [
    [],
    ...chunks.map((_, index) => chunks.toSpliced(index, 1)),
    [first, ...chunks],
    [...chunks, ...chunks.slice(-1)],
    [second, first, ...chunks.slice(2)],
    chunks.with(1, second.subarray(0, -1)),
    chunks.with(1, second.subarray(0, 10)),
    chunks.with(1, new Uint8Array(0)),
  ]
  for (const [index, some] of broken.entries()) {
    a.is(problemOf(some, expecting(input))?.type, 'corrupt', `case ${index}`)
  }
})

test('a chunk is read wherever it lies in a larger buffer', a => {
  const { input, chunks } = severalChunks()
  const moved = chunks.map((chunk, shift) => {
    const socket = new Uint8Array(chunk.length + 20)
    socket.set(chunk, shift + 1)
    return socket.subarray(shift + 1, shift + 1 + chunk.length)
  })
  a.deepEqual(decode(moved, expecting(input)), decode(chunks, expecting(input)))
})

/** The chunk as another version of the format would write it: with a right checksum. */
const reversioned = (chunk: Uint8Array, version: number): Uint8Array => {
  const other = Uint8Array.from(chunk)
  const view = new DataView(other.buffer)
  view.setUint16(4, version)
  view.setUint32(16, crc32(other.subarray(20), crc32(other.subarray(0, 16))))
  return other
}

test('CH1: a newer format is refused with both versions', a => {
  const input = snapshotOf()
  const error = problemOf(
    encode(input).map(chunk => reversioned(chunk, 3)),
    expecting(input),
  )
  a.is(error?.type, 'conflict')
  a.is(error?.message, 'the snapshot has format version 3, and this program reads versions up to 2')
})

test('a snapshot of another job, subtask, epoch, generation or maxParallelism is refused', a => {
  const input = snapshotOf()
  const chunks = encode(input)
  const cases: [Partial<SnapshotExpectation>, RegExp][] = [
    [{ job: 'other' }, /of job "flights", not of "other"/],
    [{ part: { ...input, subtask: 'delays/0' } }, /of subtask "delays\/1", not of "delays\/0"/],
    [{ part: { ...input, epoch: 8 } }, /of epoch "7", not of "8"/],
    [{ part: { ...input, generation: 3 } }, /of generation "2", not of "3"/],
    [{ maxParallelism: 64 }, /has maxParallelism 128, and the job has 64/],
  ]
  for (const [changed, message] of cases) {
    const error = problemOf(chunks, expecting(input, changed))
    a.is(error?.type, 'conflict')
    a.regex(error?.message ?? '', message)
    a.truthy(error?.next)
  }
})

const Mean = erased(t.type({ flights: t.number, total: t.number }))

test('another codec or state version is refused with both fingerprints', a => {
  const input = snapshotOf(keyed([['JFK', { flights: 1, total: 2 }]], { codec: Mean }))
  const chunks = encode(input)
  const changes: [StateCodec, string][] = [
    [{ codec: erased(t.type({ flights: t.number })) }, '{ flights: number } version 1'],
    [{ codec: Mean, version: 2 }, '{ flights: number, total: number } version 2'],
  ]
  for (const [spec, wanted] of changes) {
    const sections = [{ kind: 'keyed', operator: 'delays', spec }] as const
    const error = problemOf(chunks, expecting(input, { sections }))
    a.is(error?.type, 'conflict')
    a.is(
      error?.message,
      'the state of "delays" was stored with the codec { flights: number, total: number } version 1, ' +
        `and the job expects ${wanted}`,
    )
    a.regex(error?.next ?? '', /codec and version that stored it/)
  }
  const same = [{ kind: 'keyed', operator: 'delays', spec: { codec: Mean, version: 1 } }] as const
  a.is(problemOf(chunks, expecting(input, { sections: same })), undefined)
  a.is(codecFingerprint(anyValue), 'unknown version 1')
})

test('SD3: state of a vertex that the job no longer has is refused by its name', a => {
  const { input, chunks } = severalChunks()
  for (const [index, gone] of input.sections.entries()) {
    const sections = input.sections.toSpliced(index, 1)
    const error = problemOf(chunks, expecting(input, { sections }))
    a.is(error?.type, 'conflict')
    a.true(error?.message.includes(`${gone.kind} state of "${gone.operator}"`))
  }
})

test('a new stateful operator is absent from an older snapshot, and starts empty', a => {
  const input = snapshotOf(keyed([['a', 1]]))
  const sections = [...input.sections, { kind: 'keyed', operator: 'new', spec: anyValue } as const]
  const decoded = decode(encode(input), expecting(input, { sections }))
  a.true(E.isRight(decoded))
  a.false(E.isRight(decoded) && decoded.right.keyed.has('new'))
})

test('a stored value that its codec refuses is an error with key and path', a => {
  const input = snapshotOf(keyed([['JFK', { flights: 'one', total: 1 }]]))
  const named = new t.Type<unknown, unknown, unknown>('unknown', Mean.is, Mean.validate, t.identity)
  const sections = [{ kind: 'keyed', operator: 'delays', spec: { codec: named } }] as const
  const error = problemOf(encode(input), expecting(input, { sections }))
  a.is(error?.type, 'invalid')
  a.regex(
    error?.message ?? '',
    /codec of "delays" refuses the stored state of key "JFK": Invalid value "one" supplied to .*flights: number/,
  )
})

test('key groups outside of the range are ignored', a => {
  const input = snapshotOf(keyed(Array.from({ length: 640 }, (_, n) => [n, n])))
  const decoded = decode(encode(input), expecting(input, { keyGroups: { from: 10, to: 12 } }))
  a.true(E.isRight(decoded))
  const groups = E.isRight(decoded) ? decoded.right.keyed.get('delays') : undefined
  a.deepEqual([...(groups?.keys() ?? [])], [10, 11, 12])
  a.is([...(groups?.values() ?? [])].flat().length, 30)
})

test('a record of a loop above the limit is refused with the loop and its bytes, and one below is stored', a => {
  const loop = (bytes: number): SnapshotInput =>
    snapshotOf({ kind: 'loop', operator: 'walk', records: ['small', 'x'.repeat(bytes), 'last'] })
  a.notThrows(() => encode(loop(stateValueBytesMax - 64), 4_096))
  const error = refusal(a, () => encode(loop(stateValueBytesMax), 4_096))
  a.is(error.type, 'full')
  a.regex(
    error.message,
    /^a record in the loop "walk" takes 10485\d\d bytes, and 1048576 is the limit/,
  )
})

test('SN1: a limit outside of its bounds is a defect', a => {
  for (const limit of [0, 255, stateValueBytesMax + 1, Number.NaN]) {
    a.throws(() => encode(snapshotOf(), limit), { instanceOf: InvariantViolation, message: /SN1/ })
  }
})
