import test, { type ExecutionContext } from 'ava'
import * as t from 'io-ts'
import { actor, jetstream, job } from '../../lib/index.js'
import type { SourceEnd, SourceStart } from '../../lib/job/contracts.js'
import type { Job } from '../../lib/job/graph.js'
import { JobWorld } from '../support/memory-job.js'

const Order = t.type({ n: t.number })

interface Reading {
  readonly start?: SourceStart
  readonly end?: SourceEnd
  readonly subject?: string
  readonly onRefused?: 'fail' | 'skip' | 'dead-letter'
}

/** Orders of the stream `ORDERS`, one by one onto `OUT`. */
const copying = (reading: Reading): Job =>
  job('copy')
    .from(jetstream.source({ id: 'orders', stream: 'ORDERS', accepts: Order, ...reading }))
    .to(actor({ name: 'copy', accepts: Order, emits: Order, receive: (ctx, o) => ctx.emit(o) }))
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
    .checkpoint({ intervalMs: 50, timeoutMs: 5_000 })

const worldOf = (reading: Reading): JobWorld => {
  const world = new JobWorld({ job: copying(reading) })
  world.broker.create({ name: 'ORDERS', subjects: ['orders.>'], storage: 'file' })
  return world
}

const put = (world: JobWorld, n: number, subject = 'orders.a'): number =>
  world.broker.put(subject, JSON.stringify({ n }))

const numbersOf = (world: JobWorld): readonly unknown[] =>
  world.published('OUT').map(value => (Order.is(value) ? value.n : value))

/** Runs the job to its end, which must be a good one, and gives what it published. */
const finished = async (t: ExecutionContext, world: JobWorld): Promise<readonly unknown[]> => {
  world.start()
  t.deepEqual(await world.untilEnded(), { status: 'finished', reason: undefined }, `${world.told}`)
  return numbersOf(world)
}

/** Runs the job until so many records are published. */
const untilPublished = (world: JobWorld, count: number): Promise<void> =>
  world.time.run(`${count} records`, () => world.published('OUT').length >= count)

/** Runs until a checkpoint more than before has completed. */
const untilCheckpoint = (world: JobWorld): Promise<void> => {
  const count = (): number => world.notes.filter(n => n.type === 'checkpoint-completed').length
  const before = count()
  return world.time.run('a checkpoint', () => count() > before)
}

test('a bounded source reads what was there when its job started, and no more', async t => {
  const world = worldOf({ end: { at: 'last' } })
  for (const n of [1, 2, 3]) put(world, n)
  world.time.after(600, () => put(world, 4))
  t.deepEqual(await finished(t, world), [1, 2, 3])
})

test('a bounded source of an empty stream ends at once', async t => {
  t.deepEqual(await finished(t, worldOf({ end: { at: 'last' } })), [])
})

test('a bounded source of a stream whose messages were all removed ends at once', async t => {
  const world = worldOf({ end: { at: 'last' } })
  for (const n of [1, 2, 3]) put(world, n)
  world.broker.streams.get('ORDERS')?.purge(4)
  t.deepEqual(await finished(t, world), [])
})

test('a bounded source ends with the last message that its subject lets through', async t => {
  const world = worldOf({ end: { at: 'last' }, subject: 'orders.a' })
  put(world, 1, 'orders.a')
  put(world, 2, 'orders.b')
  put(world, 3, 'orders.a')
  put(world, 4, 'orders.b')
  t.deepEqual(await finished(t, world), [1, 3])
  t.true(world.time.now < 1_000, `${world.time.now}`)
})

test('a bounded source whose subject lets nothing through ends at once', async t => {
  const world = worldOf({ end: { at: 'last' }, subject: 'orders.*.nothing' })
  put(world, 1)
  t.deepEqual(await finished(t, world), [])
})

test('a bounded source whose last message was deleted ends with the one before it', async t => {
  for (const subject of [undefined, 'orders.a', 'orders.>', 'orders.*']) {
    const world = worldOf({ end: { at: 'last' }, ...(subject === undefined ? {} : { subject }) })
    for (const n of [1, 2, 3]) put(world, n)
    world.broker.streams.get('ORDERS')?.delete(3)
    t.deepEqual(await finished(t, world), [1, 2])
  }
})

test('a server that has forgotten a subject’s last message is not believed', async t => {
  const world = worldOf({ end: { at: 'last' }, subject: 'orders.a' })
  for (const n of [1, 2, 3]) put(world, n)
  put(world, 4, 'orders.b')
  const stream = world.broker.streams.get('ORDERS')
  stream?.delete(3)
  // As nats-server 2.9 does after the deletion of a subject's last message.
  if (stream !== undefined) stream.last = () => undefined
  t.deepEqual(await finished(t, world), [1, 2])
})

test('a source that ends at a sequence on another subject ends when that is reached', async t => {
  const world = worldOf({ end: { at: 'sequence', sequence: 3 }, subject: 'orders.a' })
  put(world, 1)
  world.start()
  await world.time.pass(5_000)
  t.is(world.outcome, undefined)
  put(world, 2)
  await world.time.pass(5_000)
  t.is(world.outcome, undefined)
  put(world, 3, 'orders.b')
  t.deepEqual(await world.untilEnded(), { status: 'finished', reason: undefined })
  t.deepEqual(numbersOf(world), [1, 2])
})

test('a source whose last messages are removed while its job runs still ends', async t => {
  const world = worldOf({ end: { at: 'sequence', sequence: 4 } })
  for (const n of [1, 2]) put(world, n)
  world.start()
  await untilPublished(world, 2)
  put(world, 3, 'orders.b')
  put(world, 4, 'orders.b')
  for (const sequence of [3, 4]) world.broker.streams.get('ORDERS')?.delete(sequence)
  t.is((await world.untilEnded()).status, 'finished')
})

test('start and end are fixed when the job first starts, not when it restarts', async t => {
  const world = worldOf({ end: { at: 'last' } })
  for (let n = 1; n <= 40; n += 1) put(world, n)
  world.start()
  await untilCheckpoint(world)
  world.kill('orders/0')
  for (let n = 41; n <= 50; n += 1) put(world, n)
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(
    numbersOf(world),
    Array.from({ length: 40 }, (_, i) => i + 1),
  )
})

for (const [start, expected] of [
  [{ at: 'first' }, [3, 4, 5]],
  [{ at: 'last' }, [5]],
  [{ at: 'new' }, []],
  [{ at: 'sequence', sequence: 4 }, [4, 5]],
  [{ at: 'sequence', sequence: 1 }, [3, 4, 5]],
] as const) {
  test(`a source starts at ${JSON.stringify(start)}, also when its job restarts at once`, async t => {
    for (const crash of [false, true]) {
      const world = worldOf({ start })
      for (const n of [1, 2, 3, 4, 5]) put(world, n)
      world.broker.streams.get('ORDERS')?.purge(3)
      world.start()
      await untilCheckpoint(world)
      if (crash) world.kill('orders/0')
      put(world, 6)
      await untilPublished(world, expected.length + 1)
      t.deepEqual(numbersOf(world), [...expected, 6])
    }
  })
}

test('a source that starts at the last message of its subject starts there', async t => {
  const world = worldOf({ start: { at: 'last' }, end: { at: 'last' }, subject: 'orders.a' })
  for (const n of [1, 2]) put(world, n)
  put(world, 3, 'orders.b')
  t.deepEqual(await finished(t, world), [2])
})

test('a source starts at a time', async t => {
  const world = worldOf({ start: { at: 'time', time: '2026-01-01T00:00:01Z' } })
  put(world, 1)
  await world.time.pass(2_000)
  put(world, 2)
  world.start()
  await untilPublished(world, 1)
  t.deepEqual(numbersOf(world), [2])
})

test('a refused message becomes one dead letter, with bytes, reason and offset', async t => {
  const world = worldOf({ end: { at: 'last' } })
  put(world, 1)
  world.broker.put('orders.b', new Uint8Array([0xff, 0x00, 0x7b]))
  world.broker.put('orders.a', '{"n":"two"}')
  put(world, 3)
  t.deepEqual(await finished(t, world), [1, 3])
  const letters = world.published('SLUICE_copy_DEAD')
  t.is(letters.length, 2)
  t.like(letters[0], {
    operator: 'orders',
    stream: 'ORDERS',
    offset: 2,
    subject: 'orders.b',
    raw: Buffer.from([0xff, 0x00, 0x7b]).toString('base64'),
  })
  t.regex(JSON.stringify(letters[0]), /"reason":"not JSON: /)
  t.like(letters[1], { offset: 3, raw: Buffer.from('{"n":"two"}').toString('base64') })
  t.regex(JSON.stringify(letters[1]), /n: number/)
})

test('a refused message is one dead letter, wherever its job is killed', async t => {
  let crashes = 0
  for (let at = 5; ; at += 3) {
    const world = worldOf({ end: { at: 'last' } })
    for (let n = 1; n <= 6; n += 1) {
      put(world, n)
      world.broker.put('orders.bad', `bad ${n}`)
    }
    let requests = 0
    world.hooks.onServed = process => {
      if (!process.name.startsWith('orders/0')) return
      requests += 1
      if (requests === at) world.kill('orders/0')
    }
    t.deepEqual(await finished(t, world), [1, 2, 3, 4, 5, 6])
    const raw = world
      .published('SLUICE_copy_DEAD')
      .map(letter => Buffer.from(String(Letter.is(letter) && letter.raw), 'base64').toString())
    t.deepEqual(
      raw,
      [1, 2, 3, 4, 5, 6].map(n => `bad ${n}`),
    )
    if (requests < at) break
    crashes += 1
  }
  t.log(`${crashes} crashes`)
  t.true(crashes > 8)
})

const Letter = t.type({ raw: t.string })

test('onRefused: skip leaves no letter', async t => {
  const world = worldOf({ end: { at: 'last' }, onRefused: 'skip' })
  world.broker.put('orders.a', 'bad')
  put(world, 1)
  t.deepEqual(await finished(t, world), [1])
  t.false(world.broker.streams.has('SLUICE_copy_DEAD'))
})

test('onRefused: fail names the message and what to do', async t => {
  const world = worldOf({ end: { at: 'last' }, onRefused: 'fail' })
  world.broker.put('orders.a', 'bad')
  world.start()
  await world.time.run('a failure', () => world.told.some(line => line.includes('failed')))
  const told = world.told.join('\n')
  t.regex(told, /source 'orders' refuses message 1 of stream 'ORDERS': not JSON/)
})

/** Runs a job that has read five messages, stops it, does something to the stream, and goes on. */
const resumed = async (t: ExecutionContext, harm: (world: JobWorld) => void): Promise<string> => {
  const world = worldOf({})
  for (const n of [1, 2, 3, 4, 5]) put(world, n)
  world.start()
  await untilPublished(world, 5)
  await untilCheckpoint(world)
  harm(world)
  world.kill('orders/0')
  const outcome = await world.untilEnded()
  t.is(outcome.status, 'failed', world.told.join('\n'))
  t.is(world.told.filter(line => line.includes('restarting in')).length, 1)
  return outcome.reason ?? ''
}

const recreate = (world: JobWorld): void => {
  world.broker.remove('ORDERS')
  world.broker.create({ name: 'ORDERS', subjects: ['orders.>'], storage: 'file' })
}

test('R2: a stream that was made again ends the job for good', async t => {
  const reason = await resumed(t, world => {
    recreate(world)
    for (let n = 1; n <= 9; n += 1) put(world, n)
  })
  t.regex(reason, /stream 'ORDERS' was created at .*: it was made again.*--fresh/)
})

test('R1: a stream that has lost its tail ends the job for good', async t => {
  const reason = await resumed(t, world => world.broker.streams.get('ORDERS')?.loseTail(3))
  t.regex(reason, /stream 'ORDERS' ends at 3, below the checkpoint's offset 5/)
})

test('R2: a stream that has reused its sequence numbers ends the job for good', async t => {
  const reason = await resumed(t, world => {
    world.broker.streams.get('ORDERS')?.loseTail(3)
    for (const n of [40, 50, 60]) put(world, n)
  })
  t.regex(reason, /stream 'ORDERS' holds another message at 5 than the one that was processed/)
})

test('R1: messages removed before they were read end the job for good', async t => {
  const reason = await resumed(t, world => {
    for (const n of [6, 7, 8]) put(world, n)
    world.broker.streams.get('ORDERS')?.purge(8)
  })
  t.regex(reason, /stream 'ORDERS' begins at 8, but the checkpoint goes on at 6/)
})

test('a stream that is gone ends the job for good, and is named', async t => {
  const reason = await resumed(t, world => world.broker.remove('ORDERS'))
  t.regex(reason, /source 'orders' reads stream 'ORDERS', which does not exist/)
})

test('messages removed after they were read are not missed', async t => {
  const world = worldOf({})
  for (const n of [1, 2, 3]) put(world, n)
  world.start()
  await untilPublished(world, 3)
  await untilCheckpoint(world)
  world.broker.streams.get('ORDERS')?.purge(4)
  world.kill('orders/0')
  put(world, 4)
  await untilPublished(world, 4)
  t.deepEqual(numbersOf(world), [1, 2, 3, 4])
})
