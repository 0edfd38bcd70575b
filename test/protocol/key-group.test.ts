import test from 'ava'
import { InvariantViolation } from '../../lib/invariant.js'
import {
  hashOfText,
  KeyRefused,
  keyGroupOf,
  rangeOf,
  subtaskOf,
} from '../../lib/protocol/key-group.js'

test('the hash is MurmurHash3 x86 32 over UTF-16LE', t => {
  // Published vectors of the algorithm, their bytes written as UTF-16 code units.
  t.is(hashOfText('', 0), 0)
  t.is(hashOfText('', 1), 0x514e28b7)
  t.is(hashOfText('', 0xffffffff), 0x81f16f39)
  t.is(hashOfText('\uffff\uffff', 0), 0x76293b50)
  t.is(hashOfText('\u4321\u8765', 0), 0xf55b516b)
  t.is(hashOfText('\u4321\u8765', 0x5082edee), 0x2362f9de)
  t.is(hashOfText('\u4321', 0), 0xa0f7b07a)
  t.is(hashOfText('\u0000\u0000', 0), 0x2362f9de)
  t.is(hashOfText('\u0000', 0), 0x30f4c306)
})

// Changing one of these loses the state of every job that has run: see the module's comment.
test('KG1: golden values, fixed for the life of the state', t => {
  const keys = [
    '',
    'a',
    'ab',
    'JFK',
    'LAX',
    'é',
    '😀',
    '__proto__',
    '\ud800',
    '1',
    'x'.repeat(1000),
  ]
  t.deepEqual(
    keys.map(key => keyGroupOf(key, 32_768)),
    [23234, 2296, 12005, 14614, 17531, 10454, 11066, 12035, 19267, 31938, 21489],
  )
  const numbers = [0, 1, -1, 42, 0.5, 2 ** 31, 2 ** 53, Number.MAX_VALUE, Number.MIN_VALUE]
  t.deepEqual(
    numbers.map(key => keyGroupOf(key, 32_768)),
    [24345, 6297, 31067, 2544, 20620, 14947, 21919, 22564, 5843],
  )
  t.deepEqual(
    ['JFK', 'LAX', 'ORD'].map(key => keyGroupOf(key, 128)),
    [22, 123, 35],
  )
})

test('KG2: every group belongs to exactly one range, for every parallelism up to 64', t => {
  for (let max = 1; max <= 64; max += 1) {
    for (let parallelism = 1; parallelism <= max; parallelism += 1) {
      const owners = new Array<number>(max).fill(-1)
      for (let index = 0; index < parallelism; index += 1) {
        const { from, to } = rangeOf(index, parallelism, max)
        if (from > to) t.fail(`subtask ${index} of ${parallelism} owns nothing of ${max}`)
        for (let group = from; group <= to; group += 1) {
          if (owners[group] !== -1) t.fail(`group ${group} of ${max} has two owners`)
          owners[group] = index
        }
      }
      const other = owners.map((_, group) => subtaskOf(group, parallelism, max))
      t.deepEqual(owners, other, `${parallelism} of ${max}`)
    }
  }
})

test('KG2: ranges and subtasks agree at the largest number of groups', t => {
  const max = 32_768
  for (const parallelism of [1, 3, 7, 1000, 32_767, 32_768]) {
    let next = 0
    for (let index = 0; index < parallelism; index += 1) {
      const { from, to } = rangeOf(index, parallelism, max)
      if (from !== next || subtaskOf(from, parallelism, max) !== index) t.fail(`${index}`)
      if (subtaskOf(to, parallelism, max) !== index) t.fail(`${index}`)
      next = to + 1
    }
    t.is(next, max)
  }
})

test('KG2: a subtask that does not exist has no range', t => {
  for (const [index, parallelism, max] of [
    [0, 0, 8],
    [0, 9, 8],
    [2, 2, 8],
    [-1, 2, 8],
  ] as const)
    t.throws(() => rangeOf(index, parallelism, max), { instanceOf: InvariantViolation })
})

test('KG3: a number and its text are different keys, and -0 is 0', t => {
  const max = 32_768
  const same = Array.from({ length: 1000 }, (_, n) => n).filter(
    n => keyGroupOf(n, max) === keyGroupOf(String(n), max),
  )
  t.true(same.length < 5, `${same.length} of 1000 coincide`)
  t.is(keyGroupOf(-0, max), keyGroupOf(0, max))
})

test('what is no key is refused with what it was', t => {
  const refused = (key: unknown): string | undefined =>
    t.throws(() => Reflect.apply(keyGroupOf, undefined, [key, 128]), { instanceOf: KeyRefused })
      ?.message
  const start = 'a key must be a string or a finite number, found '
  t.is(refused(Number.NaN), `${start}NaN`)
  t.is(refused(Number.POSITIVE_INFINITY), `${start}Infinity`)
  t.is(refused(Number.NEGATIVE_INFINITY), `${start}-Infinity`)
  t.is(refused(undefined), `${start}undefined`)
  t.is(refused(null), `${start}null`)
  t.is(refused({}), `${start}a value of type object`)
  t.is(refused(1n), `${start}a value of type bigint`)
  t.is(refused(true), `${start}a value of type boolean`)
  t.is(refused(Symbol('x')), `${start}a value of type symbol`)
  t.is(refused(Object('text')), `${start}a value of type object`)
})

/** How far the fullest and the emptiest group are from an even share, as a ratio. */
const spread = (keys: readonly (string | number)[], max: number): readonly [number, number] => {
  const counts = new Array<number>(max).fill(0)
  for (const key of keys) {
    const group = keyGroupOf(key, max)
    counts[group] = (counts[group] ?? 0) + 1
  }
  const share = keys.length / max
  return [Math.min(...counts) / share, Math.max(...counts) / share]
}

test('ordinary keys spread evenly over the groups', t => {
  const n = 128_000
  const kinds: Readonly<Record<string, (at: number) => string | number>> = {
    counting: at => at,
    negative: at => -at,
    fractions: at => at / 8,
    texts: at => `user-${at}`,
    padded: at => String(at).padStart(12, '0'),
    wide: at => `顧客${at}`,
  }
  for (const [kind, keyAt] of Object.entries(kinds)) {
    const keys = Array.from({ length: n }, (_, at) => keyAt(at))
    const [low, high] = spread(keys, 128)
    // 1000 keys a group, deviation about 32: five deviations are 16%.
    t.true(low > 0.84 && high < 1.16, `${kind}: ${low} to ${high}`)
  }
})
