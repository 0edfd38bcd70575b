/**
 * What breaks the model `checkpoint.pml` when a rule is taken out, played to the machines as they are. Titles
 * begin with what was taken out; `npm run model -- --trace NO_P9` tells the whole conversation. The store's
 * half of some is in `test/contract/counterexamples.ts`, where the scripts themselves are asked.
 */
import test from 'ava'
import { channelSubject, mailboxStream, mailboxSubjects } from '../../lib/protocol/addresses.js'
import type { Orders } from '../../lib/protocol/messages.js'
import { initialWorker, stepWorker } from '../../lib/protocol/worker.js'
import { reportOf } from '../protocol/checkpoint-fixture.js'
import { Coordination, manifestOf, running, triggered } from '../protocol/coordinator-fixture.js'
import { aligningSubtask } from '../traces/aligning-subtask.js'
import { Conversation, restore, start } from '../traces/conversation.js'
import { replay } from '../traces/replay.js'

/** Generation 1 runs, checkpoint 1 was triggered, and both subtasks have reported it. */
const committing = (): Coordination => {
  const of = triggered(running(), 1)
  of.reports('a/0', 1, 1)
  of.reports('b/0', 1, 1)
  return of
}

/** The running generation fails, and the next one runs. */
const failsOver = (of: Coordination, generation: number, from?: number): Coordination => {
  of.step({ type: 'worker-exited', worker: 'w2', reason: 'killed' })
  of.tick(of.now + 1_100)
  return of.runs(generation, from === undefined ? undefined : manifestOf(from))
}

const ordersTo = (of: Coordination, worker: string): Orders | undefined => {
  of.tick(of.now + 500)
  return of.orders[worker]
}

test('P1, P2: a report of a failed generation counts for no attempt of the next, whatever its id', t => {
  const of = triggered(running(), 1)
  failsOver(of, 2)
  // The store's counter never gives 1 again; only where it does can the two be mistaken.
  triggered(of, 1, 2)
  t.deepEqual(of.reports('a/0', 1, 1), [], 'in a beat of its own generation')
  of.tells('a/0', 1, { phase: 'failed' })
  t.is(of.phase, 'running')
  const inNewBeat = { reports: [reportOf('a/0', 1, 1)] }
  of.tells('a/0', 2, inNewBeat)
  const told = of.reports('b/0', 2, 1)
  t.false(told.includes('commit 1'))
  t.true(of.reports('a/0', 2, 1).includes('commit 1'))
  const [commit] = of.effects.filter(effect => effect.type === 'commit')
  t.deepEqual(
    commit?.parts.map(part => part.generation),
    [2, 2],
  )
})

test('P1: an id that was given before is no attempt: the generation ends without it', t => {
  const of = committing()
  of.step({ type: 'committed', generation: 1, epoch: 1 })
  of.tick(of.now + 1_000)
  of.step({ type: 'epoch-allocated', generation: 1, epoch: 1 })
  t.is(of.phase, 'restarting')
})

test('P3: a trigger that is heard again, or a barrier that comes again, does nothing', t => {
  const of = triggered(running(), 1)
  const orders = ordersTo(of, 'w1')
  if (orders === undefined) return t.fail()
  const [deployed] = stepWorker(initialWorker, { ...orders, phase: 'deploy', triggers: [] })
  const [once, first] = stepWorker(deployed, orders)
  t.true(first.some(action => action.type === 'trigger'))
  t.deepEqual(stepWorker(once, orders)[1], [])
  const trace = `
     0  a record      → count 1
     1  a barrier 1   → snapshot 1 holds 1 after 0 ms
     2  a barrier 1   → barrier 1 ignored
  `
  t.is(replay(trace, aligningSubtask('exactly-once', ['a'])), trace)
  const g1 = start(new Conversation())
  g1.prepare(1, 'a')
  t.throws(() => g1.output.prepare(1), { message: /S1/ })
})

test('P4: a snapshot holds nothing of what comes behind its last barrier', t => {
  const trace = `
     0  a barrier 1   → block a
     1  a record      → held
     2  b barrier 1   → snapshot 1 holds 0 after 2 ms, unblock a, a record, count 1
     3  b record      → count 2
  `
  t.is(replay(trace, aligningSubtask('exactly-once', ['a', 'b'])), trace)
})

test('P5_FENCE: a coordinator whose commit is refused as fenced never says that it completed', t => {
  const of = committing()
  of.step({ type: 'fenced', reason: 'term 2, generation 2 own the job' })
  t.deepEqual(of.step({ type: 'committed', generation: 1, epoch: 1 }), [])
  t.is(ordersTo(of, 'w2'), undefined)
})

test('P5_FENCE: an answer to the commit of an older generation changes nothing in the next', t => {
  const of = triggered(failsOver(committing(), 2), 1, 2)
  of.reports('a/0', 2, 1)
  t.true(of.reports('b/0', 2, 1).includes('commit 1'))
  t.deepEqual(of.step({ type: 'committed', generation: 1, epoch: 1 }), [])
  t.is(ordersTo(of, 'w2')?.completed, 0)
})

test('P5_PARTS: a checkpoint whose parts are missing is aborted, and the last one stays', t => {
  const of = committing()
  const reason = 'parts-missing'
  of.step({ type: 'commit-refused', generation: 1, epoch: 1, reason, facts: 'b/0' })
  const orders = ordersTo(of, 'w2')
  t.deepEqual([orders?.completed, orders?.aborted], [0, [1]])
})

test('P5_ASK: while the outcome of a commit is unknown it is neither completed nor aborted', t => {
  const of = committing()
  for (let minute = 0; minute < 60; minute += 1) {
    of.tick(of.now + 1_000)
    of.tells('a/0', 1)
    of.tells('b/0', 1)
    t.is(of.phase, 'running')
    const orders = ordersTo(of, 'w2')
    t.deepEqual([orders?.completed, orders?.aborted], [0, []])
  }
  of.step({ type: 'committed', generation: 1, epoch: 1 })
  t.is(ordersTo(of, 'w2')?.completed, 1)
})

test('P6_EARLY: with all reports in, no sink hears of the epoch before it is committed', t => {
  const of = committing()
  t.true(of.told.includes('commit 1'))
  t.is(ordersTo(of, 'w2')?.completed, 0)
  const conversation = new Conversation()
  const g1 = start(conversation)
  g1.prepare(1, 'a')
  g1.listen()
  g1.deliver()
  t.is(conversation.content, '')
  g1.prepare(2, 'b')
  g1.completed(1)
  g1.deliver()
  g1.deliver()
  t.is(conversation.content, 'a')
})

test('P6_ABORT: records of an aborted epoch come out with the next, in front of its own', t => {
  const conversation = new Conversation()
  const g1 = start(conversation)
  g1.prepare(1, 'a')
  g1.output.aborted(1)
  g1.prepare(2, 'b')
  g1.completed(2)
  // Behind an empty subject only the first ack tells what the second message must follow.
  g1.deliver()
  g1.deliver()
  t.is(conversation.content, 'a b')
})

test('P7: a restored output publishes what its checkpoint had prepared before it is ready', t => {
  const conversation = new Conversation()
  const snapshot = start(conversation).prepare(1, 'a')
  const g2 = restore(conversation, 1, snapshot)
  g2.listen()
  t.false(conversation.lines.includes('g2     recovered'))
  g2.deliver()
  t.true(conversation.lines.includes('g2     recovered'))
  g2.prepare(2, 'b')
  g2.completed(2)
  g2.deliver()
  t.is(conversation.content, 'a b')
})

test('P7: a generation runs only when every subtask has said that it is restored', t => {
  const of = new Coordination()
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 1, restore: undefined })
  of.step({ type: 'mailboxes-ready', generation: 1 })
  of.beat('w1')
  of.beat('w2')
  of.tells('a/0', 1, { phase: 'ready' })
  of.tells('b/0', 1, { phase: 'restoring' })
  t.is(ordersTo(of, 'w1')?.phase, 'deploy')
})

test('P8: what a source of generation 1 still sends reaches no mailbox of generation 2', t => {
  const sent = channelSubject('job', 1, 0, 'a/0', 'b/0')
  const wildcard = mailboxSubjects('job', 2, 'b/0')
  t.true(wildcard.endsWith('>'))
  t.false(sent.startsWith(wildcard.slice(0, -1)))
  t.true(channelSubject('job', 2, 0, 'a/0', 'b/0').startsWith(wildcard.slice(0, -1)))
  t.not(mailboxStream('job', 1, 'b/0'), mailboxStream('job', 2, 'b/0'))
})

test('P9: of two outputs that publish the same record, the stream keeps one, and the older stops', t => {
  const conversation = new Conversation()
  const g1 = start(conversation)
  const snapshot = g1.prepare(1, 'a')
  const g2 = restore(conversation, 1, snapshot)
  g2.listen()
  g1.completed(1)
  // The message of the one left behind comes first; the other has read that the stream is empty.
  g1.deliver()
  g2.deliver()
  t.is(conversation.content, 'a')
  t.true(conversation.lines.includes('stream refuses, its last sequence is 1 (to g2)'))
  g2.prepare(2, 'b')
  g2.completed(2)
  g2.deliver()
  g1.prepare(2, 'b')
  g1.completed(2)
  g1.deliver()
  t.is(conversation.content, 'a b')
  t.is(conversation.lines.at(-1), 'g1     fenced by g2')
})

test('P10: a store that lost what it had completed ends the job; no generation begins', t => {
  const of = committing()
  of.step({ type: 'committed', generation: 1, epoch: 1 })
  of.step({ type: 'worker-exited', worker: 'w2', reason: 'killed' })
  t.true(of.tick(of.now + 1_100).includes('begin generation'))
  const reason = 'the job has existed, and its pointer is lost'
  const told = [...of.step({ type: 'store-lost', reason }), ...of.tick(of.now + 10_000)]
  t.true(told.includes('end as failed'))
  t.false(told.includes('begin generation'))
})
