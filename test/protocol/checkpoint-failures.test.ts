import test from 'ava'
import {
  type CheckpointFailures,
  type CheckpointOutcome,
  countOutcome,
  initialFailures,
} from '../../lib/protocol/checkpoint-failures.js'

const aborted = (
  epoch: number,
  reason: 'declined' | 'timed-out' | 'superseded' = 'declined',
): CheckpointOutcome => ({ type: 'aborted', epoch, reason, facts: 'b/0: full' })
const completed = (epoch: number): CheckpointOutcome => ({ type: 'completed', epoch })

/** Counts outcomes, and gives the number of the one that was too much, if any. */
const over = (tolerable: number | undefined, outcomes: readonly CheckpointOutcome[]) => {
  let state: CheckpointFailures = initialFailures(tolerable)
  for (const [at, outcome] of outcomes.entries()) {
    const [next, reason] = countOutcome(state, outcome)
    state = next
    if (reason !== undefined) return at
  }
  return undefined
}

test('with none tolerated the first failure is too much, and says which and why', t => {
  const [state, reason] = countOutcome(initialFailures(0), aborted(7))
  t.is(reason, 'checkpoint 7 was aborted (declined): b/0: full')
  t.is(state.count, 0)
})

test('with any number tolerated nothing is too much', t => {
  const many = Array.from({ length: 100 }, (_, nth) => aborted(nth + 1))
  t.is(over(undefined, many), undefined)
})

test('CF1: an attempt counts once', t => {
  t.is(over(1, [aborted(1), aborted(1), aborted(1), aborted(2)]), 3)
})

test('CF1: what is not above the last success does not count', t => {
  t.is(over(0, [completed(5), aborted(4), aborted(5)]), undefined)
  t.is(over(0, [completed(5), aborted(6)]), 1)
})

test('CF2: a success begins the count anew', t => {
  t.is(over(1, [aborted(1), completed(2), aborted(3), completed(4), aborted(5)]), undefined)
  t.is(over(1, [aborted(1), completed(2), aborted(3), aborted(4)]), 3)
})

test('CF2: a generation that ended by it begins the count anew', t => {
  const [first] = countOutcome(initialFailures(1), aborted(1))
  const [second, reason] = countOutcome(first, aborted(2))
  t.regex(reason ?? '', /2 in a row, and 1 are tolerated/)
  t.is(countOutcome(second, aborted(3))[1], undefined)
})

test('CF3: what a newer one superseded does not count', t => {
  t.is(over(0, [aborted(1, 'superseded'), aborted(2, 'superseded')]), undefined)
})

test('an attempt that got no id counts each time', t => {
  const none = { type: 'not-begun', facts: 'the store is away' } as const
  t.is(over(1, [none, none]), 1)
  t.is(over(2, [none, aborted(1), none]), 2)
  t.is(countOutcome(initialFailures(0), none)[1], 'no checkpoint could be begun: the store is away')
})
