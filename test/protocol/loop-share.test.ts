import test from 'ava'
import { framesBeforeNew } from '../../lib/protocol/loop-share.js'

test('LP2: below one window what comes back and what is new take turns', t => {
  t.is(framesBeforeNew(0, 400), 1)
  t.is(framesBeforeNew(399, 400), 1)
  t.is(framesBeforeNew(400, 400), 2)
  t.is(framesBeforeNew(4_000, 400), 1_024)
})

test('LP1: what is new gets its turn however much there is in the loop', t => {
  const frames = framesBeforeNew(Number.MAX_SAFE_INTEGER, 1)
  t.is(frames, 2 ** 20)
})

test('LP2: a loop settles where what leaves it makes room for what is let in', t => {
  const frameBytes = 100
  const windowBytes = 1_000
  for (const rounds of [2, 30, 1_000]) {
    // Each frame leaves after so many rounds; what is new is always there.
    let loop: number[] = []
    let sinceNew = 0
    let most = 0
    for (let step = 0; step < 100_000; step += 1) {
      if (sinceNew >= framesBeforeNew(loop.length * frameBytes, windowBytes) || loop.length === 0) {
        sinceNew = 0
        loop.push(rounds)
      } else {
        sinceNew += 1
        const [first = 0, ...rest] = loop
        loop = rest
        if (first > 1) loop.push(first - 1)
      }
      most = Math.max(most, loop.length * frameBytes)
    }
    t.true(most <= (Math.ceil(Math.log2(rounds)) + 4) * windowBytes, `${rounds}: ${most}`)
  }
})
