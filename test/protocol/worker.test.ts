import test from 'ava'
import type { Manifest } from '../../lib/protocol/manifest.js'
import type { Orders } from '../../lib/protocol/messages.js'
import { initialWorker, stepWorker, type WorkerAction } from '../../lib/protocol/worker.js'
import { prng, seedFromEnvironment } from '../support/prng.js'

const orders = (
  phase: Orders['phase'],
  generation: number,
  more: Partial<Orders> = {},
): Orders => ({
  version: 1,
  type: 'orders',
  term: 1,
  jobId: 'id',
  generation,
  phase,
  subtasks: ['a/0'],
  restore: undefined,
  triggers: [],
  completed: 0,
  aborted: [],
  ...more,
})

const trigger = (epoch: number, final = false) => ({ epoch, final, triggeredAt: 10 * epoch })

const restoreOf = (epoch: number): Manifest => ({
  version: 1,
  job: 'job',
  jobId: 'id',
  epoch,
  generation: 1,
  maxParallelism: 128,
  graph: 'g',
  triggeredAt: 0,
  completedAt: 0,
  parts: [],
  final: false,
})

const told = (action: WorkerAction): string => {
  if (action.type === 'deploy') return `deploy ${action.generation}`
  return 'epoch' in action ? `${action.type} ${action.epoch}` : action.type
}

/** What a worker does about a sequence of orders, one line of words for each. */
const hears = (...heard: readonly Orders[]): readonly string[] => {
  let state = initialWorker
  return heard.map(each => {
    const [next, actions] = stepWorker(state, each)
    state = next
    return actions.map(told).join(', ')
  })
}

test('a generation is deployed once and run once, however often the orders are repeated', t => {
  const deploy = orders('deploy', 3)
  const run = orders('run', 3)
  t.deepEqual(hears(deploy, deploy, run, run), ['deploy 3', '', 'run', ''])
})

test('the order to deploy carries everything that a subtask needs', t => {
  const restore = restoreOf(8)
  const [, actions] = stepWorker(initialWorker, orders('deploy', 3, { restore }))
  t.deepEqual(actions, [{ type: 'deploy', generation: 3, jobId: 'id', subtasks: ['a/0'], restore }])
})

test('W1: orders of a lower term are ignored', t => {
  t.deepEqual(
    hears(
      orders('deploy', 3, { term: 2 }),
      orders('idle', 9),
      orders('stop', 9),
      orders('deploy', 9),
      orders('run', 3),
    ),
    ['deploy 3', '', '', '', ''],
  )
})

test('W1: orders of a lower generation are ignored', t => {
  t.deepEqual(
    hears(orders('deploy', 3), orders('deploy', 2), orders('run', 2), orders('idle', 2)),
    ['deploy 3', '', '', ''],
  )
})

test('W1: a higher term is followed, also where its generation is lower', t => {
  const heard = hears(orders('deploy', 3), orders('stop', 0, { term: 2 }))
  t.deepEqual(heard, ['deploy 3', 'stop'])
})

test('W2: the old generation is let go of before the next is started', t => {
  t.deepEqual(hears(orders('deploy', 3), orders('deploy', 4)), ['deploy 3', 'dispose, deploy 4'])
})

test('W3: triggers are handed on once, in rising order', t => {
  t.deepEqual(
    hears(
      orders('deploy', 3),
      orders('run', 3, { triggers: [trigger(1), trigger(2)] }),
      orders('run', 3, { triggers: [trigger(1), trigger(2), trigger(4)] }),
      orders('run', 3, { triggers: [trigger(3), trigger(4)] }),
    ),
    ['deploy 3', 'run, trigger 1, trigger 2', 'trigger 4', ''],
  )
})

test('W3: nothing at or below the restored epoch is triggered or completed', t => {
  const restore = restoreOf(5)
  t.deepEqual(
    hears(
      orders('deploy', 3, { restore }),
      orders('run', 3, { restore, triggers: [trigger(5), trigger(6)], completed: 5 }),
      orders('run', 3, { restore, completed: 6 }),
    ),
    ['deploy 3', 'run, trigger 6', 'complete 6'],
  )
})

test('W3: completions only rise', t => {
  const completed = (epoch: number) => orders('run', 3, { completed: epoch })
  t.deepEqual(hears(orders('deploy', 3), completed(2), completed(1), completed(2), completed(4)), [
    'deploy 3',
    'run, complete 2',
    '',
    '',
    'complete 4',
  ])
})

test('W3: an aborted epoch is told once and is not triggered afterwards', t => {
  t.deepEqual(
    hears(
      orders('deploy', 3),
      orders('run', 3, { aborted: [1] }),
      orders('run', 3, { aborted: [1], triggers: [trigger(2)] }),
      orders('run', 3, { aborted: [1, 3] }),
      orders('run', 3, { aborted: [1, 3], triggers: [trigger(3)] }),
    ),
    ['deploy 3', 'run, abort 1', 'trigger 2', 'abort 3', ''],
  )
})

test('W3: a trigger says whether it is final, and when it was given', t => {
  const [deployed] = stepWorker(initialWorker, orders('deploy', 3))
  const [, actions] = stepWorker(deployed, orders('run', 3, { triggers: [trigger(1, true)] }))
  t.deepEqual(actions[1], { type: 'trigger', epoch: 1, final: true, triggeredAt: 10 })
})

test('W4: an order to run what was not deployed here starts nothing', t => {
  t.deepEqual(hears(orders('run', 3), orders('run', 3), orders('deploy', 4), orders('run', 4)), [
    '',
    '',
    'deploy 4',
    'run',
  ])
})

test('W4: an order to run a newer generation that was not deployed here ends the old one', t => {
  t.deepEqual(hears(orders('deploy', 3), orders('run', 3), orders('run', 4)), [
    'deploy 3',
    'run',
    'dispose',
  ])
})

test('W5: a generation that was let go of does not come back', t => {
  const heard = [orders('deploy', 3), orders('idle', 3), orders('deploy', 3), orders('run', 3)]
  t.deepEqual(hears(...heard), ['deploy 3', 'dispose', '', ''])
})

test('W5: an order to idle that comes late does not end the generation after it', t => {
  const heard = [orders('deploy', 3), orders('idle', 2), orders('run', 3), orders('idle', 0)]
  t.deepEqual(hears(...heard), ['deploy 3', '', 'run', ''])
})

test('the order to stop is final, and hands on the last completion first', t => {
  t.deepEqual(
    hears(
      orders('deploy', 3),
      orders('run', 3, { completed: 1 }),
      orders('stop', 3, { completed: 2 }),
      orders('stop', 3, { completed: 3 }),
      orders('deploy', 4),
    ),
    ['deploy 3', 'run, complete 1', 'complete 2, stop', '', ''],
  )
})

test('the order to stop completes nothing of another generation', t => {
  t.deepEqual(hears(orders('deploy', 3), orders('run', 3), orders('stop', 4, { completed: 9 })), [
    'deploy 3',
    'run',
    'stop',
  ])
})

test('W6: a job that was started from nothing is obeyed, though it counts from 1 again', t => {
  const anew = { jobId: 'another', term: 1 }
  t.deepEqual(
    hears(
      orders('deploy', 5, { term: 7 }),
      orders('run', 5, { term: 7 }),
      orders('deploy', 1, anew),
      orders('run', 1, anew),
    ),
    ['deploy 5', 'run', 'dispose, deploy 1', 'run'],
  )
})

test('W1–W5 hold however orders are repeated and reordered', t => {
  const seed = seedFromEnvironment()
  t.log(`SLUICE_TEST_SEED=${seed}`)
  const random = prng(seed)
  const phases = ['idle', 'deploy', 'run', 'run', 'run'] as const
  for (let run = 0; run < 2_000; run += 1) {
    let state = initialWorker
    let deployed: number | undefined
    let isRunning = false
    let [highest, triggered, completed, term] = [0, 0, 0, 0]
    for (let step = 0; step < 40; step += 1) {
      const order = orders(phases[random.below(5)] ?? 'run', 1 + random.below(4), {
        term: 1 + random.below(2),
        triggers: [trigger(random.below(6)), trigger(6 + random.below(6))],
        completed: random.below(8),
        aborted: [random.below(6)],
      })
      const [next, actions] = stepWorker(state, order)
      state = next
      if (order.term < term) t.deepEqual(actions, [])
      term = Math.max(term, order.term)
      for (const action of actions) {
        if (action.type === 'dispose') {
          t.not(deployed, undefined)
          deployed = undefined
        } else if (action.type === 'deploy') {
          t.is(deployed, undefined)
          t.true(action.generation > highest && order.phase === 'deploy')
          deployed = action.generation
          highest = action.generation
          isRunning = false
          triggered = 0
          completed = 0
        } else {
          // Everything else is said to the generation that is deployed.
          t.is(deployed, order.generation)
          if (action.type === 'run') t.false(isRunning)
          isRunning ||= action.type === 'run'
          t.true(isRunning)
          if (action.type === 'trigger') {
            t.true(action.epoch > triggered)
            triggered = action.epoch
          }
          if (action.type === 'complete') {
            t.true(action.epoch > completed)
            completed = action.epoch
          }
        }
      }
    }
  }
})
