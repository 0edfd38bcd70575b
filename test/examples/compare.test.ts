import test from 'ava'
import { compare } from '../../examples/flights/compare.js'
import { busiest, expectedOf, type FlightRecord } from '../../examples/flights/expected.js'

const flight = (origin: string, delay: number): FlightRecord => ({
  date: '2001/01/01 00:00',
  delay,
  distance: 100,
  origin,
  destination: 'LAX',
})
const flights = [
  flight('DTW', 66),
  flight('CLT', -9),
  flight('DTW', 1),
  flight('DTW', 0),
  flight('CLT', 9),
]
const expected = expectedOf(flights)
const right = [
  { origin: 'CLT', flights: 1, meanDelay: -9 },
  { origin: 'DTW', flights: 1, meanDelay: 66 },
  { origin: 'DTW', flights: 2, meanDelay: 33.5 },
  { origin: 'CLT', flights: 2, meanDelay: 0 },
  { origin: 'DTW', flights: 3, meanDelay: 67 / 3 },
] as const
const counts = (outputs: Iterable<unknown>) => {
  const { faults: _, ...rest } = compare(outputs, expected)
  return rest
}
const zero = { missing: 0, duplicated: 0, wrong: 0 }

test('every flight has one output, with the count and the mean up to it', t => {
  t.deepEqual(
    [...expected],
    [
      ['DTW', [right[1], right[2], right[4]]],
      ['CLT', [right[0], right[3]]],
    ],
  )
})

test('the busiest airports come first, with their last output', t => {
  t.deepEqual(busiest(expected, 1), [right[4]])
  t.deepEqual(busiest(expected, 5), [right[4], right[3]])
})

test('origins may interleave in any way', t => {
  t.deepEqual(compare(right, expected), { records: 5, ...zero, faults: [] })
  const grouped = [right[1], right[2], right[4], right[0], right[3]]
  t.deepEqual(counts(grouped), { records: 5, ...zero })
})

test('an output that is not there is missing, whether from the middle or the end (C1)', t => {
  for (const gone of right.keys()) {
    const left = right.filter((_, i) => i !== gone)
    t.deepEqual(counts(left), { records: 4, ...zero, missing: 1 })
  }
  t.deepEqual(counts([]), { records: 0, ...zero, missing: 5 })
})

test('an output that comes a second time is duplicated, however late (C2)', t => {
  for (const twice of right) {
    t.deepEqual(counts([...right, twice]), { records: 6, ...zero, duplicated: 1 })
  }
  t.deepEqual(counts([...right, ...right]), { records: 10, ...zero, duplicated: 5 })
})

test('an output with another mean is wrong, by however little (C3)', t => {
  const off = right.map(o =>
    o === right[2] ? { ...o, meanDelay: o.meanDelay + Number.EPSILON * 32 } : o,
  )
  t.deepEqual(counts(off), { records: 5, ...zero, wrong: 1 })
})

test('an output that comes after a later one of its origin is wrong (C3)', t => {
  const swapped = [right[0], right[2], right[1], right[3], right[4]]
  t.deepEqual(counts(swapped), { records: 5, ...zero, wrong: 1 })
})

test('an output that nothing put in calls for is wrong (C3)', t => {
  const strangers = [
    { origin: 'XXX', flights: 1, meanDelay: 0 },
    { origin: '__proto__', flights: 1, meanDelay: 0 },
    { origin: 'DTW', flights: 4, meanDelay: 0 },
    { origin: 'DTW', flights: 0, meanDelay: 0 },
    { origin: 'DTW', flights: 1.5, meanDelay: 0 },
    { origin: 'DTW', flights: '1', meanDelay: 66 },
    null,
    'DTW',
  ]
  for (const stranger of strangers) {
    t.deepEqual(counts([...right, stranger]), { records: 6, ...zero, wrong: 1 })
  }
})

test('a count that was altered is a gap, and doubles another', t => {
  const altered = right.map(o => (o === right[1] ? { ...o, flights: 2, meanDelay: 33.5 } : o))
  t.deepEqual(counts(altered), { records: 5, missing: 1, duplicated: 1, wrong: 0 })
})
