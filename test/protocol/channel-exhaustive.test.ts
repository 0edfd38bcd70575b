import test from 'ava'
import { ChannelReader, ChannelWriter, type SendFrame } from '../../lib/protocol/channel.js'
import { exhaust } from '../support/exhaust.js'
import { prng, seedFromEnvironment } from '../support/prng.js'

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
    this.writer = new ChannelWriter({ bytesMax, ackTimeoutMs: 1_000, stallTimeoutMs: 30_000 })
    this.reader = new ChannelReader({ windowBytes: bytesMax, stallTimeoutMs: 30_000 })
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

test('exhaustive: whatever a log does to 3 frames, the reader sees each once and in order', t => {
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
