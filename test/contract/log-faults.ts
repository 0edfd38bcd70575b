/**
 * What becomes of an event log when something happens to its server, whatever it is made of.
 *
 * Two things that real servers do are not part of it, because nothing in the product can see them:
 *   - the window of duplicates: no publish carries `Nats-Msg-Id`, since ids are forgotten by the
 *     server sooner than by a writer, and expected sequences do more;
 *   - deliveries that come again: readers count deliveries and keep the first of each (NV1), and
 *     acknowledge none, so that `ReadRequest.onMessage` may promise that none comes twice.
 */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../../lib/errors.js'
import type { EventLog, PublishOutcome, StreamFacts } from '../../lib/ports/event-log.js'
import { bytes, numbers, observe, publish, publishNumbers, right, text } from './event-log.js'
import type { LogServer, OpenLogServer } from './log-server.js'

type Fact = (title: string, run: (t: ExecutionContext, server: LogServer) => Promise<void>) => void

/** Registers the contract for one kind of server. */
export const logFaultContract = (name: string, open: OpenLogServer): void => {
  const fact: Fact = (title, run) =>
    test.serial(`${name}: ${title}`, async t => run(t, await open(t)))
  restarts(fact)
  readersOverRestarts(fact)
  outages(fact)
  space(fact)
  lostTails(fact)
}

const kind = (outcome: PublishOutcome): string =>
  outcome.type === 'failed' ? outcome.error.type : outcome.type

/** Whether the outcome of a request is not known. */
const isUnknown = (what: string): boolean => what === 'timed-out' || what === 'unavailable'

const failure = async (task: TaskEither<StreamError, unknown>): Promise<string> => {
  const outcome = await task()
  return E.isLeft(outcome) ? outcome.left.type : 'done'
}

const streams = async (log: EventLog): Promise<readonly StreamFacts[]> => [
  await right(log.create({ name: 'F', subjects: ['f.>'], storage: 'file' })),
  await right(log.create({ name: 'M', subjects: ['m.>'], storage: 'memory' })),
]

const texts = async (t: ExecutionContext, log: EventLog, stream = 'F'): Promise<string[]> => {
  const { messages } = await right(log.facts(stream))
  const seen = observe(t, log, { stream })
  await seen.untilCount(messages)
  seen.reader.close()
  return seen.texts()
}

const restarts = (fact: Fact): void => {
  fact('a restart leaves streams in files whole, and none in memory', async (t, server) => {
    const { log } = server
    const [, memory] = await streams(log)
    await publish(log, 'f.b', 'other')
    await publishNumbers(log, 'f.a', 500)
    await publishNumbers(log, 'm.a', 10)
    await right(log.purge('F', 3))
    const before = await right(log.facts('F'))
    await server.restart()
    t.deepEqual(await right(log.facts('F')), before)
    t.deepEqual(await texts(t, log), numbers(1, 499).map(String))
    t.is(text((await right(log.at('F', 3)))?.payload ?? bytes('')), '1')
    t.is((await right(log.last('F', 'f.a')))?.sequence, 501)
    t.is(await right(log.last('F', 'f.b')), undefined)
    t.is(await failure(log.facts('M')), 'missing')
    t.is(await failure(log.last('M', 'm.a')), 'missing')
    t.deepEqual(await right(log.list('')), ['F'])
    t.is(kind(await publish(log, 'm.a')), 'missing')
    const again = await right(log.create({ name: 'M', subjects: ['m.>'], storage: 'memory' }))
    t.not(again.createdAt, memory?.createdAt)
    t.deepEqual(await publish(log, 'm.a'), { type: 'stored', sequence: 1 })
  })

  fact('sequences and expectations go on after a restart', async (t, server) => {
    const { log } = server
    await streams(log)
    await publishNumbers(log, 'f.a', 3)
    await server.restart()
    const stale = await publish(log, 'f.a', 'x', { expectedLastSubjectSequence: 2 })
    t.deepEqual(stale, { type: 'wrong-last-sequence', actual: 3 })
    const next = await publish(log, 'f.a', 'x', { expectedLastSubjectSequence: 3 })
    t.deepEqual(next, { type: 'stored', sequence: 4 })
  })

  fact('a stream that was purged empty goes on counting after a restart', async (t, server) => {
    const { log } = server
    await streams(log)
    await publishNumbers(log, 'f.a', 5)
    await right(log.purge('F', 6))
    const before = await right(log.facts('F'))
    await server.restart()
    t.deepEqual(await right(log.facts('F')), before)
    const next = await publish(log, 'f.a', 'x', { expectedLastSubjectSequence: 0 })
    t.deepEqual(next, { type: 'stored', sequence: 6 })
  })

  fact('of what is under way when the server dies a prefix is stored', async (t, server) => {
    const { log } = server
    await streams(log)
    const order: number[] = []
    const under = numbers(0, 2_999).map(n =>
      publish(log, 'f.a', `${n}`).then(outcome => {
        order.push(n)
        return outcome
      }),
    )
    await under[0]
    await server.restart()
    const outcomes = await Promise.all(under)
    t.true(outcomes.every(outcome => outcome.type === 'stored' || isUnknown(kind(outcome))))
    // Each once, in order of publishing.
    t.deepEqual(order, numbers(0, 2_999))
    const { lastSequence } = await right(log.facts('F'))
    t.deepEqual(await texts(t, log), numbers(0, lastSequence - 1).map(String))
    for (const [n, outcome] of outcomes.entries())
      if (outcome.type === 'stored') t.is(outcome.sequence, n + 1)
    t.true(outcomes.filter(({ type }) => type === 'stored').length <= lastSequence)
    t.deepEqual(await publish(log, 'f.a'), { type: 'stored', sequence: lastSequence + 1 })
  })

  fact('publishes across a restart are stored in order of calls, none twice', async (t, server) => {
    await streams(server.log)
    const outcomes = await publishAcross(server)
    const stored = (await texts(t, server.log)).map(Number)
    t.deepEqual(
      stored,
      [...new Set(stored)].sort((a, b) => a - b),
    )
    const told = outcomes.flatMap(({ type }, n) => (type === 'stored' ? [n] : []))
    t.deepEqual(
      told.filter(n => !stored.includes(n)),
      [],
    )
    t.true(outcomes.every(outcome => outcome.type === 'stored' || isUnknown(kind(outcome))))
    t.log(`${outcomes.length - stored.length} lost, ${stored.length - told.length} stored untold`)
  })
}

/**
 * Publishes with twenty under way, across a restart, until enough is stored after it. Gives the
 * outcomes in order of calls.
 */
const publishAcross = (server: LogServer): Promise<readonly PublishOutcome[]> =>
  new Promise((resolve, reject) => {
    const outcomes: PublishOutcome[] = []
    let [called, told, storedAfter] = [0, 0, 0]
    let isBack = false
    const restart = async (): Promise<void> => {
      await server.restart()
      isBack = true
    }
    const one = (): void => {
      const n = called++
      server.log.publish('f.a', bytes(`${n}`), {}, outcome => {
        outcomes[n] = outcome
        told += 1
        if (isBack && outcome.type === 'stored') storedAfter += 1
        if (told === 300) restart().catch(reject)
        if (storedAfter < 200) one()
        else if (told === called) resolve(outcomes)
      })
    }
    for (let n = 0; n < 20; n += 1) one()
  })

const readersOverRestarts = (fact: Fact): void => {
  fact('readers go on after a restart, no gap and no repeat', async (t, server) => {
    const { log } = server
    await streams(log)
    await publishNumbers(log, 'f.a', 200)
    const seen = observe(t, log, { stream: 'F', messagesMax: 10 })
    const paused = observe(t, log, {
      stream: 'F',
      messagesMax: 10,
      onMessage: ({ sequence }) => {
        if (sequence === 5) paused.reader.pause()
      },
    })
    const late = observe(t, log, { stream: 'F', start: { at: 'sequence', sequence: 201 } })
    await Promise.all([seen.untilCount(200), paused.untilCount(5)])
    await server.restart()
    await publishNumbers(log, 'f.a', 10)
    await Promise.all([seen.untilCount(210), late.untilCount(10)])
    t.true(paused.messages.length <= 15)
    paused.reader.resume()
    await paused.untilCount(210)
    for (const { sequences } of [seen, paused]) t.deepEqual(sequences(), numbers(1, 210))
    t.deepEqual(late.sequences(), numbers(201, 210))
  })

  fact('a reader of a stream in memory is told that it is missing', async (t, server) => {
    const { log } = server
    await streams(log)
    await publish(log, 'm.a')
    const seen = observe(t, log, { stream: 'M' })
    await seen.untilCount(1)
    await server.restart()
    await seen.untilFailed()
    t.is(seen.failures[0]?.type, 'missing')
  })

  fact('a consumer that is taken away is replaced, no gap and no repeat', async (t, server) => {
    const { log } = server
    await streams(log)
    await publishNumbers(log, 'f.a', 50)
    const seen = observe(t, log, { stream: 'F', messagesMax: 20 })
    await seen.untilCount(50)
    for (const round of [1, 2, 3]) {
      await server.dropConsumers('F')
      await publishNumbers(log, 'f.a', 50)
      await seen.untilCount(50 + 50 * round)
    }
    t.deepEqual(seen.sequences(), numbers(1, 200))
    t.deepEqual(seen.failures, [])
  })
}

const outages = (fact: Fact): void => {
  fact('nobody knows the outcome of a request during an outage', async (t, server) => {
    const { log } = server
    await streams(log)
    await publish(log, 'f.a', 'before')
    await server.setDown(true)
    const outcomes = await publishNumbers(log, 'f.a', 5)
    t.true(outcomes.every(outcome => isUnknown(kind(outcome))))
    t.true(isUnknown(await failure(log.facts('F'))))
    t.true(isUnknown(await failure(log.at('F', 1))))
    // Not even later is it done.
    t.true(isUnknown(await failure(log.remove('F'))))
    await server.setDown(false)
    await publish(log, 'f.a', 'after')
    t.deepEqual(await texts(t, log), ['before', 'after'])
  })

  fact('a reader gets nothing during an outage, and all of it after', async (t, server) => {
    const { log } = server
    await streams(log)
    await publishNumbers(log, 'f.a', 5)
    const seen = observe(t, log, { stream: 'F' })
    await seen.untilCount(5)
    await server.setDown(true)
    const during = observe(t, log, { stream: 'F' })
    t.true(isUnknown(await failure(log.facts('F'))))
    t.is(during.messages.length, 0)
    await server.setDown(false)
    await publishNumbers(log, 'f.a', 5)
    await Promise.all([seen.untilCount(10), during.untilCount(10)])
    t.deepEqual(seen.sequences(), numbers(1, 10))
    t.deepEqual(during.sequences(), numbers(1, 10))
  })

  fact('subscriptions outlive an outage, messages of it do not', async (t, server) => {
    const { log, bus } = server
    await streams(log)
    const got: string[] = []
    bus.subscribe('job.>', payload => got.push(text(payload)))
    await right(bus.flush())
    bus.send('job.a', bytes('before'))
    await right(bus.flush())
    await server.setDown(true)
    bus.send('job.a', bytes('lost'))
    t.true(isUnknown(await failure(bus.flush())))
    await server.setDown(false)
    await right(bus.flush())
    bus.send('job.a', bytes('after'))
    await right(bus.flush())
    t.deepEqual(got, ['before', 'after'])
  })

  fact('a server that hung does what was asked of it after all', async (t, server) => {
    const { log } = server
    await streams(log)
    await right(log.create({ name: 'G', subjects: ['g'], storage: 'memory' }))
    await server.setHung(true)
    const [published, removed] = await Promise.all([
      publish(log, 'f.a', 'late'),
      failure(log.remove('G')),
    ])
    t.deepEqual([kind(published), removed], ['timed-out', 'timed-out'])
    await server.setHung(false)
    const next = await publish(log, 'f.a', 'next', { expectedLastSubjectSequence: 1 })
    t.deepEqual(next, { type: 'stored', sequence: 2 })
    t.deepEqual(await texts(t, log), ['late', 'next'])
    t.is(await failure(log.facts('G')), 'missing')
  })
}

const space = (fact: Fact): void => {
  fact('a server without space refuses, stores nothing, and goes on', async (t, server) => {
    const { log } = server
    await streams(log)
    await publishNumbers(log, 'f.a', 3)
    const before = await right(log.facts('F'))
    await server.setFull(true)
    for (const subject of ['f.a', 'm.a']) {
      t.deepEqual((await publishNumbers(log, subject, 3)).map(kind), ['full', 'full', 'full'])
    }
    const stale = await publish(log, 'f.a', 'x', { expectedLastSubjectSequence: 1 })
    t.deepEqual(stale, { type: 'wrong-last-sequence', actual: 3 })
    t.is(kind(await publish(log, 'f.a', 'x', { expectedLastSubjectSequence: 3 })), 'full')
    t.deepEqual(await right(log.facts('F')), before)
    t.deepEqual(await texts(t, log), ['0', '1', '2'])
    t.is(await failure(log.create({ name: 'N', subjects: ['n'], storage: 'memory' })), 'done')
    await server.setFull(false)
    const next = await publish(log, 'f.a', 'x', { expectedLastSubjectSequence: 3 })
    t.deepEqual(next, { type: 'stored', sequence: 4 })
    t.deepEqual(await publish(log, 'm.a'), { type: 'stored', sequence: 1 })
  })
}

const lostTails = (fact: Fact): void => {
  const loseAbove = new Map([['F', 60]])

  fact('after a lost tail the sequences are used again', async (t, server) => {
    const { log } = server
    const [created] = await streams(log)
    await publish(log, 'f.b', 'b')
    await publishNumbers(log, 'f.a', 79)
    await publishNumbers(log, 'f.b', 20)
    await server.restart({ loseAbove })
    t.deepEqual(await right(log.facts('F')), {
      ...created,
      firstSequence: 1,
      lastSequence: 60,
      messages: 60,
    })
    t.is(await right(log.at('F', 61)), undefined)
    t.is((await right(log.last('F', 'f.b')))?.sequence, 1)
    t.deepEqual(await publish(log, 'f.c', 'again', { expectedLastSubjectSequence: 0 }), {
      type: 'stored',
      sequence: 61,
    })
    t.is(text((await right(log.at('F', 61)))?.payload ?? bytes('')), 'again')
    t.is((await right(log.last('F', 'f.a')))?.sequence, 60)
  })

  fact('a reader is told of a lost tail', async (t, server) => {
    const { log } = server
    await streams(log)
    await publishNumbers(log, 'f.a', 100)
    const seen = observe(t, log, { stream: 'F' })
    await seen.untilCount(100)
    await server.restart({ loseAbove })
    await seen.untilFailed()
    t.is(seen.failures[0]?.type, 'lost')
    t.deepEqual(seen.sequences(), numbers(1, 100))
  })

  fact('a reader that has not come to the lost tail yet goes on', async (t, server) => {
    const { log } = server
    await streams(log)
    await publishNumbers(log, 'f.b', 50)
    const seen = observe(t, log, { stream: 'F', subject: 'f.b' })
    await seen.untilCount(50)
    await publishNumbers(log, 'f.a', 50)
    await server.restart({ loseAbove })
    t.deepEqual(await publish(log, 'f.b'), { type: 'stored', sequence: 61 })
    await seen.untilCount(51)
    t.deepEqual(seen.sequences(), [...numbers(1, 50), 61])
  })

  fact(
    'a tail that others have replaced is noticed by whoever was beyond it',
    async (t, server) => {
      const { log } = server
      await streams(log)
      await publishNumbers(log, 'f.a', 100)
      const seen = observe(t, log, { stream: 'F' })
      const slow = observe(t, log, {
        stream: 'F',
        messagesMax: 2,
        onMessage: ({ sequence }) => {
          if (sequence === 55) slow.reader.pause()
        },
      })
      const late = observe(t, log, { stream: 'F', start: { at: 'sequence', sequence: 101 } })
      await Promise.all([seen.untilCount(100), slow.untilCount(55)])
      // Answered in order: the one that gets nothing has begun, too.
      await right(log.facts('F'))
      await server.restart({
        loseAbove,
        meanwhile: async put => {
          for (const n of numbers(61, 110)) await put('f.a', `new ${n}`)
        },
      })
      await publish(log, 'f.a', 'last')
      await Promise.all([seen.untilFailed(), late.untilFailed()])
      t.is(seen.messages.length, 100)
      t.deepEqual(late.messages, [])
      t.deepEqual(
        [...seen.failures, ...late.failures].map(({ type }) => type),
        ['lost', 'lost'],
      )
      // Whoever had not come so far reads what is there now, and misses nothing.
      slow.reader.resume()
      await slow.untilCount(111)
      t.deepEqual(slow.sequences(), numbers(1, 111))
      t.deepEqual(slow.texts().slice(59, 61), ['59', 'new 61'])
      t.deepEqual(slow.failures, [])
    },
  )
}
