import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { ColumnCodec } from '../../../lib/adapters/codec/columns.js'
import { compileShape } from '../../../lib/adapters/codec/compiled-shape.js'
import { deserialize, serialize } from '../../../lib/adapters/codec/v8.js'
import { SluiceError } from '../../../lib/errors.js'
import { prng, seedFromEnvironment } from '../../support/prng.js'
import { describeValue } from './describe-value.js'
import { randomBatch } from './random-batch.js'

const codec = new ColumnCodec()
const forms = ['value', 'records', 'bare'] as const

const formOf = (bytes: Uint8Array): string => forms[bytes[0] ?? -1] ?? 'unknown'

const read = (bytes: Uint8Array, count: number, by = codec): readonly unknown[] => {
  const back = by.deserialize(bytes, count)
  if (E.isLeft(back)) throw new SluiceError(back.left)
  return back.right
}

/** What V8 makes of one record by itself. */
const cloned = (record: unknown): unknown => {
  const back = deserialize(serialize(record))
  return E.isRight(back) ? back.right : back.left
}

/** The form of a batch that came back as structured clone brings it. */
const arrives = (t: ExecutionContext, records: readonly unknown[]): string => {
  const bytes = codec.serialize(records)
  const back = read(bytes, records.length)
  t.deepEqual(
    back.map(record => describeValue(record)),
    records.map(record => describeValue(cloned(record))),
  )
  return formOf(bytes)
}

class Point {
  constructor(
    readonly x: number,
    readonly y: number,
  ) {}
}

test('records that are alike go in columns, and come back with their fields in order', t => {
  const wide = ['', 'ł', '\ud800', '\udc00 alone', 'x'.repeat(300), '日本'.repeat(40)]
  const batches: readonly (readonly unknown[])[] = [
    [
      { b: 1, a: 'x' },
      { b: -2, a: '' },
    ],
    [{ n: -0 }, { n: Number.NaN }, { n: Number.NEGATIVE_INFINITY }, { n: 2 ** 31 }, { n: 0.1 }],
    [{ n: 0 }, { n: -0 }],
    [{ n: -(2 ** 31) }, { n: 2 ** 31 - 1 }],
    wide.map((text, n) => ({ text, n })),
    Array.from({ length: 60 }, (_, n) => ({ text: 'é'.repeat(n) })),
    [{ long: 'a'.repeat(70_000) }, { long: 'ÿ'.repeat(255) }],
    [{ yes: true }, { yes: false }],
    [{ u: undefined }, { u: 1 }, { u: null }, { u: 'x' }, { u: 5n }, { u: true }],
    [{ at: new Date(5), list: [1, 'a', undefined], bytes: new Uint8Array([1, 2]), n: 1 }],
    [
      { inner: { x: 1, deep: { y: 'a' } }, z: 2 },
      { inner: { x: 2, deep: { y: 'b' } }, z: 3 },
    ],
    [{ "it's": 1, '"\\\n\u2028': 2, '\ud800': 3, constructor: 4, toString: 5 }],
    [Object.freeze({ a: 1 })],
    [{ a: 1, [Symbol('s')]: 2 }],
    [
      {
        get a() {
          return 1
        },
      },
    ],
    [Object.defineProperty({ a: 1 }, 'hidden', { value: 2 })],
  ]
  for (const records of batches) t.is(arrives(t, records), 'records', describeValue(records))
})

test('values that are no objects are one column', t => {
  for (const records of [[1, -0], [1, 2], ['a', 'ł'], ['a'.repeat(300)], [true, false]]) {
    t.is(arrives(t, records), 'bare')
  }
})

test('all other batches go as one value of V8', t => {
  const shared = { x: 1 }
  const own: Record<string, unknown> = { a: 1 }
  own.self = own
  const listed: Record<string, unknown> = { a: 1 }
  listed.list = Object.assign([1], { record: listed })
  const fields = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, k) => [`f${k}`, k]))
  const sparse: unknown[] = [1]
  sparse[5] = 2
  const holed = [1, 2, 3]
  delete holed[1]
  const batches: readonly (readonly unknown[])[] = [
    [],
    [undefined, null, 1n, 'a', 1],
    [1, 'a'],
    [{ a: 1 }, { b: 1 }],
    [
      { a: 1, b: 2 },
      { b: 2, a: 1 },
    ],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: 1 }, null],
    [{ a: 1 }, 'a'],
    [{}],
    [
      { a: {}, b: 1 },
      { a: 1, b: 2 },
    ],
    [{ b: 1, 0: 2 }],
    [JSON.parse('{"__proto__": {"polluted": 1}, "a": 1}')],
    [Object.assign(Object.create(null), { a: 1 })],
    [new Point(1, 2)],
    [{ p: new Point(1, 2) }],
    [{ map: new Map([[1, shared]]) }],
    [{ error: new TypeError('x'), pattern: /a/g }],
    [{ list: [shared] }],
    [{ list: sparse }],
    [{ list: holed }],
    [{ one: shared, two: shared }],
    [own],
    [listed],
    [{ inner: { x: 1 } }, { inner: null }],
    [{ a: { a: { a: { a: { a: 1 } } } } }],
    [fields(65)],
    [{ ['n'.repeat(5_000)]: 1 }],
    [[1, 2], [3]],
    [new Date(1), new Uint8Array(3)],
    [Object(1), Object('a')],
  ]
  for (const records of batches) t.is(arrives(t, records), 'value', describeValue(records))
  t.is(arrives(t, [fields(64)]), 'records')
})

test('one value in two fields of a record is still one', t => {
  const bytes = new Uint8Array([1])
  const list = [1]
  t.is(arrives(t, [{ a: bytes, b: bytes, n: 1, list, again: list }]), 'records')
  const two = { x: 1 }
  codec.serialize([{ a: { x: 1 }, b: { x: 2 } }])
  t.is(
    arrives(t, [
      { a: { x: 1 }, b: { x: 2 } },
      { a: two, b: two },
    ]),
    'value',
  )
})

test('arrays of bytes own their memory', t => {
  const written = codec.serialize([{ bytes: new Uint8Array([1, 2, 3]), n: 1 }])
  const [record] = read(written, 1) as readonly { readonly bytes: Uint8Array }[]
  written.fill(0xff)
  t.deepEqual([...(record?.bytes ?? [])], [1, 2, 3])
  t.is(record?.bytes.buffer.byteLength, 3)
})

test('what cannot leave a process is refused in the words of V8', t => {
  const { proxy, revoke } = Proxy.revocable({ a: 1 }, {})
  revoke()
  const throwing = {
    get a(): number {
      throw new Error('not now')
    },
  }
  const values: readonly unknown[] = [
    ...[() => 1, Symbol('s'), new WeakMap(), Promise.resolve(1), new Proxy({ a: 1 }, {}), proxy],
    throwing,
  ]
  const batches = values.flatMap(value => [
    [{ a: 1 }, value],
    [{ a: 1 }, { a: value }],
    [{ a: [1, value] }],
    [value],
    [{ a: { b: value } }],
  ])
  for (const records of batches) {
    const expected = t.throws(() => serialize(records, 'a record'), { instanceOf: SluiceError })
    const error = t.throws(() => codec.serialize(records), { instanceOf: SluiceError })
    t.deepEqual(
      [error?.message, error?.error.type, error?.error.next],
      [expected?.message, 'invalid', expected?.error.next],
    )
  }
})

test('CO1: random records come back as structured clone brings them', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  const counts = new Map<string, number>()
  for (let round = 0; round < 3_000; round += 1) {
    const form = arrives(t, randomBatch(random))
    counts.set(form, (counts.get(form) ?? 0) + 1)
  }
  t.log(Object.fromEntries(counts))
  for (const form of forms) t.true((counts.get(form) ?? 0) > 100, form)
})

test('CO1: a shape that was not compiled reads the same', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  const interpreting = new ColumnCodec({ shapesMax: 0 })
  for (let round = 0; round < 1_000; round += 1) {
    const records = randomBatch(random)
    const bytes = codec.serialize(records)
    t.deepEqual(
      read(bytes, records.length, interpreting).map(record => describeValue(record)),
      records.map(record => describeValue(cloned(record))),
    )
    t.not(formOf(interpreting.serialize([{ a: 1 }])), 'records')
  }
})

test('CO2: neither altered, cut, extended nor random bytes make reading throw', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  let refused = 0
  const rounds = 8_000
  for (let round = 0; round < rounds; round += 1) {
    const records = randomBatch(random)
    const written = codec.serialize(records)
    const bytes = Buffer.alloc(
      random.chance(0.2) ? random.below(80) : written.length + random.below(3),
    )
    bytes.set(written.subarray(0, bytes.length))
    const from = random.chance(0.5) ? Math.min(bytes.length, 40) : bytes.length
    for (let flips = random.below(4); flips > 0 && from > 0; flips -= 1) {
      bytes[random.below(from)] = random.below(256)
    }
    const count = random.chance(0.8) ? records.length : random.below(2 ** 31) * 2
    const back = codec.deserialize(bytes, count)
    if (E.isLeft(back)) {
      refused += 1
      t.is(back.left.type, 'corrupt')
    } else {
      t.true(back.right.length === count && count <= bytes.length)
    }
  }
  t.true(refused > rounds / 10 && refused < rounds, `${refused}`)
})

test('CO2: a count, a length or a shape beyond the bytes there is refused with the facts', t => {
  const message = (bytes: Uint8Array, count: number): string => {
    const back = codec.deserialize(bytes, count)
    return E.isLeft(back) ? back.left.message : t.fail()
  }
  const good = codec.serialize([{ a: 1, b: 'x' }])
  const shape = Buffer.from('["a","b"]')
  const columnsAt = 3 + shape.length
  t.is(good.length, columnsAt + 5 + 7)
  t.regex(
    message(good, 2 ** 32 - 1),
    /^24 bytes do not read as 4294967295 records: 12 bytes hold no 4294967295 values of 2 columns/,
  )
  t.regex(message(good.subarray(0, 5), 1), /the text of its shape is cut/)
  t.regex(
    message(good.subarray(0, good.length - 1), 1),
    /a column of 6 bytes does not fit into the 5 that are left/,
  )
  t.regex(message(Buffer.concat([good, Buffer.from([0])]), 1), /1 bytes follow its end/)
  t.regex(message(new Uint8Array(0), 1), /there are none/)
  t.regex(message(Uint8Array.of(9), 0), /form 9 is unknown/)
  const altered = (at: number, value: number): Uint8Array => {
    const bytes = Uint8Array.from(good)
    bytes[at] = value
    return bytes
  }
  t.regex(message(altered(columnsAt, 77), 1), /kind 77 is unknown/)
  t.regex(
    message(altered(columnsAt + 5 + 1, 0), 1),
    /its texts have 1 characters where it promises 0/,
  )
  t.regex(message(altered(3, 0x20), 1), /is no shape/)
  const named = (text: string): Uint8Array =>
    Buffer.concat([Uint8Array.of(1, text.length, 0), Buffer.from(text), Uint8Array.of(3, 1, 3, 1)])
  t.true(E.isRight(codec.deserialize(named('["a","c"]'), 1)))
  for (const text of [
    '["__proto__","a"]',
    '["a","a"]',
    '["1","a"]',
    '[]',
    '["a",["b",[]], "c"]',
    '{}',
  ]) {
    t.regex(message(named(text), 1), /is no shape/, text)
  }
  // An array of V8's with a length that no bytes stand for.
  const sparse = Buffer.concat([Uint8Array.of(0), serialize(new Array(100_000))])
  t.regex(message(sparse, 100_000), /its value is no array of as many/)
})

test('CO3: shapes are compiled up to a limit, and never one for a batch that has been seen', t => {
  let compiled = 0
  const counting = new ColumnCodec({
    shapesMax: 3,
    compile: shape => {
      compiled += 1
      return compileShape(shape)
    },
  })
  const written: string[] = []
  for (let round = 0; round < 20; round += 1) {
    for (let k = 0; k < 5; k += 1) {
      const bytes = counting.serialize([{ [`f${k}`]: 1 }])
      if (round === 0) written.push(formOf(bytes))
      t.deepEqual(read(bytes, 1, counting), [{ [`f${k}`]: 1 }])
    }
  }
  t.is(compiled, 3)
  t.deepEqual(written, ['records', 'records', 'records', 'value', 'value'])
  const foreign = codec.serialize([{ other: 1, fields: 'x' }])
  t.deepEqual(read(foreign, 1, counting), [{ other: 1, fields: 'x' }])
  t.is(compiled, 3)
})

test('a process that may not compile text writes values of V8 and reads columns', async t => {
  const file = new URL('../../../lib/adapters/codec/columns.js', import.meta.url).href
  const foreign = Buffer.from(codec.serialize([{ a: 1, b: { c: 'x' } }])).toString('hex')
  const program = `
    import { ColumnCodec } from '${file}'
    const codec = new ColumnCodec()
    const own = codec.serialize([{ a: 1 }])
    const read = codec.deserialize(Buffer.from('${foreign}', 'hex'), 1)
    console.log(JSON.stringify([own[0], codec.deserialize(own, 1).right, read.right]))`
  const run = promisify(execFile)
  const flags = ['--disallow-code-generation-from-strings', '--input-type=module', '-e', program]
  const { stdout } = await run(process.execPath, flags)
  t.deepEqual(JSON.parse(stdout), [0, [{ a: 1 }], [{ a: 1, b: { c: 'x' } }]])
})

test('a long batch grows the buffer, and the next one is as small as ever', t => {
  const long = Array.from({ length: 4_096 }, (_, n) => ({ text: 'x'.repeat(2_000), n }))
  t.is(read(codec.serialize(long), long.length).length, long.length)
  t.true(codec.serialize([{ a: 1 }]).buffer.byteLength < 100)
})
