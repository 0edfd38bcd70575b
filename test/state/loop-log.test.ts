import test from 'ava'
import { LoopLog } from '../../lib/state/loop-log.js'
import { seeded } from './random.js'

test('LL1: a log holds what came back before the barrier did, channel by channel', t => {
  const log = new LoopLog(['a', 'b'])
  log.take('a', 'before the barrier left')
  log.begin(1)
  log.take('a', 1)
  log.take('b', 2)
  t.deepEqual(log.returned('a', 1), [])
  log.take('a', 'behind the barrier')
  log.take('b', 3)
  t.true(log.isOpen)
  t.deepEqual(log.returned('b', 1), [{ epoch: 1, records: [1, 2, 3] }])
  t.false(log.isOpen)
})

test('LL2: a barrier proves that an earlier one went by', t => {
  const log = new LoopLog(['a'])
  log.begin(1)
  log.take('a', 1)
  log.begin(2)
  log.take('a', 2)
  t.deepEqual(log.returned('a', 2), [
    { epoch: 1, records: [1, 2] },
    { epoch: 2, records: [2] },
  ])
})

test('what a checkpoint that was given up had gathered is let go', t => {
  const log = new LoopLog(['a'])
  log.begin(1)
  log.take('a', 1)
  log.abort(1)
  t.false(log.isOpen)
  t.deepEqual(log.returned('a', 1), [])
})

test('LL3: barriers that overlap each have a log of their own, as if they were alone', t => {
  const seed = Date.now() % 100_000
  t.log(`seed ${seed}`)
  const below = seeded(seed)
  for (let run = 0; run < 200; run += 1) {
    const channels = ['a', 'b', 'c'].slice(0, 1 + below(3))
    const log = new LoopLog(channels)
    const alone: { epoch: number; log: LoopLog }[] = []
    const back = new Map(channels.map(channel => [channel, 0]))
    let [begun, records] = [0, 0]
    for (let step = 0; step < 40; step += 1) {
      const channel = channels[below(channels.length)] ?? ''
      const next = (back.get(channel) ?? 0) + 1
      const what = below(4)
      if (what === 0) {
        begun += 1
        log.begin(begun)
        const own = new LoopLog(channels)
        own.begin(begun)
        alone.push({ epoch: begun, log: own })
      } else if (what === 1 && next <= begun) {
        back.set(channel, next)
        const expected = alone.flatMap(one => one.log.returned(channel, next))
        t.deepEqual(log.returned(channel, next), expected)
      } else {
        records += 1
        log.take(channel, records)
        for (const one of alone) one.log.take(channel, records)
      }
    }
  }
})

test('LL3: barriers leave in rising order', t => {
  const log = new LoopLog(['a'])
  log.begin(2)
  t.throws(() => log.begin(2), { message: /LL3/ })
})
