/** O7: a store that has gone back to an older state is found out, and nothing else is taken for it. */
import test from 'ava'
import { Coordination, manifestOf, settings, triggered } from './coordinator-fixture.js'

const { jobId } = settings

const isLost = (of: Coordination): boolean =>
  of.state.phase.type === 'stopping' && /gone back/.test(of.state.phase.reason ?? '')

test('O7: a worker that has followed a later generation than the store gives, proves it lost', t => {
  const of = new Coordination().runs(4)
  of.now = 10
  of.beat('w1', { jobId, highest: 5 })
  t.is(of.phase, 'running')
  of.step({ type: 'renewed', askedAt: 11 }, 12)
  t.true(isLost(of))
})

test('O7: so does one that has followed a later term', t => {
  const of = new Coordination().runs(4)
  of.now = 10
  of.beat('w1', { jobId, term: settings.term + 1, highest: 4 })
  of.step({ type: 'renewed', askedAt: 11 }, 12)
  t.true(isLost(of))
})

test('O7: so does one that has followed this generation in another term', t => {
  const of = new Coordination().runs(4)
  of.now = 10
  of.beat('w1', { jobId, term: settings.term, highest: 4, deployedBy: settings.term })
  of.step({ type: 'renewed', askedAt: 11 }, 12)
  t.is(of.phase, 'running')
  of.beat('w1', { jobId, term: settings.term, highest: 4, deployedBy: settings.term - 1 })
  of.step({ type: 'renewed', askedAt: 13 }, 14)
  t.true(isLost(of))
})

test('O7: a claim that was confirmed before the worker was heard of proves nothing', t => {
  const of = new Coordination().runs(4)
  of.now = 10
  of.beat('w1', { jobId, highest: 5 })
  of.step({ type: 'renewed', askedAt: 10 }, 12)
  t.is(of.phase, 'running')
})

test('O7: a fenced coordinator hears of its successor’s generation and is only fenced', t => {
  const of = new Coordination().runs(4)
  of.beat('w1', { jobId, highest: 5 })
  of.step({ type: 'fenced', reason: 'term 8' })
  of.step({ type: 'renewed', askedAt: 20 }, 21)
  t.is(of.phase, 'fenced')
})

test('O7: a worker of a job that was given up counts generations of its own', t => {
  const of = new Coordination().runs(1)
  of.now = 10
  of.beat('w1', { jobId: 'another life', term: 9, highest: 9 })
  of.step({ type: 'renewed', askedAt: 11 }, 12)
  t.is(of.phase, 'running')
})

test('O7: a checkpoint number that is given again ends the generation, not the job', t => {
  const of = new Coordination().runs(1)
  triggered(of, 3, 1)
  of.step({ type: 'epoch-allocated', generation: 1, epoch: 3 })
  t.is(of.phase, 'restarting')
})

test('O7: a generation that is given again is asked for until there is a new one', t => {
  const of = new Coordination().runs(4)
  of.tells('a/0', 4, { phase: 'failed' })
  of.tick(of.now + 1_001)
  const told = of.step({ type: 'generation-begun', generation: 4, restore: undefined })
  t.deepEqual(told, ['begin generation'])
  of.step({ type: 'generation-begun', generation: 5, restore: undefined })
  t.is(of.phase, 'assembling')
})

test('O7: a store that restores less than has completed is lost', t => {
  const of = new Coordination().runs(4, manifestOf(7))
  of.tells('a/0', 4, { phase: 'failed' })
  of.tick(of.now + 1_001)
  of.step({ type: 'generation-begun', generation: 5, restore: manifestOf(6) })
  t.true(isLost(of))
})

test('O7: so does a mailbox of a generation that is only now begun', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 4, restore: undefined })
  of.step({ type: 'mailboxes-ahead', stream: 'SLUICE_job_G4_b_0' }, 10)
  of.step({ type: 'renewed', askedAt: 11 }, 12)
  t.true(isLost(of))
})
