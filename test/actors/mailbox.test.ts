import test from 'ava'
import { defaultLimits } from '../../lib/job/limits.js'
import { mailboxOf } from './mailbox-fixture.js'

test('records of all channels are received in the order of their channels', async t => {
  const of = mailboxOf(t)
  of.data('a', 1, 'a1', 'a2')
  of.data('b', 1, 'b1')
  of.data('a', 2, 'a3')
  await of.settle()
  t.deepEqual(of.received, ['a1', 'a2', 'b1', 'a3'])
})

test('a gate that closes in the middle of a frame stops there, and goes on at the same record', async t => {
  const of = mailboxOf(t)
  of.whenReceived(record => {
    if (record === 2 || record === 3) of.gate.change(true)
  })
  of.data('a', 1, 1, 2, 3, 4)
  of.data('a', 2, 5)
  await of.settle()
  t.deepEqual(of.received, [1, 2])
  of.drive()
  t.deepEqual(of.received, [1, 2])
  of.gate.change(false)
  t.deepEqual(of.received, [1, 2, 3])
  of.gate.change(false)
  t.deepEqual(of.received, [1, 2, 3, 4, 5])
})

test('a frame of many records is left in the middle when the turn is over', async t => {
  const of = mailboxOf(t, { onArrived: () => {} })
  const records = Array.from({ length: 100 }, (_, i) => i)
  of.data('a', 1, ...records)
  of.barrier('a', 2, 1)
  of.barrier('b', 1, 1)
  await of.settle()
  const turnIsOver = of.time.now
  const taken: number[] = []
  while (of.mailbox.pump(turnIsOver) === 'yield') {
    taken.push(of.received.length - taken.reduce((sum, count) => sum + count, 0))
  }
  t.true(
    taken.every(count => count <= 16),
    taken.join(', '),
  )
  t.deepEqual(of.received, [...records, 'snapshot 1'])
})

test('while the gate is closed no barrier gets past the records before it', async t => {
  const of = mailboxOf(t)
  of.whenReceived(record => {
    if (record === 1) of.gate.change(true)
  })
  of.data('a', 1, 1, 2)
  of.barrier('a', 2, 1)
  of.barrier('b', 1, 1)
  await of.settle()
  t.deepEqual(of.received, [1])
  of.gate.change(false)
  t.deepEqual(of.received, [1, 2, 'snapshot 1'])
})

test('alignment: what comes behind a barrier waits, in order, until the snapshot is taken', async t => {
  const of = mailboxOf(t)
  of.data('a', 1, 'a1')
  of.barrier('a', 2, 1)
  of.data('a', 3, 'a2', 'a3')
  of.barrier('a', 4, 2)
  of.data('a', 5, 'a4')
  of.data('b', 1, 'b1')
  await of.settle()
  t.deepEqual(of.received, ['a1', 'b1'])
  of.barrier('b', 2, 1)
  await of.settle()
  t.deepEqual(of.received, ['a1', 'b1', 'snapshot 1', 'a2', 'a3'])
  of.data('b', 3, 'b2')
  of.barrier('b', 4, 2)
  await of.settle()
  t.deepEqual(of.received.slice(5), ['b2', 'snapshot 2', 'a4'])
})

test('at least once: nothing waits for a barrier', async t => {
  const of = mailboxOf(t, { mode: 'at-least-once' })
  of.barrier('a', 1, 1)
  of.data('a', 2, 'a1')
  of.barrier('b', 1, 1)
  await of.settle()
  t.deepEqual(of.received, ['a1', 'snapshot 1'])
})

test('an aborted checkpoint lets go of the channels that wait for it', async t => {
  const of = mailboxOf(t)
  of.barrier('a', 1, 1)
  of.data('a', 2, 'a1')
  await of.settle()
  t.deepEqual(of.received, [])
  of.mailbox.abort(1)
  t.deepEqual(of.received, ['a1'])
  of.barrier('b', 1, 1)
  await of.settle()
  t.deepEqual(of.received, ['a1'])
})

test('a mailbox that was restored ignores barriers up to its epoch', async t => {
  const of = mailboxOf(t, { restored: 7 })
  of.barrier('a', 1, 7)
  of.data('a', 2, 'a1')
  await of.settle()
  t.deepEqual(of.received, ['a1'])
})

test('duplicates are dropped', async t => {
  const of = mailboxOf(t)
  of.data('a', 1, 1)
  of.data('a', 1, 1)
  of.data('a', 2, 2)
  of.data('a', 1, 1)
  of.data('a', 2, 2)
  of.data('a', 3, 3)
  await of.settle()
  t.deepEqual(of.received, [1, 2, 3])
})

test('a gap is never skipped: what comes too early is dropped, and taken when it is driven again', async t => {
  const of = mailboxOf(t)
  of.data('a', 1, 1)
  of.data('a', 3, 3)
  of.data('a', 4, 4)
  await of.settle()
  t.deepEqual(of.received, [1])
  of.data('a', 2, 2)
  await of.settle()
  t.deepEqual(of.received, [1, 2])
  of.data('a', 3, 3)
  of.data('a', 4, 4)
  await of.settle()
  t.deepEqual(of.received, [1, 2, 3, 4])
})

test('a gap that nobody fills fails the subtask, and names the channel', async t => {
  const of = mailboxOf(t)
  of.data('b', 2, 2)
  await of.settle()
  of.mailbox.tick(of.time.now + 9_000)
  t.deepEqual(of.failures, [])
  of.mailbox.tick(of.time.now + 10_000)
  t.is(of.failures[0]?.type, 'lost')
  t.regex(of.failures[0]?.message ?? '', /^channel b has a gap that nobody fills/)
})

test('a credit is given for every quarter of the window, and repeated when it is asked for', async t => {
  const of = mailboxOf(t)
  of.data('a', 1, 'x'.repeat(20))
  await of.settle()
  t.deepEqual(of.credits, [])
  of.mailbox.answerCreditRequest('a')
  of.mailbox.answerCreditRequest('a')
  of.mailbox.answerCreditRequest('b')
  of.mailbox.answerCreditRequest('no such channel')
  t.deepEqual(of.credits, ['a 1', 'a 1', 'b 0'])
  of.data('a', 2, 'x'.repeat(200))
  await of.settle()
  t.is(of.credits.at(-1), 'a 2')
})

test('no credit is given for what only waits', async t => {
  const of = mailboxOf(t)
  of.barrier('a', 1, 1)
  for (let number = 2; number < 6; number += 1) of.data('a', number, 'x'.repeat(100))
  await of.settle()
  of.mailbox.answerCreditRequest('a')
  t.deepEqual(of.credits, ['a 1'])
  of.mailbox.abort(1)
  t.is(of.credits.at(-1), 'a 5')
})

test('P8: a frame of another generation touches nothing and fails the subtask', async t => {
  const of = mailboxOf(t)
  of.barrier('a', 1, 1, 4)
  of.data('b', 1, 'b1')
  await of.settle()
  t.is(of.failures[0]?.type, 'fenced')
  t.false(of.received.includes('snapshot 1'))
})

test('what is no frame, and what no channel sent, fails the subtask with its place', async t => {
  for (const [channel, frame, why] of [
    ['a', new Uint8Array(9), /message 1 of mailbox MAILBOX on m.a: A message on a channel is no/],
    ['stranger', new Uint8Array(9), /no channel of this plan has that subject|no valid frame/],
  ] as const) {
    const of = mailboxOf(t)
    of.put(channel, frame)
    await of.settle()
    t.is(of.failures[0]?.type, 'corrupt')
    t.regex(of.failures[0]?.message ?? '', why)
  }
})

test('what has been taken in is removed from the stream, whatever waits before it', async t => {
  const of = mailboxOf(t)
  const large = 'x'.repeat(100_000)
  of.barrier('b', 1, 1)
  of.data('b', 2, 'waits')
  for (let number = 1; number <= 12; number += 1) of.data('a', number, large)
  await of.settle()
  t.is(of.received.length, 12)
  t.true(of.broker.content(of.stream).length < 7)
  of.barrier('a', 13, 1)
  await of.settle()
  t.is(of.received.at(-1), 'waits')
})

test('a frame that waits keeps no room in the stream from what comes back', async t => {
  const limits = { ...defaultLimits, channelBytesMax: 400 }
  const of = mailboxOf(t, { limits }, { channels: ['back'] })
  const large = 'x'.repeat(100_000)
  of.barrier('a', 1, 1)
  of.data('a', 2, 'waits')
  for (let number = 1; number <= 50; number += 1) {
    of.data('back', number, large)
    await of.settle()
  }
  t.is(of.received.length, 50)
  t.true(of.broker.content(of.stream).length < 7)
})

test('a removal that failed is tried again, though nothing more comes', async t => {
  const of = mailboxOf(t)
  of.refusePurges(2)
  for (let number = 1; number <= 6; number += 1) of.data('a', number, 'x'.repeat(100_000))
  await of.settle()
  t.is(of.broker.content(of.stream).length, 6)
  for (let tick = 0; tick < 3; tick += 1) {
    of.mailbox.tick(of.time.now)
    await of.settle()
  }
  t.deepEqual(of.broker.content(of.stream), [])
  t.deepEqual(of.purges, [7])
  t.deepEqual(of.failures, [])
})

test('channels take turns, so that a full one does not starve the barrier of another', async t => {
  const of = mailboxOf(t)
  let frames = 0
  of.whenReceived(() => {
    frames += 1
    if (frames === 1) of.gate.change(true)
  })
  of.data('a', 1, 'a')
  for (let number = 2; number < 50; number += 1) of.data('a', number, 'a')
  of.data('b', 1, 'b')
  await of.settle()
  of.gate.change(false)
  t.true(of.received.indexOf('b') <= 2, `${of.received.indexOf('b')}`)
})

/** Short turns, between which what was sent arrives. */
const turns = async (of: ReturnType<typeof mailboxOf>, count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) {
    of.mailbox.pump(of.time.now)
    await of.time.pass(2)
  }
}

test('a loop that is never empty lets in what is new, and the barrier behind it', async t => {
  const of = mailboxOf(t, { onArrived: () => {} }, { channels: ['back'] })
  let next = 1
  let rounds = 0
  of.whenReceived(record => {
    if (record !== 'round' || rounds === 500) return
    rounds += 1
    of.data('back', next++, 'round')
  })
  for (let many = 0; many < 5; many += 1) of.data('back', next++, 'round')
  for (let number = 1; number <= 8; number += 1) of.data('a', number, 'new')
  of.barrier('a', 9, 1)
  of.barrier('b', 1, 1)
  await turns(of, 600)
  t.is(rounds, 500)
  const at = of.received.indexOf('snapshot 1')
  t.true(at > 0 && at < 60, `${at}`)
})

test('of two channels that come back neither keeps the barrier of the other waiting', async t => {
  const of = mailboxOf(t, { onArrived: () => {} }, { channels: ['left', 'right'] })
  let next = 1
  let rounds = 0
  of.whenReceived(record => {
    if (record !== 'left' || rounds === 500) return
    rounds += 1
    of.data('left', next++, 'left')
  })
  of.barrier('a', 1, 1)
  of.barrier('b', 1, 1)
  await turns(of, 5)
  for (let many = 0; many < 5; many += 1) of.data('left', next++, 'left')
  of.barrier('left', next++, 1)
  of.barrier('right', 1, 1)
  await turns(of, 600)
  t.is(rounds, 500)
  const at = of.received.indexOf('returned 1 with 5')
  t.true(at > 0 && at < 60, `${at}`)
})

test('records that a restored loop held take no longer turn than others', t => {
  const restored = Array.from({ length: 100 }, (_, i) => i)
  const of = mailboxOf(t, { onArrived: () => {} }, { channels: ['back'], restored })
  t.is(of.mailbox.pump(of.time.now), 'yield')
  t.true(of.received.length <= 16, `${of.received.length}`)
  while (of.mailbox.pump(of.time.now) === 'yield') t.true(of.received.length <= 100)
  t.deepEqual(of.received, restored)
})

test('a disposed mailbox receives nothing more', async t => {
  const of = mailboxOf(t)
  of.whenReceived(record => {
    if (record === 2) of.mailbox.dispose()
  })
  of.data('a', 1, 1, 2, 3)
  of.data('a', 2, 4)
  await of.settle()
  of.data('a', 3, 5)
  await of.settle()
  t.deepEqual(of.received, [1, 2])
})

test('a mailbox whose stream is removed fails the subtask', async t => {
  const of = mailboxOf(t)
  await of.settle()
  of.broker.remove(of.stream)
  await of.settle()
  t.is(of.failures[0]?.type, 'missing')
})

test('LL4: what follows a barrier that came round from another head waits for the own snapshot', async t => {
  const of = mailboxOf(t, {}, { channels: ['left', 'right'] })
  of.data('left', 1, 'round before')
  of.barrier('left', 2, 1)
  of.data('left', 3, 'round behind')
  of.data('right', 1, 'of the other channel')
  of.data('a', 1, 'new')
  await of.settle()
  t.deepEqual(of.received, ['round before', 'of the other channel', 'new'])
  of.barrier('a', 2, 1)
  of.barrier('b', 1, 1)
  await of.settle()
  t.deepEqual(of.received.slice(3), ['snapshot 1', 'round behind'])
  of.data('right', 2, 'logged')
  of.barrier('right', 3, 1)
  await of.settle()
  t.deepEqual(of.received.slice(5), ['logged', 'returned 1 with 1'])
  t.deepEqual(of.failures, [])
})

test('LL4: at least once nothing waits, and a barrier that is back already is not waited for', async t => {
  const of = mailboxOf(t, { mode: 'at-least-once' }, { channels: ['back'] })
  of.barrier('back', 1, 1)
  of.data('back', 2, 'round behind')
  await of.settle()
  t.deepEqual(of.received, ['round behind'])
  of.barrier('a', 1, 1)
  of.barrier('b', 1, 1)
  await of.settle()
  t.deepEqual(of.received.slice(1), ['snapshot 1', 'returned 1 with 0'])
})

for (const late of [false, true]) {
  const when = late ? 'before its barrier comes round' : 'while a channel waits for it'
  test(`LL4: a checkpoint that is given up ${when} holds nothing back`, async t => {
    const of = mailboxOf(t, {}, { channels: ['back'] })
    if (late) of.mailbox.abort(1)
    of.barrier('back', 1, 1)
    of.data('back', 2, 'round behind')
    await of.settle()
    if (!late) {
      t.deepEqual(of.received, [])
      of.mailbox.abort(1)
      await of.settle()
    }
    t.deepEqual(of.received, ['round behind'])
  })
}

test('LL4: of a checkpoint that is superseded nothing waits, and of the next one all that has to', async t => {
  const of = mailboxOf(t, {}, { channels: ['left', 'right'] })
  of.barrier('left', 1, 1)
  of.data('left', 2, 'behind 1')
  of.barrier('right', 1, 3)
  of.data('right', 2, 'behind 3')
  of.barrier('a', 1, 2)
  of.barrier('b', 1, 2)
  await of.settle()
  t.deepEqual(of.received, ['snapshot 2', 'behind 1'])
  of.barrier('left', 3, 2)
  of.barrier('a', 2, 3)
  of.barrier('b', 2, 3)
  await of.settle()
  t.deepEqual(of.received.slice(2), ['returned 2 with 1', 'snapshot 3', 'behind 3'])
})
