import test from 'ava'
import { InvariantViolation } from '../../lib/invariant.js'
import { ChannelReader, ChannelWriter, type SendFrame } from '../../lib/protocol/channel.js'

const writerWith = (options: { bytesMax?: number } = {}): ChannelWriter =>
  new ChannelWriter({ bytesMax: 100, ackTimeoutMs: 1_000, stallTimeoutMs: 30_000, ...options })

const readerWith = (windowBytes = 100): ChannelReader =>
  new ChannelReader({ windowBytes, stallTimeoutMs: 30_000 })

const frame = (bytes = 10): Uint8Array => new Uint8Array(bytes)

/** A writer that has sent so many frames at time 0. */
const sent = (frames: number): ChannelWriter => {
  const writer = writerWith()
  for (let number = 1; number <= frames; number += 1) writer.push(frame(), 1, 0)
  return writer
}

const numbersOf = (sends: readonly SendFrame[]): readonly string[] =>
  sends.map(({ number, attempt }) => `${number}/${attempt}`)

test('C1: frames are numbered 1, 2, 3 in order of push', t => {
  const writer = writerWith()
  t.is(writer.nextNumber, 1)
  const first = frame()
  t.deepEqual(writer.push(first, 1, 0), { number: 1, attempt: 1, frame: first })
  t.is(writer.push(frame(), 1, 0)?.number, 2)
  t.is(writer.nextNumber, 3)
})

test('C2: many refusals of one attempt cause one re-drive of everything unacked, in order', t => {
  const writer = sent(4)
  writer.stored(1, 1, 1)
  writer.refused(2, 1, 1)
  writer.refused(3, 1, 5)
  writer.refused(4, 1, 9)
  t.is(writer.nextWakeAt(), 11)
  t.deepEqual(numbersOf(writer.tick(10).sends), [])
  t.deepEqual(numbersOf(writer.tick(11).sends), ['2/2', '3/2', '4/2'])
  t.deepEqual(numbersOf(writer.tick(12).sends), [])
})

test('C2: a frame stored behind a refused one is sent again', t => {
  const writer = sent(3)
  writer.refused(1, 1, 0)
  writer.stored(2, 1, 0)
  writer.stored(3, 1, 0)
  t.is(writer.unacked, 3)
  t.deepEqual(numbersOf(writer.tick(10).sends), ['1/2', '2/2', '3/2'])
})

test('C2: a frame without an ack for ackTimeoutMs is re-driven with all that follow', t => {
  const writer = sent(2)
  writer.push(frame(), 1, 400)
  writer.stored(1, 1, 500)
  t.is(writer.nextWakeAt(), 1_000)
  t.deepEqual(numbersOf(writer.tick(999).sends), [])
  t.deepEqual(numbersOf(writer.tick(1_000).sends), ['2/2', '3/2'])
})

test('C3: answers to an older attempt change nothing', t => {
  const writer = sent(2)
  writer.refused(1, 1, 0)
  writer.tick(10)
  writer.stored(1, 1, 11)
  writer.stored(2, 1, 11)
  t.is(writer.unacked, 2)
  writer.refused(2, 1, 12)
  t.deepEqual(numbersOf(writer.tick(100).sends), [])
  writer.stored(1, 2, 101)
  writer.stored(2, 2, 101)
  t.true(writer.idle)
})

test('C3: acks of the current attempt count while its re-drive is due', t => {
  const writer = sent(3)
  writer.refused(3, 1, 0)
  writer.stored(1, 1, 1)
  writer.stored(2, 1, 2)
  // The progress does not bring the re-drive forward, it makes it smaller.
  t.deepEqual(numbersOf(writer.tick(10).sends), ['3/2'])
})

test('C3: an answer to a frame that was never sent is a defect', t => {
  t.throws(() => sent(1).stored(2, 1, 0), { instanceOf: InvariantViolation })
})

test('C4: a frame is kept until it and all before it are acked', t => {
  const writer = sent(3)
  writer.stored(3, 1, 0)
  writer.stored(2, 1, 0)
  t.is(writer.unacked, 3)
  writer.stored(1, 1, 0)
  t.is(writer.unacked, 0)
  t.true(writer.idle)
})

test('C4: a credit proves that frames are stored though their acks were lost', t => {
  const writer = sent(3)
  t.is(writer.credit(2, 5), 'advanced')
  t.is(writer.unacked, 1)
  t.deepEqual(numbersOf(writer.tick(1_000).sends), ['3/2'])
  writer.stored(2, 1, 1_001)
  t.is(writer.unacked, 1)
})

test('C4: a re-drive whose frames were all proven stored meanwhile is dropped', t => {
  const writer = sent(1)
  writer.refused(1, 1, 0)
  writer.credit(1, 1)
  t.is(writer.nextWakeAt(), undefined)
  t.deepEqual(numbersOf(writer.tick(10).sends), [])
  t.is(writer.push(frame(), 1, 11)?.number, 2)
})

test('C5: a frame pushed while a re-drive is due goes out behind it', t => {
  const writer = sent(1)
  writer.refused(1, 1, 0)
  t.is(writer.push(frame(), 1, 1), undefined)
  t.is(writer.nextNumber, 3)
  t.deepEqual(numbersOf(writer.tick(10).sends), ['1/2', '2/2'])
})

test('C5: after a disconnect everything in flight is re-driven on reconnect, nothing before', t => {
  const writer = sent(2)
  writer.stored(1, 1, 1)
  writer.disconnected()
  t.is(writer.push(frame(), 1, 2), undefined)
  t.deepEqual(numbersOf(writer.tick(20_000).sends), [])
  writer.reconnected(20_001)
  t.is(writer.nextWakeAt(), 20_001)
  t.deepEqual(numbersOf(writer.tick(20_001).sends), ['2/2', '3/2'])
})

test('C5: a reconnect with nothing in flight re-drives nothing', t => {
  const writer = writerWith()
  writer.disconnected()
  writer.reconnected(1)
  t.is(writer.nextWakeAt(), undefined)
  t.is(writer.push(frame(), 1, 2)?.number, 1)
})

test('C6: credit is cumulative and monotone', t => {
  const writer = sent(3)
  t.is(writer.credit(2, 0), 'advanced')
  t.is(writer.outstandingBytes, 10)
  t.is(writer.credit(2, 0), 'stale')
  t.is(writer.credit(1, 0), 'stale')
  t.is(writer.outstandingBytes, 10)
  t.is(writer.credited, 2)
})

test('C6: a credit beyond what was sent is counted and ignored', t => {
  const writer = sent(2)
  writer.disconnected()
  writer.push(frame(), 1, 0)
  t.is(writer.credit(3, 0), 'impossible')
  t.is(writer.credit(Number.NaN, 0), 'impossible')
  t.is(writer.impossibleCredits, 2)
  t.is(writer.outstandingBytes, 30)
  t.is(writer.unacked, 3)
})

test('C7: a writer is blocked by bytes without credit, whether acked or not', t => {
  const writer = writerWith({ bytesMax: 20 })
  writer.push(frame(), 1, 0)
  t.false(writer.blocked)
  writer.push(frame(), 1, 0)
  t.true(writer.blocked)
  writer.stored(1, 1, 0)
  writer.stored(2, 1, 0)
  t.true(writer.blocked)
  writer.credit(1, 0)
  t.false(writer.blocked)
})

test('C7: a barrier passes a blocked writer', t => {
  const writer = writerWith({ bytesMax: 10 })
  writer.push(frame(), 1, 0)
  t.is(writer.push(frame(36), 0, 0)?.number, 2)
  t.is(writer.outstandingBytes, 46)
})

test('C8: unacked frames without progress for stallTimeoutMs are a stall, reported once', t => {
  const writer = writerWith()
  writer.push(frame(), 3, 0)
  writer.push(frame(), 4, 0)
  writer.stored(1, 1, 500)
  t.is(writer.tick(30_499).stalled, undefined)
  t.deepEqual(writer.tick(30_500).stalled, {
    firstUnacked: 2,
    frames: 1,
    records: 4,
    attempt: 2,
    stalledMs: 30_000,
  })
  t.is(writer.tick(40_000).stalled, undefined)
})

test('C8: a slow reader is no stall', t => {
  const writer = writerWith({ bytesMax: 10 })
  writer.push(frame(), 1, 0)
  writer.stored(1, 1, 0)
  t.true(writer.blocked)
  t.is(writer.tick(1_000_000).stalled, undefined)
  t.is(writer.nextWakeAt(), undefined)
})

test('C8: time without frames does not count towards a stall', t => {
  const writer = writerWith()
  writer.tick(100_000)
  writer.push(frame(), 1, 100_000)
  t.is(writer.tick(100_001).stalled, undefined)
})

test('C8: a writer without a connection stalls too', t => {
  const writer = sent(1)
  writer.disconnected()
  t.is(writer.nextWakeAt(), 30_000)
  t.is(writer.tick(30_000).stalled?.firstUnacked, 1)
})

test('C9: a reader accepts frames in order, drops duplicates and skips no gap', t => {
  const reader = readerWith()
  t.is(reader.accept(2, 0), 'gap')
  t.is(reader.accept(1, 0), 'accept')
  t.is(reader.accept(1, 0), 'duplicate')
  t.is(reader.accept(3, 0), 'gap')
  t.is(reader.accept(2, 0), 'accept')
  t.is(reader.accept(3, 0), 'accept')
  t.is(reader.expected, 4)
})

test('C9: processing a frame that was not accepted, or out of order, is a defect', t => {
  const reader = readerWith()
  t.throws(() => reader.processed(1, 1), { instanceOf: InvariantViolation })
  reader.accept(1, 0)
  reader.accept(2, 0)
  t.throws(() => reader.processed(2, 1), { instanceOf: InvariantViolation })
})

test('C10: a credit falls due every quarter of the window', t => {
  const reader = readerWith(100)
  const credits = [10, 10, 5, 24, 1, 100].map((bytes, index) => {
    reader.accept(index + 1, 0)
    return reader.processed(index + 1, bytes)
  })
  t.deepEqual(credits, [undefined, undefined, 3, undefined, 5, 6])
  t.is(reader.credited, 6)
})

test('C10: less than a quarter can be credited on demand, and the last credit repeated', t => {
  const reader = readerWith(100)
  t.is(reader.pendingCredit(), undefined)
  reader.accept(1, 0)
  reader.processed(1, 1)
  t.is(reader.credited, 0)
  t.is(reader.pendingCredit(), 1)
  t.is(reader.pendingCredit(), undefined)
  t.is(reader.credited, 1)
})

test('C10: what a reader withholds never blocks the writer', t => {
  for (let bytes = 1; bytes <= 120; bytes += 1) {
    const writer = writerWith({ bytesMax: 100 })
    const reader = readerWith(100)
    for (let number = 1; number <= 20; number += 1) {
      t.false(writer.blocked)
      writer.push(frame(bytes), 1, 0)
      reader.accept(number, 0)
      const credit = reader.processed(number, bytes)
      if (credit !== undefined) writer.credit(credit, 0)
    }
  }
})

test('C11: a gap that lasts is a stall, reported once', t => {
  const reader = readerWith()
  reader.accept(3, 1_000)
  reader.accept(2, 5_000)
  t.is(reader.nextWakeAt(), 31_000)
  t.is(reader.tick(30_999).stalled, undefined)
  t.deepEqual(reader.tick(31_000).stalled, { expected: 1, seen: 3, stalledMs: 30_000 })
  t.is(reader.tick(50_000).stalled, undefined)
})

test('C11: an accepted frame restarts the time of an open gap, and the last one ends it', t => {
  const reader = readerWith()
  reader.accept(3, 0)
  reader.accept(1, 20_000)
  t.is(reader.nextWakeAt(), 50_000)
  reader.accept(2, 21_000)
  reader.accept(3, 22_000)
  t.is(reader.nextWakeAt(), undefined)
  t.is(reader.tick(1_000_000).stalled, undefined)
})

test('C12: re-drives of a full log come at growing distances until there is progress', t => {
  const writer = sent(1)
  let now = 0
  const delays: number[] = []
  for (let attempt = 1; attempt <= 8; attempt += 1) {
    writer.refused(1, attempt, now)
    const due = writer.nextWakeAt() ?? Number.NaN
    delays.push(due - now)
    now = due
    t.deepEqual(numbersOf(writer.tick(now).sends), [`1/${attempt + 1}`])
  }
  t.deepEqual(delays, [10, 20, 40, 80, 160, 320, 500, 500])
  writer.stored(1, 9, now)
  writer.push(frame(), 1, now)
  writer.refused(2, 9, now)
  t.is(writer.nextWakeAt(), now + 10)
})

test('C12: a server slower than the ack timeout is given time to answer', t => {
  const writer = sent(1)
  const due: number[] = []
  for (let round = 0; round < 5; round += 1) {
    const now = writer.nextWakeAt() ?? Number.NaN
    due.push(now)
    writer.tick(now)
  }
  t.deepEqual(due, [1_000, 3_000, 7_000, 15_000, 23_000])
})
