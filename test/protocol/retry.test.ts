import test from 'ava'
import { InvariantViolation } from '../../lib/invariant.js'
import {
  exponentialDelay,
  type FailureRateOptions,
  failureRate,
  fixedDelay,
  initialRetry,
  noRestart,
  type RestartStrategy,
  type Retry,
  type RetryDecision,
  step,
} from '../../lib/protocol/retry.js'
import { type Prng, prng, seedFromEnvironment } from '../support/prng.js'

const options = {
  initialMs: 1_000,
  maxMs: 60_000,
  multiplier: 1.5,
  jitter: 0.1,
  resetAfterMs: 3_600_000,
}
/** A random number that leaves the delay as it is. */
const noJitter = 0.5

const decide = (state: Retry, now: number, random = noJitter): readonly [Retry, RetryDecision] =>
  step(state, { type: 'failed', now, random })

/** The delays of a job that fails again `aliveMs` after every restart, until it gives up. */
const delaysOf = (
  strategy: RestartStrategy,
  failures: number,
  aliveMs = 1,
): readonly (number | string)[] => {
  const delays: (number | string)[] = []
  let state = initialRetry(strategy)
  let now = 0
  for (let failure = 0; failure < failures; failure += 1) {
    const [next, decision] = decide(state, now)
    state = next
    if (decision.type === 'give-up') return [...delays, `give up after ${decision.attempts}`]
    delays.push(decision.delayMs)
    now += decision.delayMs + aliveMs
  }
  return delays
}

test('exponential-delay multiplies the delay up to its maximum', t => {
  t.deepEqual(
    delaysOf(exponentialDelay(options), 12),
    [1000, 1500, 2250, 3375, 5063, 7594, 11391, 17086, 25629, 38443, 57665, 60000],
  )
})

test('exponential-delay stays at its maximum however often a job fails', t => {
  t.is(delaysOf(exponentialDelay(options), 3_000).at(-1), 60_000)
})

test('R1: delays with jitter stay within the jitter and within initialMs and maxMs', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  for (let round = 0; round < 200; round += 1) {
    let state = initialRetry(exponentialDelay({ ...options, jitter: 0.3 }))
    let now = 0
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const [next, decision] = decide(state, now, random.next())
      if (decision.type === 'give-up') return t.fail()
      const plain = Math.min(60_000, 1_000 * 1.5 ** attempt)
      t.true(decision.delayMs >= Math.max(1_000, Math.floor(plain * 0.7)))
      t.true(decision.delayMs <= Math.min(60_000, Math.ceil(plain * 1.3)))
      state = next
      now += decision.delayMs
    }
  }
})

test('R1: options that make no sense are a defect', t => {
  for (const broken of [
    { initialMs: 0 },
    { maxMs: 999 },
    { multiplier: 1 },
    { jitter: 1.1 },
    { jitter: -0.1 },
    { resetAfterMs: 0 },
  ]) {
    t.throws(() => exponentialDelay({ ...options, ...broken }), { instanceOf: InvariantViolation })
  }
})

test('R2: failures while a restart is awaited merge into it', t => {
  for (const strategy of [
    exponentialDelay({ ...options, attemptsMax: 2 }),
    fixedDelay({ delayMs: 1_000, attemptsMax: 2 }),
    failureRate({ delayMs: 1_000, maxFailures: 2, perMs: 60_000 }),
  ]) {
    const [first, decision] = decide(initialRetry(strategy), 0)
    t.deepEqual(decision, { type: 'retry', delayMs: 1_000 })
    const [second, merged] = decide(first, 400, 0.99)
    t.deepEqual(merged, { type: 'retry', delayMs: 600 })
    t.is(second, first)
    const [, later] = decide(second, 1_200)
    t.is(later.type, 'retry')
  }
})

test('R2: a restart that fails in the millisecond it takes place is a new failure', t => {
  t.deepEqual(delaysOf(fixedDelay({ delayMs: 0, attemptsMax: 2 }), 9, 0), [0, 0, 'give up after 2'])
})

test('R3: exponential-delay starts anew after resetAfterMs without a failure', t => {
  const strategy = exponentialDelay({ ...options, attemptsMax: 2 })
  t.deepEqual(delaysOf(strategy, 4, 3_599_999), [1_000, 1_500, 'give up after 2'])
  t.deepEqual(delaysOf(strategy, 4, 3_600_000), [1_000, 1_000, 1_000, 1_000])
})

test('R4: no more than attemptsMax restarts are granted', t => {
  t.deepEqual(delaysOf(exponentialDelay({ ...options, attemptsMax: 3 }), 9), [
    1_000,
    1_500,
    2_250,
    'give up after 3',
  ])
  t.deepEqual(delaysOf(noRestart, 9), ['give up after 0'])
})

test('R4: fixed-delay counts for the job’s life', t => {
  const strategy = fixedDelay({ delayMs: 500, attemptsMax: 2 })
  t.deepEqual(delaysOf(strategy, 9, 10 ** 9), [500, 500, 'give up after 2'])
})

test('R6: failure-rate restarts while no more than maxFailures lie within perMs', t => {
  const strategy = failureRate({ maxFailures: 2, perMs: 1_000, delayMs: 100 })
  // Failures 0, 400 | 800 is the third within a second.
  t.deepEqual(delaysOf(strategy, 9, 300), [100, 100, 'give up after 2'])
  // Failures 0, 500, 1000: the first is exactly a second old.
  t.deepEqual(delaysOf(strategy, 9, 400), [100, 100, 'give up after 2'])
  // Failures 0, 501, 1002, …: never more than two within a second.
  t.deepEqual(delaysOf(strategy, 5, 401), [100, 100, 100, 100, 100])
})

test('R6: options that make no sense are a defect', t => {
  const right = { maxFailures: 1, perMs: 1_000, delayMs: 0 }
  for (const broken of [{ maxFailures: 0 }, { perMs: 0 }, { delayMs: -1 }]) {
    t.throws(() => failureRate({ ...right, ...broken }), { instanceOf: InvariantViolation })
  }
})

/** Whether failure-rate restarts at each moment, worked out from all failures that ever counted. */
const referenceOf = (
  { maxFailures, perMs, delayMs }: FailureRateOptions,
  moments: readonly number[],
): readonly boolean[] => {
  const counted: number[] = []
  let over = false
  return moments.map(now => {
    const last = counted.at(-1)
    const waits = last !== undefined && now < last + delayMs
    if (over || waits) return !over
    counted.push(now)
    over = counted.filter(at => at >= now - perMs).length > maxFailures
    return !over
  })
}

const randomMoments = (random: Prng, stepMax: number): readonly number[] => {
  let now = 0
  return Array.from({ length: 40 }, () => {
    now += random.below(stepMax)
    return now
  })
}

test('R6: failure-rate restarts exactly where counting all failures says so', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  let gaveUp = 0
  let lived = 0
  for (let round = 0; round < 2_000; round += 1) {
    const rate = {
      maxFailures: 1 + random.below(5),
      perMs: 1 + random.below(60),
      delayMs: random.below(20),
    }
    const moments = randomMoments(random, 1 + random.below(60))
    let state = initialRetry(failureRate(rate))
    const answers = moments.map(now => {
      const [next, decision] = decide(state, now)
      state = next
      return decision.type === 'retry'
    })
    t.deepEqual(answers, referenceOf(rate, moments), JSON.stringify({ rate, moments }))
    if (answers.includes(false)) gaveUp += 1
    else lived += 1
    if (state.type === 'restarted') t.true(state.failedAt.length <= rate.maxFailures)
  }
  t.true(gaveUp > 100 && lived > 100, `${gaveUp} gave up, ${lived} lived`)
})

test('R5: giving up is final', t => {
  const [gaveUp, first] = decide(initialRetry(noRestart), 0)
  const [still, second] = decide(gaveUp, 10 ** 12)
  t.deepEqual(
    [first, second],
    [
      { type: 'give-up', attempts: 0 },
      { type: 'give-up', attempts: 0 },
    ],
  )
  t.is(still, gaveUp)
})
