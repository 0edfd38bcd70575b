import test from 'ava'
import { iterable, jetstream, job } from '../../lib/index.js'
import { problemText } from '../../lib/job/problem.js'
import { restartOf } from '../../lib/job/restart.js'
import type { RestartOptions } from '../../lib/job/settings.js'
import { restartRule } from '../../lib/job/settings-rules.js'
import { exponentialDelay, failureRate, fixedDelay, noRestart } from '../../lib/protocol/retry.js'

const open = job('j')
  .from(iterable.source({ id: 'numbers', open: () => [1] }))
  .into(jetstream.sink({ id: 'out', subject: 'out' }))

const growing = {
  initialMs: 1_000,
  maxMs: 60_000,
  multiplier: 1.5,
  jitter: 0.1,
  resetAfterMs: 3_600_000,
}

test('a job that says nothing restarts after growing delays with checkpoints, and not without', t => {
  t.deepEqual(restartOf(open.graph), noRestart)
  t.deepEqual(restartOf(open.checkpoint({ intervalMs: 100 }).graph), exponentialDelay(growing))
})

test('each strategy has its defaults', t => {
  const strategyOf = (options: RestartOptions): unknown => restartOf(open.restart(options).graph)
  t.deepEqual(strategyOf({ type: 'none' }), noRestart)
  t.deepEqual(strategyOf({ type: 'fixed-delay' }), fixedDelay({ attemptsMax: 1, delayMs: 1_000 }))
  t.deepEqual(
    strategyOf({ type: 'failure-rate' }),
    failureRate({ maxFailures: 1, perMs: 60_000, delayMs: 1_000 }),
  )
  t.deepEqual(strategyOf({ type: 'exponential-delay' }), exponentialDelay(growing))
})

test('what a job says takes the place of a default', t => {
  const strategy = restartOf(
    open.restart({ type: 'exponential-delay', maxMs: 5_000, attempts: 4 }).graph,
  )
  t.deepEqual(strategy, exponentialDelay({ ...growing, maxMs: 5_000, attemptsMax: 4 }))
})

test('a longest delay below the first one is a problem, defaults included', t => {
  const judged = (value: unknown): readonly string[] =>
    restartRule('restart', value).map(problemText)
  const type = 'exponential-delay'
  t.deepEqual(judged({ type, initialMs: 10, maxMs: 10 }), [])
  t.deepEqual(judged({ type, maxMs: 500 }), [
    'restart.maxMs: expected at least initialMs (1000), found 500. Say both, the smaller one as initialMs.',
  ])
  t.is(judged({ type, initialMs: 60_001 }).length, 1)
})
