import test from 'ava'
import { Coordination, running, triggered } from './coordinator-fixture.js'

/** A checkpoint of generation 1 from trigger to commit. */
const completed = (of: Coordination, epoch: number): Coordination => {
  triggered(of, epoch)
  of.reports('a/0', 1, epoch)
  of.reports('b/0', 1, epoch)
  of.step({ type: 'committed', generation: 1, epoch })
  return of
}

const ended = { ended: true }

test('O4: a job ends when every worker has let go', t => {
  const of = running()
  t.deepEqual(of.step({ type: 'cancel-requested' }), ['w1 shall stop', 'w2 shall stop'])
  t.deepEqual(of.step({ type: 'cancel-requested' }), [])
  t.deepEqual(of.beat('w1', { stopped: true }), [])
  t.deepEqual(of.beat('w2', { stopped: true }), ['end as canceled'])
  t.deepEqual(of.beat('w2', { stopped: true }), [])
  t.deepEqual(of.step({ type: 'job-ended' }), ['w1 shall stop', 'w2 shall stop'])
  t.deepEqual(of.state.phase, { type: 'ended', status: 'canceled', reason: undefined })
})

test('O4: a dead worker is not waited for, a foreign one neither', t => {
  const of = running()
  of.beat('w3', { graph: 'another' })
  of.step({ type: 'cancel-requested' })
  of.beat('w1', { stopped: true })
  t.deepEqual(of.step({ type: 'worker-exited', worker: 'w2', reason: 'SIGKILL' }), [
    '(w2 lost: SIGKILL)',
    'end as canceled',
  ])
})

test('O4: a worker that does not let go is waited for only so long', t => {
  const of = running()
  of.step({ type: 'cancel-requested' }, 100)
  for (let now = 500; now < 4_100; now += 500) {
    of.beat('w1', {}, now)
    of.beat('w2', {}, now)
    t.false(of.tick(now).includes('end as canceled'))
  }
  t.true(of.tick(4_100).includes('end as canceled'))
})

test('O4: a job without any worker ends at once', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  t.deepEqual(of.step({ type: 'cancel-requested' }), ['end as canceled'])
  t.deepEqual(of.step({ type: 'generation-begun', generation: 1, restore: undefined }), [])
})

test('O4: the order to stop says what has completed', t => {
  const of = completed(running(), 1)
  of.step({ type: 'cancel-requested' })
  t.is(of.orders.w2?.completed, 1)
})

test('O5: a job finishes when all of the final checkpoint’s output is published', t => {
  const of = triggered(running(), 1)
  t.false(of.orders.w1?.triggers[0]?.final)
  of.reports('a/0', 1, 1, ended)
  of.reports('b/0', 1, 1)
  t.true(
    of.step({ type: 'committed', generation: 1, epoch: 1 }).includes('(checkpoint 1 completed)'),
  )
  of.tells('a/0', 1, { ...ended, committed: 1 })
  of.step({ type: 'epoch-allocated', generation: 1, epoch: 2 })
  t.true(of.orders.w1?.triggers[0]?.final)
  of.reports('a/0', 1, 2, ended)
  of.reports('b/0', 1, 2)
  of.step({ type: 'committed', generation: 1, epoch: 2 })
  of.tells('a/0', 1, { ...ended, committed: 2 })
  t.is(of.phase, 'running')
  of.tells('b/0', 1, { committed: 1 })
  t.is(of.phase, 'running')
  t.deepEqual(of.tells('b/0', 1, { committed: 2 }), [
    'w1 shall stop completed 2',
    'w2 shall stop completed 2',
  ])
  t.like(of.state.phase, { type: 'stopping', status: 'finished' })
})

test('O5: an unbounded job has no end of its own', t => {
  const of = running({ bounded: false })
  completed(of, 1)
  of.tells('a/0', 1, { ...ended, committed: 1 })
  of.tick(of.now + 1)
  t.is(of.phase, 'running')
  t.deepEqual(of.state.phase.type === 'running' && of.state.phase.checkpoints.allocating, undefined)
})

test('O6: after a job has ended nothing is done, whatever comes in', t => {
  const of = running()
  of.step({ type: 'cancel-requested' })
  of.beat('w1', { stopped: true })
  of.beat('w2', { stopped: true })
  of.step({ type: 'job-ended' })
  const { state } = of
  t.deepEqual(of.beat('w3'), [])
  t.deepEqual(of.tick(of.now + 10_000), [])
  t.deepEqual(of.step({ type: 'fenced', reason: 'late' }), [])
  t.deepEqual(of.step({ type: 'worker-exited', worker: 'w1', reason: '' }), [])
  t.is(of.state, state)
})

test('O6: a fenced coordinator gives no orders and touches nothing', t => {
  const of = triggered(running(), 1)
  t.deepEqual(of.step({ type: 'fenced', reason: 'term 2 owns the job' }), [])
  const { state } = of
  of.reports('a/0', 1, 1)
  t.deepEqual(of.reports('b/0', 1, 1), [])
  t.deepEqual(of.tick(of.now + 10_000), [])
  t.deepEqual(of.step({ type: 'cancel-requested' }), [])
  t.is(of.state, state)
})
