import test from 'ava'
import { drawsAt } from './draws.js'
import { drawFaults, type Fault } from './faults.js'
import { runSeed } from './seed.js'

const several = (count: number, draw: () => number): readonly number[] =>
  Array.from({ length: count }, draw)

test('each place draws for itself, whoever draws elsewhere', t => {
  const alone = drawsAt(7, 'source-1 nats')
  const expected = several(50, () => alone.next())
  const among = drawsAt(7, 'source-1 nats')
  const other = drawsAt(7, 'sink-1 nats')
  const found = several(50, () => {
    several(3, () => other.next())
    return among.next()
  })
  t.deepEqual(found, expected)
  const elsewhere = drawsAt(7, 'sink-1 nats')
  t.notDeepEqual(
    several(50, () => elsewhere.next()),
    expected,
  )
})

test('another seed draws otherwise at the same place', t => {
  const one = drawsAt(7, 'world')
  const other = drawsAt(8, 'world')
  t.notDeepEqual(
    several(10, () => one.next()),
    several(10, () => other.next()),
  )
})

const traceOf = async (seed: number, faults: readonly Fault[]): Promise<readonly string[]> => {
  const lines: string[] = []
  await runSeed({ seed, faults }, new Map(), line => lines.push(line))
  return lines.filter(line => /^\d/.test(line))
}

const crashAt = (atMs: number, whom: number): Fault => ({
  kind: 'crash',
  when: { type: 'time', atMs },
  whom,
})

test('without one of its faults a run is the same until that fault would have come', async t => {
  const seed = 3
  const [early, late] = [crashAt(200, 1), crashAt(500, 2)]
  const both = await traceOf(seed, [early, late])
  const one = await traceOf(seed, [early])
  const before = (lines: readonly string[]): readonly string[] =>
    lines.filter(line => Number.parseFloat(line) < 500)
  t.true(before(both).length > 100)
  t.deepEqual(before(one), before(both))
  t.notDeepEqual(one, both)
})

test('faults are drawn by the seed alone', t => {
  t.deepEqual(drawFaults(11), drawFaults(11))
  t.notDeepEqual(drawFaults(11), drawFaults(12))
})
