import test from 'ava'
import { describeFault, drawFaults, type Fault } from './faults.js'
import { runSeed } from './seed.js'
import { leastOf } from './shrink.js'

test('a seed gives the same run whenever it is run', async t => {
  const first = await runSeed({ seed: 5 }, new Map())
  const between = await runSeed({ seed: 6 }, new Map())
  const again = await runSeed({ seed: 5 }, new Map())
  t.deepEqual(again, first)
  t.not(between.hash, first.hash)
})

test('listening to a run does not change it', async t => {
  const silent = await runSeed({ seed: 9 }, new Map())
  let lines = 0
  const told = await runSeed({ seed: 9 }, new Map(), () => {
    lines += 1
  })
  t.true(lines > 0)
  t.deepEqual(told, silent)
})

test('a run counts what happened in it', async t => {
  const counters = new Map<string, number>()
  const fault: Fault = { kind: 'crash', when: { type: 'time', atMs: 300 }, whom: 0 }
  const { violations, recoveries } = await runSeed({ seed: 1, faults: [fault] }, counters)
  t.deepEqual(violations, [])
  t.true(recoveries > 0)
  t.is(counters.get('crash of a coordinator'), 1)
})

test('shrinking leaves only the faults that a failure needs', async t => {
  const all = drawFaults(21)
  const [first, last] = [all[2], all.at(-1)]
  if (first === undefined || last === undefined) return t.fail('the seed has too few faults')
  const needed = [first, last].map(describeFault)
  let runs = 0
  const found = await leastOf(all, async faults => {
    runs += 1
    const left = faults.map(describeFault)
    return needed.every(fault => left.includes(fault))
  })
  t.deepEqual(found, [first, last])
  t.true(runs < all.length * all.length)
})

test('a failure that needs no fault at all shrinks to none', async t => {
  t.deepEqual(await leastOf(drawFaults(21), async () => true), [])
})

test('a failure that needs all of its faults keeps them', async t => {
  const all = drawFaults(21)
  const found = await leastOf(all, async faults => faults.length === all.length)
  t.deepEqual(found, all)
})
