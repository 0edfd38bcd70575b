import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { deserialize, serialize } from '../../../lib/adapters/codec/v8.js'
import { SluiceError } from '../../../lib/errors.js'

const roundTrip = (value: unknown): unknown => {
  const back = deserialize(serialize(value))
  if (E.isLeft(back)) throw new SluiceError(back.left)
  return back.right
}

test('what JSON loses survives', t => {
  const value = {
    nan: Number.NaN,
    minusZero: -0,
    infinite: Number.NEGATIVE_INFINITY,
    nothing: undefined,
    date: new Date(1_700_000_000_000),
    map: new Map<unknown, unknown>([
      [1, 'number'],
      ['1', 'string'],
    ]),
    set: new Set([1]),
    big: 2n ** 80n,
    list: [undefined, null, 3],
    text: 'ä\u0000😀\ud800',
  }
  t.deepEqual(roundTrip(value), value)
  t.true(Object.is((roundTrip({ z: -0 }) as { z: number }).z, -0))
  t.true('nothing' in (roundTrip(value) as object))
})

test('an own __proto__ field stays an own field', t => {
  const value: unknown = JSON.parse('{"__proto__": {"polluted": 1}, "a": 1}')
  const back = roundTrip(value) as Record<string, unknown>
  t.deepEqual(Object.keys(back), ['__proto__', 'a'])
  t.is(Object.getPrototypeOf(back), Object.prototype)
  t.is(back.polluted, undefined)
})

test('a view of a large buffer round-trips its own bytes only', t => {
  const pool = new Uint8Array(100_000).fill(7)
  pool.set([1, 2, 3], 50_000)
  const bytes = serialize({ view: pool.subarray(50_000, 50_003), pooled: Buffer.from('abc') })
  t.true(bytes.length < 200)
  const back = deserialize(bytes)
  t.true(E.isRight(back))
  const { view, pooled } = (back as E.Right<{ view: Uint8Array; pooled: Buffer }>).right
  t.deepEqual([...view], [1, 2, 3])
  t.is(pooled.toString(), 'abc')
})

test('arrays of bytes own their memory, at every alignment', t => {
  for (let shift = 0; shift < 9; shift += 1) {
    const value = {
      pad: 'x'.repeat(shift),
      buffer: Buffer.from([1, 2, 3]),
      u8: new Uint8Array([4, 5]),
      u16: new Uint16Array([600, 700]),
      f64: new Float64Array([1.5, -0, Number.NaN]),
      i64: new BigInt64Array([-1n]),
      view: new DataView(new Uint8Array([9, 8]).buffer),
      empty: new Uint8Array(0),
    }
    // At an odd place in a larger buffer, as a chunk in a socket's read buffer.
    const bytes = serialize(value)
    const socket = new Uint8Array(bytes.length + 64)
    socket.set(bytes, shift)
    const back = deserialize(socket.subarray(shift, shift + bytes.length))
    if (E.isLeft(back)) throw new SluiceError(back.left)
    socket.fill(0xff)
    const got = back.right as typeof value
    t.deepEqual(got, value)
    t.true(Buffer.isBuffer(got.buffer))
    for (const part of [got.buffer, got.u8, got.u16, got.f64, got.i64, got.view, got.empty]) {
      t.is(part.buffer.byteLength, part.byteLength)
    }
  }
})

test('one array of bytes that a record names twice is still one', t => {
  const bytes = new Uint8Array([1])
  const back = roundTrip({ a: bytes, b: bytes }) as { a: unknown; b: unknown }
  t.is(back.a, back.b)
})

test('what cannot leave a process is refused with the name of its owner', t => {
  const values: unknown[] = [
    () => 1,
    Symbol('s'),
    Promise.resolve(1),
    new Proxy({}, {}),
    new WeakMap(),
  ]
  for (const value of values) {
    const error = t.throws(() => serialize({ deep: [value] }, 'a record of "delays"'), {
      instanceOf: SluiceError,
      message: /^a record of "delays" cannot be serialized: /,
    })
    t.is(error?.error.type, 'invalid')
    t.truthy(error?.error.next)
  }
})

test('a long function is not quoted in full', t => {
  const source = `return '${'x'.repeat(10_000)}'`
  const error = t.throws(() => serialize(new Function(source)), { instanceOf: SluiceError })
  t.true((error?.message.length ?? 0) < 300)
})

test('bytes that do not read are an error value', t => {
  const good = serialize({ a: [1, 2, 3], b: 'text', c: new Uint8Array(4) })
  const bad = [new Uint8Array(0), new Uint8Array([1, 2, 3]), good.subarray(0, good.length - 6)]
  for (const bytes of bad) {
    const back = deserialize(bytes)
    t.true(E.isLeft(back))
    t.is((back as E.Left<{ type: string }>).left.type, 'corrupt')
  }
})

test('no altered byte makes deserialize throw', t => {
  const good = serialize([
    { a: 1, b: 'text', c: new Uint8Array(9), d: new Map([[1, new Date(0)]]) },
  ])
  let refused = 0
  for (let at = 0; at < good.length; at += 1) {
    for (let value = 0; value < 256; value += 1) {
      const bytes = Uint8Array.from(good)
      bytes[at] = value
      if (E.isLeft(deserialize(bytes))) refused += 1
    }
  }
  t.true(refused > 1000)
})
