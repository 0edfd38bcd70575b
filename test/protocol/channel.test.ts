import test from 'ava'
import { InvariantViolation } from '../../lib/invariant.js'
import { ChannelReader, ChannelWriter, type SendFrame } from '../../lib/protocol/channel.js'
import { exhaust } from '../support/exhaust.js'
import { prng, seedFromEnvironment } from '../support/prng.js'

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

test('C11: an accepted frame starts the time anew while the gap is open, and ends it when closed', t => {
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

/** The longest run 1, 2, 3 … that a reader of the log can accept, from the definition. */
const readable = (log: readonly number[]): number => {
  let through = 0
  for (const number of log) if (number === through + 1) through = number
  return through
}

type Fate = 'stored' | 'ack-lost' | 'refused' | 'lost'
const fates: readonly Fate[] = ['stored', 'ack-lost', 'refused', 'lost']

/** A writer, a log that treats every publish as it is told, and a reader. */
class World {
  readonly log: number[] = []
  readonly accepted: number[] = []
  readonly answers: { readonly send: SendFrame; readonly stored: boolean }[] = []
  readonly writer: ChannelWriter
  readonly reader: ChannelReader
  readonly sizes: number[] = []
  now = 0
  read = 0
  connected = true

  constructor(
    readonly fateOf: () => Fate,
    readonly copiesOfCredit: () => number,
    bytesMax: number,
  ) {
    this.writer = writerWith({ bytesMax })
    this.reader = readerWith(bytesMax)
  }

  publish(sends: readonly SendFrame[]): void {
    for (const send of sends) {
      const fate = this.fateOf()
      if (fate === 'stored' || fate === 'ack-lost') this.log.push(send.frame[0] ?? 0)
      if (fate === 'stored') this.answers.push({ send, stored: true })
      if (fate === 'refused') this.answers.push({ send, stored: false })
    }
  }

  push(bytes: number): void {
    const content = new Uint8Array(bytes)
    content[0] = this.writer.nextNumber
    this.sizes.push(bytes)
    const send = this.writer.push(content, 1, this.now)
    if (send !== undefined) this.publish([send])
  }

  answer(): void {
    const answer = this.answers.shift()
    if (answer === undefined) return
    const { number, attempt } = answer.send
    if (answer.stored) this.writer.stored(number, attempt, this.now)
    else this.writer.refused(number, attempt, this.now)
  }

  readNext(): void {
    const number = this.log[this.read]
    if (number === undefined) return
    this.read += 1
    if (this.reader.accept(number, this.now) !== 'accept') return
    this.accepted.push(number)
    this.credit(this.reader.processed(number, this.sizes[number - 1] ?? 0))
  }

  credit(number: number | undefined): void {
    if (number === undefined) return
    for (let copies = this.copiesOfCredit(); copies > 0; copies -= 1) {
      this.writer.credit(number, this.now)
    }
  }

  tick(): void {
    this.now = Math.max(this.now, this.writer.nextWakeAt() ?? this.now)
    this.publish(this.writer.tick(this.now).sends)
  }

  /** What must hold at every instant. Returns what does not. */
  problem(): string | undefined {
    const through = readable(this.log)
    const firstUnacked = this.writer.nextNumber - this.writer.unacked
    if (firstUnacked > through + 1) return `frame ${through + 1} was forgotten`
    if (this.accepted.length !== readable(this.log.slice(0, this.read))) return 'reader is behind'
    if (this.accepted.some((number, index) => number !== index + 1)) return 'reader out of order'
    const outstanding = this.sizes.slice(this.writer.credited).reduce((a, b) => a + b, 0)
    if (this.writer.outstandingBytes !== outstanding) return 'outstanding bytes are wrong'
    return undefined
  }

  /** Whether everything pushed has arrived and both ends know. */
  get settled(): boolean {
    const pushed = this.sizes.length
    return this.accepted.length === pushed && this.writer.idle && this.writer.credited === pushed
  }

  /** Runs without faults until everything has arrived; the number of rounds that it took. */
  heal(): number {
    let rounds = 0
    for (; !this.settled && rounds < 20; rounds += 1) {
      this.tick()
      while (this.answers.length > 0) this.answer()
      while (this.read < this.log.length) this.readNext()
      this.reader.pendingCredit()
      this.credit(this.reader.credited)
    }
    return rounds
  }
}

test('exhaustive: whatever the log does to 3 frames, the reader sees 1, 2, 3 once and in order', t => {
  const endings = new Set<string>()
  const runs = exhaust(choose => {
    let faults = 2
    let creditFaults = 1
    const world = new World(
      () => {
        if (faults === 0) return 'stored'
        const fate = fates[choose(4)] ?? 'stored'
        if (fate !== 'stored') faults -= 1
        return fate
      },
      () => {
        if (creditFaults === 0) return 1
        const copies = choose(3)
        if (copies !== 1) creditFaults -= 1
        return copies
      },
      4,
    )
    let toPush = 3
    for (let steps = 0; steps < 7; steps += 1) {
      const moves: (() => void)[] = []
      if (toPush > 0) {
        moves.push(() => {
          toPush -= 1
          world.push(1)
        })
      }
      if (world.answers.length > 0) moves.push(() => world.answer())
      if (world.read < world.log.length) moves.push(() => world.readNext())
      if (!world.writer.idle) moves.push(() => world.tick())
      if (moves.length === 0) break
      moves[choose(moves.length)]?.()
      const problem = world.problem()
      if (problem !== undefined) throw new Error(problem)
    }
    faults = 0
    creditFaults = 0
    while (toPush > 0) {
      toPush -= 1
      world.push(1)
    }
    world.heal()
    if (!world.settled) throw new Error(`not settled: ${world.log.join(' ')}`)
    endings.add(world.accepted.join(' '))
  })
  t.deepEqual([...endings], ['1 2 3'])
  t.is(runs, 427_411)
})

test('random: thousands of steps with faults and reconnects agree with the reference model', t => {
  const random = prng(seedFromEnvironment())
  t.log(`seed ${random.seed}`)
  let rounds = 0
  for (let world = 0; world < 40; world += 1) {
    rounds = Math.max(
      rounds,
      faultyRun(random.below(2 ** 31), 400, problem => t.fail(problem)),
    )
  }
  t.log(`healed in at most ${rounds} rounds`)
  t.true(rounds < 20)
})

/** One world under random faults, then healed; the rounds that healing took. */
const faultyRun = (seed: number, steps: number, fail: (problem: string) => void): number => {
  const random = prng(seed)
  let faulty = true
  const world = new World(
    () => (faulty && random.chance(0.3) ? (fates[random.below(4)] ?? 'stored') : 'stored'),
    () => (faulty ? random.below(3) : 1),
    64,
  )
  const moves: readonly (() => void)[] = [
    () =>
      world.writer.blocked || world.sizes.length >= 255
        ? undefined
        : world.push(1 + random.below(30)),
    () => world.answer(),
    () => world.readNext(),
    () => (random.chance(0.3) ? world.tick() : undefined),
    () => (random.chance(0.1) ? world.credit(world.reader.credited) : undefined),
    () => {
      if (random.chance(0.95)) return
      if (world.connected) world.writer.disconnected()
      else world.writer.reconnected(world.now)
      world.connected = !world.connected
    },
  ]
  for (let step = 0; step < steps; step += 1) {
    world.now += random.below(20)
    moves[random.below(moves.length)]?.()
    const problem = world.problem()
    if (problem !== undefined) fail(`${problem} after step ${step} of world ${seed}`)
  }
  faulty = false
  world.writer.reconnected(world.now)
  const rounds = world.heal()
  const problem = world.problem() ?? (world.settled ? undefined : 'not settled')
  if (problem !== undefined) fail(`${problem} at the end of world ${seed}`)
  return rounds
}
