import test from 'ava'
import { compare, figure, holds, median, percentile, rounded } from './figures.js'

test('the median is the middle, or lies between the two middle ones', t => {
  t.is(median([3, 1, 2]), 2)
  t.is(median([4, 1, 3, 2]), 2.5)
  t.throws(() => median([]), { message: 'nothing has no middle' })
})

test('a percentile is one of the numbers', t => {
  const numbers = Array.from({ length: 200 }, (_, k) => 200 - k)
  t.deepEqual(
    [0.5, 0.99, 1].map(share => percentile(numbers, share)),
    [100, 198, 200],
  )
  t.is(percentile([7], 0.01), 7)
  t.throws(() => percentile([], 0.5), { message: 'nothing has no percentile' })
})

test('a bar may be a floor or a ceiling', t => {
  const held = (ratio: number): readonly boolean[] => [
    holds({ ratio, bar: { atLeast: 1 } }),
    holds({ ratio, bar: { atMost: 1 } }),
  ]
  t.deepEqual([0.5, 1, 2].map(held), [
    [false, true],
    [true, true],
    [true, false],
  ])
})

test('contenders take turns, a baseline of several runs once a round, and the warm-up does not count', async t => {
  const ran: string[] = []
  const contender = (name: string, value: number) => ({
    name,
    trial: async () => {
      ran.push(name)
      // The first trial of each is far off.
      return ran.filter(each => each === name).length === 1 ? 1_000_000 : value
    },
  })
  const baseline = contender('theirs', 2)
  const comparison = { unit: 'records/s', bar: { atLeast: 1 }, baseline }
  const figures = await compare(
    [
      { ...comparison, name: 'a', ours: contender('ours, a', 4) },
      { ...comparison, name: 'b', ours: contender('ours, b', 6) },
    ],
    2,
    () => {},
  )
  const round = ['theirs', 'ours, a', 'ours, b']
  t.deepEqual(ran, [...round, ...round, ...round])
  t.deepEqual(
    figures.map(({ name, value, baselineValue, ratio, pairs }) => [
      name,
      value,
      baselineValue,
      ratio,
      pairs,
    ]),
    [
      ['a', 4, 2, 2, [2, 2]],
      ['b', 6, 2, 3, [3, 3]],
    ],
  )
})

test('a ratio is that of the medians, and its pairs show how it varied', t => {
  const about = { name: 'x', unit: 'ms', bar: { atMost: 2 }, baseline: 'y' }
  const { ratio, pairs } = figure(about, [10, 90, 20], [10, 10, 10])
  t.is(ratio, 2)
  t.deepEqual(pairs, [1, 9, 2])
})

test('figures are written with three digits', t => {
  t.deepEqual([0.12345, 1.2345, 12.345, 123.45, 1_234_567].map(rounded), [
    '0.123',
    '1.23',
    '12.3',
    '123',
    '1,234,567',
  ])
})
