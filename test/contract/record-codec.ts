/** The contract of `RecordCodec`: what every implementation must do. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { RecordCodec } from '../../lib/ports/record-codec.js'
import { describeValue } from '../adapters/codec/describe-value.js'

const values: readonly unknown[] = [
  ...[undefined, null, true, 1, -0, Number.NaN, Number.NEGATIVE_INFINITY, 10n, '', '\u0001u'],
  ...[[], {}, [undefined], { a: undefined }, new Uint8Array([1, 2]), new Date(5), '日\ud800'],
  Object.fromEntries([['__proto__', 1]]),
  new Map<unknown, unknown>([
    ['1', 1],
    [1, new Map()],
  ]),
]

const batches: readonly (readonly unknown[])[] = [
  [],
  ...values.map(value => [value]),
  ...values.map(value => [{ value, n: 1 }]),
  values,
  [1, 2, -0],
  ['a', '', 'ł'],
  [
    { b: 'x', a: 1 },
    { b: 'y', a: 0.5 },
  ],
  [
    { inner: { x: 1 }, more: null },
    { inner: { x: 2 }, more: 3 },
  ],
  [{ a: 1 }, { b: 1, a: 2 }],
]

const right = <A>(of: E.Either<{ readonly message: string }, A>): A => {
  if (E.isLeft(of)) throw new Error(of.left.message)
  return of.right
}

export const recordCodecContract = (name: string, codec: RecordCodec): void => {
  test(`${name}: a value comes back as it was`, t => {
    for (const value of values) {
      const back = right(codec.deserialize(right(codec.serialize(value))))
      t.is(describeValue(back), describeValue(value))
    }
  })

  test(`${name}: a batch comes back as it was, record by record`, t => {
    for (const records of batches) {
      const back = right(
        codec.deserializeBatch(right(codec.serializeBatch(records)), records.length),
      )
      t.deepEqual(
        back.map(record => describeValue(record)),
        records.map(record => describeValue(record)),
      )
    }
  })

  test(`${name}: what cannot leave a process is refused as invalid, alone and in a batch`, t => {
    for (const value of [() => 1, Symbol('s')]) {
      for (const of of [[value], [{ a: 1, value }], [{ a: 1 }, { a: value }]]) {
        const refused = [codec.serialize(of), codec.serializeBatch(of)]
        t.deepEqual(
          refused.map(one => E.isLeft(one) && one.left.type),
          ['invalid', 'invalid'],
        )
      }
    }
  })

  test(`${name}: bytes that do not read, or not as so many records, are corrupt`, t => {
    const type = (read: E.Either<{ readonly type: string }, unknown>): unknown =>
      E.isLeft(read) ? read.left.type : 'read'
    const bytes = right(codec.serializeBatch([{ a: 1 }, { a: 2 }]))
    t.is(type(codec.deserializeBatch(bytes, 2)), 'read')
    for (const count of [0, 1, 3, 2 ** 32 - 1]) {
      t.is(type(codec.deserializeBatch(bytes, count)), 'corrupt')
    }
    t.is(type(codec.deserializeBatch(bytes.subarray(0, bytes.length - 1), 2)), 'corrupt')
    t.is(type(codec.deserializeBatch(new Uint8Array(0), 0)), 'corrupt')
    t.is(type(codec.deserialize(new Uint8Array([1, 2]))), 'corrupt')
  })
}
