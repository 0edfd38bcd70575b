import test, { type ExecutionContext } from 'ava'
import { PullCredit, type PullRequest, pullTiming } from '../../../lib/adapters/nats/pull.js'

/** Numbers in [0, 1) from a seed (mulberry32). */
const randomOf = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Served = { -readonly [K in keyof PullRequest]: PullRequest[K] }

type FromServer =
  | { readonly type: 'message'; readonly bytes: number }
  | {
      readonly type: 'too-large'
      readonly id: number
      readonly left: { readonly messages: number; readonly bytes: number }
    }

/** What nats-server 2.9 does with open requests: in turn, or oldest first as other versions do. */
class ServerModel {
  readonly open: Served[] = []
  constructor(
    private readonly inTurn: boolean,
    private readonly sizes: readonly number[],
    private at = 0,
  ) {}

  /**
   * What it sends for the next message: refusals of requests that it does not fit, then the
   * message.
   */
  serve(): readonly FromServer[] {
    const sent: FromServer[] = []
    const size = this.sizes[this.at]
    while (size !== undefined && this.open.length > 0) {
      const request = this.open.shift()
      if (request === undefined) break
      if (request.bytes !== undefined && size > request.bytes) {
        const left = { messages: request.messages, bytes: request.bytes }
        sent.push({ type: 'too-large', id: request.id, left })
        continue
      }
      this.at += 1
      request.messages -= 1
      if (request.bytes !== undefined) request.bytes -= size
      // The very last byte, and the last message, end a request in silence.
      const over = request.messages === 0 || request.bytes === 0
      if (!over && this.inTurn) this.open.push(request)
      if (!over && !this.inTurn) this.open.unshift(request)
      sent.push({ type: 'message', bytes: size })
      break
    }
    return sent
  }
}

interface Limits {
  readonly messages: number
  readonly bytes: number
}

/**
 * Runs credit against the model, with delays on both ways, until everything has been delivered.
 * Returns how often it waited for what would never come, which in a reader ends with a new
 * consumer.
 */
const run = (
  t: ExecutionContext,
  seed: number,
  limits: Limits,
  sizeOf: (random: () => number) => number,
): number => {
  const random = randomOf(seed)
  const sizes = Array.from({ length: 400 }, () => sizeOf(random))
  const server = new ServerModel(random() < 0.5, sizes)
  let credit = new PullCredit(limits)
  const toServer: PullRequest[] = []
  const toReader: FromServer[] = []
  let got = 0
  let stalls = 0
  while (got < sizes.length) {
    for (let due = credit.next(); due !== undefined; due = credit.next()) toServer.push(due)
    if (toReader.length + toServer.length + server.open.length === 0) {
      stalls += 1
      credit = new PullCredit(limits)
      continue
    }
    checkLimits(t, seed, limits, [...toServer, ...server.open], toReader)
    const dice = random()
    const sent = dice < 0.3 ? toServer.shift() : undefined
    if (sent !== undefined) server.open.push({ ...sent })
    else if (dice < 0.7) toReader.push(...server.serve())
    else {
      const item = toReader.shift()
      if (item?.type === 'message') {
        got += 1
        credit.take(item.bytes)
      } else if (item !== undefined) credit.ended(item.id, item.left, true)
    }
  }
  return stalls
}

const checkLimits = (
  t: ExecutionContext,
  seed: number,
  limits: Limits,
  asked: readonly PullRequest[],
  toReader: readonly FromServer[],
): void => {
  const alone = asked.some(request => request.bytes === undefined)
  const under = toReader.flatMap(item => (item.type === 'message' ? [item.bytes] : []))
  const messages = asked.reduce((sum, request) => sum + request.messages, under.length)
  const bytes = [...asked.map(request => request.bytes ?? 0), ...under].reduce((a, b) => a + b, 0)
  const large = under.some(size => size > limits.bytes / 2)
  if (messages > limits.messages || (!alone && !large && bytes > limits.bytes)) {
    t.fail(`seed ${seed}: ${messages} messages, ${bytes} bytes may come`)
  }
}

const runs = 100

for (const [title, limits, sizeOf] of [
  ['small messages', { messages: 20, bytes: 1_000_000 }, () => 100],
  [
    'messages that fill requests by bytes',
    { messages: 1_000, bytes: 4_000 },
    (random: () => number) => 200 + Math.floor(random() * 300),
  ],
  ['messages that fill requests exactly', { messages: 1_000, bytes: 4_152 }, () => 83],
  [
    'large messages among small ones',
    { messages: 50, bytes: 2_000 },
    (random: () => number) => (random() < 0.1 ? 5_000 : 10 + Math.floor(random() * 100)),
  ],
  ['one message at a time', { messages: 1, bytes: 1 }, () => 100],
] as const) {
  test(`NR1: credit is never exceeded and never runs dry with ${title}`, t => {
    const first = 1 + Math.floor(Math.random() * 1e6)
    t.log(`seeds from ${first}`)
    for (let seed = first; seed < first + runs; seed++) {
      if (run(t, seed, limits, sizeOf) > 0) t.fail(`seed ${seed}: stalled`)
    }
    t.pass()
  })
}

test('NR5: silent ends of both kinds at once can stall, which a new consumer heals', t => {
  const first = 1 + Math.floor(Math.random() * 1e6)
  // Contrived: limits that bind alike, and sizes that often add up to the limit.
  const sizeOf = (random: () => number): number => 167 * (1 + Math.floor(random() * 2))
  let stalls = 0
  for (let seed = first; seed < first + runs; seed++) {
    stalls += run(t, seed, { messages: 12, bytes: 3_008 }, sizeOf)
  }
  t.log(`seeds from ${first}: ${stalls} stalls in ${runs * 400} messages`)
  t.pass()
})

test('the next request is sent when half of the last is used', t => {
  const credit = new PullCredit({ messages: 40, bytes: 1e6 })
  t.is(credit.next()?.messages, 20)
  t.is(credit.next(), undefined)
  for (let taken = 0; taken < 9; taken++) credit.take(100)
  t.is(credit.next(), undefined)
  credit.take(100)
  t.is(credit.next()?.messages, 20)
})

test('what is left of a request that the server ended is no longer counted', t => {
  const credit = new PullCredit({ messages: 40, bytes: 1_000 })
  const first = credit.next()
  for (let taken = 0; taken < 3; taken++) credit.take(100)
  t.is(credit.next()?.messages, 20, 'half of the bytes are used')
  credit.ended(first?.id ?? 0, { messages: 17, bytes: 199 }, true)
  for (let taken = 0; taken < 9; taken++) credit.take(1)
  t.is(credit.next(), undefined)
  credit.take(1)
  t.is(credit.next()?.messages, 20, 'half of the second request is used')
})

test('NR3: a message that fits no request is asked for alone', t => {
  const credit = new PullCredit({ messages: 40, bytes: 1_000 })
  const first = credit.next()
  t.is(first?.bytes, 499)
  credit.ended(first?.id ?? 0, { messages: 20, bytes: 499 }, true)
  const alone = credit.next()
  t.deepEqual([alone?.messages, alone?.bytes], [1, undefined])
  t.is(credit.next(), undefined)
  credit.take(90_000)
  t.is(credit.next()?.bytes, undefined)
  credit.take(200)
  t.is(credit.next()?.bytes, 499)
})

test('a request whose end is never told is forgotten when its time is over', t => {
  const credit = new PullCredit({ messages: 40, bytes: 1_000 })
  credit.next()
  for (let tick = 1; tick < pullTiming.overTicks; tick++) credit.tick()
  t.is(credit.next(), undefined)
  credit.tick()
  t.false(credit.isOpen)
  t.is(credit.next()?.messages, 20)
})
