import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { ChannelOut } from '../../actors/channel-out.js'
import { Gate } from '../../actors/gate.js'
import { SluiceError, type StreamError } from '../../lib/errors.js'
import { defaultLimits, type Limits } from '../../lib/job/limits.js'
import { decodeFrame, type Frame } from '../../lib/protocol/frame.js'
import { memoryCodec } from '../support/memory-codec.js'
import type { Fault } from '../support/memory-wire.js'
import { loneProcess } from './mailbox-fixture.js'

const generation = 3
const text = 'x'.repeat(100)

const channelOf = (t: ExecutionContext, limits: Partial<Limits> = {}) => {
  const lone = loneProcess()
  const { time, broker, log, scheduler, wire } = lone
  broker.create({ name: 'MAILBOX', subjects: ['m.>'], storage: 'memory' })
  const failures: StreamError[] = []
  let opened = 0
  let asked = 0
  const gate = new Gate(() => {
    opened += 1
  })
  const out = new ChannelOut({
    channel: 'c',
    subject: 'm.c',
    generation,
    limits: { ...defaultLimits, frameBytesMax: 500, channelBytesMax: 2_000, ...limits },
    log,
    codec: memoryCodec,
    scheduler,
    gate,
    onFailed: error => failures.push(error),
    requestCredit: () => {
      asked += 1
    },
  })
  /** What is stored, frame by frame, as `number: records` or `number: barrier epoch`. */
  const stored = (): readonly string[] =>
    broker.content('MAILBOX').map(({ payload }) => {
      const frame = decodeFrame(payload)
      return E.isRight(frame) ? words(frame.right) : t.fail(frame.left.message)
    })
  const words = ({ header, body }: Frame): string => {
    if (header.type === 'barrier') return `${header.number}: barrier ${header.epoch}`
    if (header.type !== 'data') return `${header.number}: ${header.type}`
    const records = memoryCodec.deserializeBatch(body, header.records)
    return `${header.number}: ${E.isRight(records) ? String(records.right) : 'corrupt'}`
  }
  /** Time passes, with a tick every 50 ms as a subtask gives it. */
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 50) {
      await time.pass(Math.min(50, left))
      out.tick(time.now)
    }
  }
  return {
    ...lone,
    out,
    gate,
    failures,
    stored,
    pass,
    settle: () => time.pass(10),
    opened: () => opened,
    asked: () => asked,
    /** What goes wrong with the next publishes, one by one. */
    faults: (...faults: readonly (Fault | undefined)[]) => {
      const left = [...faults]
      wire.options.hooks.onRequest = (_process, request) =>
        request.startsWith('publish') ? left.shift() : undefined
    },
  }
}

test('records travel in frames, flushed by size or when asked for', async t => {
  const of = channelOf(t)
  for (let n = 0; n < 10; n += 1) of.out.add(n)
  t.true(of.out.hasOpenFrame)
  of.out.flush()
  of.out.flush()
  await of.settle()
  t.false(of.out.hasOpenFrame)
  t.true(of.out.settled)
  const all = of.stored().flatMap(frame => (frame.split(': ')[1] ?? '').split(','))
  t.deepEqual(all, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
})

test('a barrier comes right behind the records before it, and numbers go on', async t => {
  const of = channelOf(t)
  of.out.add('a')
  of.out.barrier(4, false, 12)
  of.out.barrier(5, true, 13)
  of.out.add('b')
  of.out.flush()
  await of.settle()
  t.deepEqual(of.stored(), ['1: a', '2: barrier 4', '3: barrier 5', '4: b'])
})

test('a channel without credit closes the gate, and opens it when its reader has caught up', async t => {
  const of = channelOf(t)
  while (!of.gate.closed) of.out.add(text)
  await of.settle()
  const frames = of.stored().length
  of.out.credit(1)
  t.false(of.gate.closed)
  t.is(of.opened(), 1)
  of.out.credit(1)
  of.out.credit(999)
  t.is(of.opened(), 1)
  t.true(frames > 2)
})

test('barriers get through without credit', async t => {
  const of = channelOf(t)
  while (!of.gate.closed) of.out.add(text)
  of.out.add('last')
  of.out.barrier(1, false, 0)
  await of.settle()
  t.regex(of.stored().at(-2) ?? '', /last$/)
  t.regex(of.stored().at(-1) ?? '', /barrier 1$/)
})

test('a channel that stays without credit asks for it again', async t => {
  const of = channelOf(t)
  await of.pass(1_000)
  t.is(of.asked(), 0)
  while (!of.gate.closed) of.out.add(text)
  await of.pass(250)
  t.is(of.asked(), 0)
  await of.pass(1_000)
  t.true(of.asked() >= 3 && of.asked() <= 5, `${of.asked()}`)
})

test('a lost frame is driven again with all that follow it, in order', async t => {
  const of = channelOf(t)
  of.faults(undefined, 'lost')
  for (const record of ['a', 'b', 'c']) {
    of.out.add(record)
    of.out.flush()
  }
  await of.settle()
  t.deepEqual(of.stored(), ['1: a', '3: c'])
  t.false(of.out.settled)
  await of.pass(2_500)
  t.deepEqual(of.stored(), ['1: a', '3: c', '2: b', '3: c'])
  t.true(of.out.settled)
})

test('a frame whose answer is lost is driven again: the reader drops the copy', async t => {
  const of = channelOf(t)
  of.faults('unanswered')
  of.out.add('a')
  of.out.flush()
  await of.pass(2_500)
  t.deepEqual(of.stored(), ['1: a', '1: a'])
  t.true(of.out.settled)
})

test('a full mailbox is tried again until there is room', async t => {
  const of = channelOf(t, { channelBytesMax: 1_000_000 })
  of.broker.remove('MAILBOX')
  of.broker.create({ name: 'MAILBOX', subjects: ['m.>'], storage: 'memory', bytesMax: 600 })
  for (let n = 0; n < 5; n += 1) {
    of.out.add(text)
    of.out.flush()
  }
  await of.pass(500)
  t.deepEqual(of.failures, [])
  t.false(of.out.settled)
  of.broker.streams.get('MAILBOX')?.purge(1_000)
  await of.pass(3_000)
  t.true(of.out.settled)
  const numbers = of.stored().map(frame => Number(frame.split(':')[0]))
  t.is(numbers.at(-1), 5)
})

test('a channel that cannot store anything for long fails, and names itself', async t => {
  const of = channelOf(t, { channelStallTimeoutMs: 5_000 })
  of.faults(...Array.from({ length: 100 }, () => 'lost' as const))
  of.out.add('a')
  of.out.flush()
  await of.pass(20_000)
  t.is(of.failures.length, 1)
  t.is(of.failures[0]?.type, 'timed-out')
  t.regex(of.failures[0]?.message ?? '', /^channel c: frame 1 and 0 after it were not stored/)
})

test('a mailbox that is gone fails the channel at once', async t => {
  const of = channelOf(t)
  of.broker.remove('MAILBOX')
  of.out.add('a')
  of.out.flush()
  await of.settle()
  t.is(of.failures[0]?.type, 'missing')
})

test('a frame larger than a message may be is split; a record that is, is refused', async t => {
  const of = channelOf(t, { frameBytesMax: 512 * 1024, channelBytesMax: 64 * 1024 * 1024 })
  const large = 'x'.repeat(700_000)
  for (let n = 0; n < 3; n += 1) of.out.add(large)
  of.out.flush()
  await of.settle()
  t.is(of.stored().length, 3)
  const error = t.throws(
    () => {
      of.out.add('x'.repeat(2 * 1024 * 1024))
      of.out.flush()
    },
    { instanceOf: SluiceError },
  )
  t.is(error?.error.type, 'full')
  t.regex(error?.message ?? '', /on channel c is larger than a message of this NATS server/)
})

test('a disposed channel says nothing more', async t => {
  const of = channelOf(t)
  of.broker.remove('MAILBOX')
  of.out.add('a')
  of.out.flush()
  of.out.add('b')
  of.out.dispose()
  t.false(of.out.hasOpenFrame)
  await of.settle()
  t.deepEqual(of.failures, [])
})

test('a gate is open while every output has room', t => {
  let opened = 0
  const gate = new Gate(() => {
    opened += 1
  })
  gate.change(true)
  gate.change(true)
  gate.change(false)
  t.true(gate.closed)
  t.is(opened, 0)
  gate.change(false)
  t.false(gate.closed)
  t.is(opened, 1)
})
