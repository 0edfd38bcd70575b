import test from 'ava'
import { streamError } from '../../lib/errors.js'
import { nextWakeAt, unassignable } from '../../lib/protocol/coordinator.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import {
  beatOf,
  Coordination,
  manifestOf,
  running,
  settings,
  subtaskOf,
  triggered,
} from './coordinator-fixture.js'

test('O1: a start asks the store for a generation, and for its mailboxes', t => {
  const of = new Coordination()
  t.deepEqual(of.step({ type: 'started' }), ['begin generation'])
  t.deepEqual(of.step({ type: 'generation-begun', generation: 4, restore: undefined }), [
    'make mailboxes 4',
    '(from nothing)',
  ])
  t.is(of.phase, 'assembling')
})

test('O1: beats, answers and ids of an older generation change nothing', t => {
  const of = new Coordination().runs(1)
  of.tells('b/0', 1, { phase: 'failed', error: { type: 'user-code', message: 'x', fatal: false } })
  of.tick(1_001)
  of.runs(2)
  triggered(of, 3, 2)
  const before = of.state.phase
  t.deepEqual(of.reports('a/0', 1, 3), [])
  t.deepEqual(of.tells('b/0', 1, { phase: 'failed' }), [])
  t.deepEqual(of.step({ type: 'committed', generation: 1, epoch: 3 }), [])
  t.deepEqual(of.step({ type: 'epoch-allocated', generation: 1, epoch: 9 }), [])
  t.deepEqual(of.step({ type: 'mailboxes-ready', generation: 1 }), [])
  const error = streamError('unavailable', 'x')
  t.deepEqual(of.step({ type: 'mailboxes-failed', generation: 1, error }), [])
  t.deepEqual(of.state.phase, before)
})

test('O1: a generation that comes when none was asked for is not begun', t => {
  const of = running()
  t.deepEqual(of.step({ type: 'generation-begun', generation: 2, restore: undefined }), [])
  t.is(of.phase, 'running')
})

test('O2: nothing is deployed before the mailboxes exist and every subtask has a worker', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 1, restore: undefined })
  t.deepEqual(of.beat('w1'), ['(w1 joined)', 'w1 shall idle 0'])
  t.deepEqual(unassignable(of.state), ['b/0'])
  of.beat('w2')
  t.is(of.phase, 'assembling')
  t.deepEqual(of.step({ type: 'mailboxes-ready', generation: 1 }), [
    'w1 shall deploy 1',
    'w2 shall deploy 1',
  ])
  t.deepEqual(of.orders.w1?.subtasks, ['a/0'])
})

test('O2: subtasks run when all of them are restored, not before', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 1, restore: undefined })
  of.step({ type: 'mailboxes-ready', generation: 1 })
  of.beat('w1')
  of.beat('w2')
  of.tells('a/0', 1, { phase: 'ready' })
  of.tells('b/0', 1, { phase: 'restoring' })
  t.is(of.phase, 'deploying')
  t.deepEqual(of.tells('b/0', 1, { phase: 'ready' }), [
    'status running',
    '(generation 1 runs)',
    'w1 shall run 1',
    'w2 shall run 1',
  ])
})

test('O2: a subtask that is ready in another generation, or elsewhere, does not count', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 2, restore: undefined })
  of.step({ type: 'mailboxes-ready', generation: 2 })
  of.beat('w1')
  of.beat('w2')
  of.tells('a/0', 2, { phase: 'ready' })
  of.tells('b/0', 1, { phase: 'ready' })
  of.beat('w3', { generation: 2, subtasks: [subtaskOf('b/0', { phase: 'ready' })] })
  t.is(of.phase, 'deploying')
})

test('O2: subtasks that do not get ready in time end the generation, by name', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 1, restore: undefined })
  of.step({ type: 'mailboxes-ready', generation: 1 })
  of.beat('w1')
  of.beat('w2')
  of.tells('a/0', 1, { phase: 'ready' })
  for (let now = 500; now <= 10_000; now += 500) {
    of.tick(now)
    of.tells('b/0', 1, { phase: 'restoring' })
    of.tells('a/0', 1, { phase: 'ready' })
  }
  t.is(of.tick(10_001)[0], '(generation 1 failed: b/0 did not get ready in time)')
})

test('O3: a subtask’s failure ends the generation, and a new one begins after the delay', t => {
  const of = triggered(running(), 1)
  const error = { type: 'user-code', message: "actor 'b' threw: no", fatal: false }
  t.deepEqual(of.tells('b/0', 1, { phase: 'failed', error }), [
    "(generation 1 failed: b/0 failed: actor 'b' threw: no)",
    'status restarting',
    'w1 shall idle 1',
    'w2 shall idle 1',
  ])
  t.is(nextWakeAt(of.state), of.now + 500)
  t.false(of.tick(of.now + 999).includes('begin generation'))
  t.deepEqual(of.tick(1_001), ['begin generation', 'w1 shall idle 0', 'w2 shall idle 0'])
})

test('O3: the loss of a worker with subtasks ends the generation', t => {
  const of = running()
  t.deepEqual(of.step({ type: 'worker-exited', worker: 'w2', reason: 'SIGKILL' }), [
    '(w2 lost: SIGKILL)',
    '(generation 1 failed: b/0 lost its worker: SIGKILL)',
    'status restarting',
    'w1 shall idle 1',
  ])
  t.deepEqual(of.step({ type: 'worker-exited', worker: 'w2', reason: 'again' }), [])
})

test('O3: a silent worker is lost, one that beats is not', t => {
  const of = running()
  for (let now = 500; now <= 3_000; now += 500) {
    of.tick(now)
    of.beat('w1', { generation: 1, subtasks: [subtaskOf('a/0')] })
  }
  t.is(of.tick(3_400)[0], '(w2 lost: no heartbeat for 3400 ms)')
  t.is(of.phase, 'restarting')
})

test('O3: the loss of a worker without subtasks ends nothing', t => {
  const of = running()
  of.beat('w3')
  t.deepEqual(of.step({ type: 'worker-exited', worker: 'w3', reason: 'left' }), ['(w3 lost: left)'])
  t.is(of.phase, 'running')
})

test('O3: a worker that goes on denying its generation has lost it', t => {
  const of = running()
  for (let now = 500; now <= 3_500; now += 500) {
    of.tick(now)
    t.is(of.phase, 'running')
    of.tells('a/0', 1)
    of.beat('w2', { pid: 2 })
  }
  of.tick(4_000)
  t.is(of.beat('w2', { pid: 2 })[0], '(generation 1 failed: worker w2 no longer has its subtasks)')
})

test('O3: one late beat of an older generation is no loss', t => {
  const of = running()
  for (let now = 500; now <= 9_000; now += 500) {
    of.tick(now)
    of.tells('a/0', 1)
    of.beat('w2', { generation: 0 })
    of.tells('b/0', 1)
  }
  t.is(of.phase, 'running')
})

test('O3: several subtasks that fail at once are one restart', t => {
  const of = running()
  of.tells('a/0', 1, { phase: 'failed' })
  t.deepEqual(of.tells('b/0', 1, { phase: 'failed' }), [])
  t.is(of.state.restarts, 1)
})

test('O3: when the restarts are used up the job fails', t => {
  const of = running()
  for (const generation of [1, 2]) {
    of.tells('b/0', generation, { phase: 'failed' })
    of.tick(of.now + 1_000)
    of.runs(generation + 1)
  }
  t.deepEqual(of.tells('b/0', 3, { phase: 'failed' }).slice(0, 2), [
    '(generation 3 failed: b/0 failed: no reason given)',
    'w1 shall stop',
  ])
})

test('O3: what does not heal by restarting fails the job at once', t => {
  const of = running()
  const error = { type: 'lost', message: 'stream ORDERS was made again', fatal: true }
  of.tells('a/0', 1, { phase: 'failed', error })
  t.like(of.state.phase, { type: 'stopping', status: 'failed' })
})

test('a checkpoint that is committed is told to every worker at once', t => {
  const of = triggered(running(), 1)
  t.deepEqual(
    of.orders.w1?.triggers.map(trigger => trigger.epoch),
    [1],
  )
  t.deepEqual(of.reports('a/0', 1, 1), [])
  t.deepEqual(of.reports('b/0', 1, 1), ['commit 1'])
  t.deepEqual(of.step({ type: 'committed', generation: 1, epoch: 1 }), [
    '(checkpoint 1 completed)',
    'w1 shall run 1 completed 1',
    'w2 shall run 1 completed 1',
  ])
})

test('a declined checkpoint is aborted, recorded and told', t => {
  const of = triggered(running(), 1)
  const declines = [{ epoch: 1, reason: 'Redis is full' }]
  t.deepEqual(of.tells('b/0', 1, { declines }), [
    'record aborted 1',
    '(checkpoint 1 aborted: declined)',
    'w1 shall run 1 aborted 1',
    'w2 shall run 1 aborted 1',
  ])
})

test('repeated beats are no new reports', t => {
  const of = triggered(running(), 1)
  for (let i = 0; i < 3; i += 1) of.reports('a/0', 1, 1)
  const { phase } = of.state
  t.is(phase.type === 'running' ? phase.checkpoints.discardedReports : -1, 0)
})

test('a restored generation triggers above the restored epoch', t => {
  const of = new Coordination().runs(1, manifestOf(7))
  of.tick(1_000)
  of.step({ type: 'epoch-allocated', generation: 1, epoch: 8 })
  t.deepEqual(
    of.orders.w1?.triggers.map(trigger => trigger.epoch),
    [8],
  )
})

test('a worker is told to restore what is its own, and only while it deploys', t => {
  const of = new Coordination()
  const restore = manifestOf(7)
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 1, restore })
  of.beat('w1')
  of.beat('w2')
  of.step({ type: 'mailboxes-ready', generation: 1 })
  t.deepEqual(of.orders.w1?.phase, 'deploy')
  const own = (subtask: string): Manifest => ({
    ...restore,
    parts: restore.parts.filter(part => part.subtask === subtask),
  })
  t.deepEqual(of.orders.w1?.restore, own('a/0'))
  t.deepEqual(of.orders.w2?.restore, own('b/0'))
  of.tells('a/0', 1, { phase: 'ready' })
  of.tells('b/0', 1, { phase: 'ready' })
  t.deepEqual(of.orders.w1?.phase, 'run')
  t.is(of.orders.w1?.restore, undefined)
})

test('a checkpoint of another shape of the job fails it with what to do', t => {
  for (const [restore, reason] of [
    [manifestOf(7, { maxParallelism: 64 }), /maxParallelism 64, and the job now has 128/],
    [manifestOf(7, { parts: manifestOf(7).parts.slice(1) }), /it has b\/0, and the job has a\/0/],
  ] as const) {
    const of = new Coordination()
    of.step({ type: 'started' })
    of.step({ type: 'generation-begun', generation: 2, restore })
    const { phase } = of.state
    t.regex(phase.type === 'stopping' ? (phase.reason ?? '') : '', reason)
    t.true(of.effects.some(effect => effect.type === 'end-job' && effect.status === 'failed'))
  }
})

test('a store that does not answer is asked again for a generation', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  const error = streamError('timed-out', 'no answer')
  t.deepEqual(of.step({ type: 'generation-failed', error }), ['(trouble starting a generation)'])
  t.deepEqual(of.tick(499), [])
  t.deepEqual(of.tick(500), ['begin generation'])
})

test('mailboxes that cannot be made restart the generation', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 1, restore: undefined })
  const error = streamError('full', 'no room')
  of.step({ type: 'mailboxes-failed', generation: 1, error })
  t.is(of.phase, 'restarting')
})

test('free workers share the subtasks; reserved ones keep theirs', t => {
  const subtasks = ['a/0', 'b/0', 'b/1', 'c/0']
  const of = new Coordination({ subtasks })
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 1, restore: undefined })
  of.step({ type: 'mailboxes-ready', generation: 1 })
  of.beat('x', { slots: 2 })
  of.beat('y', { slots: 1, only: ['b/0'] })
  of.beat('old', { slots: 9, graph: 'another' })
  t.deepEqual(unassignable(of.state), ['c/0'])
  t.is(of.phase, 'assembling')
  of.beat('z', { slots: 9 })
  const { phase } = of.state
  t.deepEqual(phase.type === 'deploying' && [...phase.assignment].sort(), [
    ['a/0', 'x'],
    ['b/0', 'y'],
    ['b/1', 'z'],
    ['c/0', 'x'],
  ])
  t.is(of.orders.old?.subtasks.length, 0)
})

test('orders are repeated, and sent at once to a newcomer', t => {
  const of = running()
  t.deepEqual(of.tick(499), ['allocate'])
  t.deepEqual(of.tick(500), ['w1 shall run 1', 'w2 shall run 1'])
  t.deepEqual(of.beat('w3'), ['(w3 joined)', 'w1 shall run 1', 'w2 shall run 1', 'w3 shall run 1'])
})

test('an order to idle never names the generation that is being assembled', t => {
  const of = running()
  of.tells('b/0', 1, { phase: 'failed' })
  of.tick(1_000)
  of.step({ type: 'generation-begun', generation: 2, restore: undefined })
  t.deepEqual(of.tick(2_000), ['w1 shall idle 1', 'w2 shall idle 1'])
})

test('every order names the coordinator’s term', t => {
  const of = new Coordination({ term: 5 }).runs(1)
  t.is(of.orders.w1?.term, 5)
})

test('a heartbeat of a stranger makes nobody a worker', t => {
  const of = new Coordination()
  t.deepEqual(of.step({ type: 'heartbeat', worker: 'ghost', lagMs: 0 }), [])
  t.is(of.state.workers.size, 0)
  t.is(beatOf('w1').graph, settings.graph)
})
