/**
 * What every event log must do, whatever it is made of. A file per log calls `eventLogContract`.
 */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../../lib/errors.js'
import { InvariantViolation } from '../../lib/invariant.js'
import type {
  EventLog,
  LogMessage,
  PublishOptions,
  PublishOutcome,
  ReadRequest,
} from '../../lib/ports/event-log.js'

/** An event log of its own for one test, empty, taken away by the test's teardown. */
export type EventLogFactory = (t: ExecutionContext) => Promise<EventLog>

/** The value of a task that must not fail. */
export const right = async <A>(task: TaskEither<StreamError, A>): Promise<A> => {
  const result = await task()
  if (E.isLeft(result)) throw new Error(`${result.left.type}: ${result.left.message}`)
  return result.right
}

/** The error of a task that must fail. */
export const left = async <A>(task: TaskEither<StreamError, A>): Promise<StreamError> => {
  const result = await task()
  if (E.isRight(result)) throw new Error('the task did not fail')
  return result.left
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (payload: Uint8Array): string => new TextDecoder().decode(payload)

export const publish = (
  log: EventLog,
  subject: string,
  payload: Uint8Array | string = 'x',
  options: PublishOptions = {},
): Promise<PublishOutcome> =>
  new Promise(resolve =>
    log.publish(subject, typeof payload === 'string' ? bytes(payload) : payload, options, resolve),
  )

/** Publishes `0`, `1`, … in one go. */
export const publishNumbers = (
  log: EventLog,
  subject: string,
  count: number,
): Promise<readonly PublishOutcome[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => publish(log, subject, `${index}`)))

/** A reader under observation. */
export const observe = (
  t: ExecutionContext,
  log: EventLog,
  request: Partial<ReadRequest> & { readonly stream: string },
) => {
  const messages: LogMessage[] = []
  const failures: StreamError[] = []
  let waiting: Array<() => void> = []
  const changed = (): void => {
    for (const check of waiting) check()
  }
  const reader = log.read({
    start: { at: 'first' },
    messagesMax: 100,
    bytesMax: 1_000_000,
    ...request,
    onMessage: message => {
      // Payloads may be views of a buffer that lives only as long as somebody needs it.
      messages.push(message)
      request.onMessage?.(message)
      changed()
    },
    onFailed: error => {
      failures.push(error)
      changed()
    },
  })
  t.teardown(() => reader.close())
  /** Resolves when the condition holds. */
  const until = (holds: () => boolean): Promise<void> =>
    new Promise(resolve => {
      const check = (): void => {
        if (!holds()) return
        waiting = waiting.filter(other => other !== check)
        resolve()
      }
      waiting.push(check)
      check()
    })
  return {
    reader,
    messages,
    failures,
    until,
    untilCount: (count: number) => until(() => messages.length >= count),
    untilFailed: () => until(() => failures.length > 0),
    texts: () => messages.map(message => text(message.payload)),
    sequences: () => messages.map(message => message.sequence),
  }
}

export const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)

const outcomeTypes = (outcomes: readonly PublishOutcome[]): Set<string> =>
  new Set(outcomes.map(outcome => outcome.type))

/** Registers the contract for one kind of event log. */
export const eventLogContract = (name: string, make: EventLogFactory): void => {
  const fact = (title: string, run: (t: ExecutionContext, log: EventLog) => Promise<void>): void =>
    test.serial(`${name}: ${title}`, async t => run(t, await make(t)))
  publishing(fact)
  limits(fact)
  reading(fact)
  startingPoints(fact)
  flowControl(fact)
  failing(fact)
  managing(fact)
  guarding(fact)
}

type Fact = (title: string, run: (t: ExecutionContext, log: EventLog) => Promise<void>) => void

const stream = (log: EventLog, streamName = 'S', more: object = {}) =>
  right(
    log.create({
      name: streamName,
      subjects: [`${streamName.toLowerCase()}.>`],
      storage: 'memory',
      ...more,
    }),
  )

const publishing = (fact: Fact): void => {
  fact('publishes are stored in order of calls', async (t, log) => {
    await stream(log)
    const outcomes = await publishNumbers(log, 's.a', 2_000)
    t.deepEqual(
      outcomes,
      numbers(1, 2_000).map(sequence => ({ type: 'stored', sequence })),
    )
  })

  fact('an outcome never comes inside the call that publishes', async (t, log) => {
    await stream(log)
    let inside = true
    const outcome = new Promise<boolean>(resolve => {
      log.publish('s.a', bytes('x'), {}, () => resolve(inside))
      inside = false
    })
    t.false(await outcome)
  })

  fact('headers come back, and control characters in them do no harm', async (t, log) => {
    await stream(log)
    const headers = Object.fromEntries([
      ['Sluice-Job', 'flights'],
      ['Trick', 'a\r\nForged: yes'],
      ['__proto__', 'data'],
    ])
    await publish(log, 's.a', 'x', { headers })
    const message = await right(log.at('S', 1))
    t.deepEqual(Object.entries(message?.headers ?? {}), [
      ['Sluice-Job', 'flights'],
      ['Trick', 'a Forged: yes'],
      ['__proto__', 'data'],
    ])
  })

  fact('a subject that no stream takes is missing', async (t, log) => {
    const outcome = await publish(log, 'nobody.home')
    t.is(outcome.type === 'failed' ? outcome.error.type : outcome.type, 'missing')
  })

  fact('a stale writer is told the actual last sequence', async (t, log) => {
    await stream(log)
    t.is((await publish(log, 's.a', '1', { expectedLastSubjectSequence: 0 })).type, 'stored')
    await publish(log, 's.b', 'another subject')
    t.is((await publish(log, 's.a', '2', { expectedLastSubjectSequence: 1 })).type, 'stored')
    t.deepEqual(await publish(log, 's.a', 'stale', { expectedLastSubjectSequence: 1 }), {
      type: 'wrong-last-sequence',
      actual: 3,
    })
  })

  fact(
    'a writer that expects sequences in advance can be let in behind another',
    async (t, log) => {
      await stream(log)
      await publish(log, 's.a', 'new owner')
      // A zombie pipelines: its first message is refused, its second expects what the new owner
      // stored. So an expectation fences a writer only while at most one of its messages is
      // unanswered, or while it cannot tell in advance which sequence its predecessor will get.
      const outcomes = await Promise.all(
        [0, 1, 2].map(expected =>
          publish(log, 's.a', 'zombie', { expectedLastSubjectSequence: expected }),
        ),
      )
      t.deepEqual(outcomes, [
        { type: 'wrong-last-sequence', actual: 1 },
        { type: 'stored', sequence: 2 },
        { type: 'stored', sequence: 3 },
      ])
    },
  )

  fact('after one refusal every later expectation of a chain is refused', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 200)
    const chain = await Promise.all(
      numbers(0, 99).map(expected =>
        publish(log, 's.a', 'zombie', { expectedLastSubjectSequence: expected }),
      ),
    )
    t.deepEqual(outcomeTypes(chain), new Set(['wrong-last-sequence']))
    t.is((await right(log.facts('S'))).lastSequence, 200)
  })
}

const limits = (fact: Fact): void => {
  fact('a full stream refuses, and takes again after a purge', async (t, log) => {
    await stream(log, 'S', { bytesMax: 20_000 })
    const outcomes = await Promise.all(
      numbers(1, 40).map(() => publish(log, 's.a', new Uint8Array(1_000))),
    )
    const refused = outcomes.filter(outcome => outcome.type === 'failed')
    const stored = outcomes.length - refused.length
    t.true(stored >= 10 && stored <= 20, `${stored} stored`)
    t.deepEqual(new Set(refused.map(outcome => outcome.error.type)), new Set(['full']))
    const facts = await right(log.facts('S'))
    t.is(facts.messages, stored)
    t.is(facts.firstSequence, 1)
    await right(log.purge('S', stored + 1))
    t.is((await publish(log, 's.a', new Uint8Array(1_000))).type, 'stored')
  })

  fact('a stream may keep only the newest messages of each subject', async (t, log) => {
    await stream(log, 'S', { messagesPerSubjectMax: 2 })
    t.deepEqual(outcomeTypes(await publishNumbers(log, 's.a', 5)), new Set(['stored']))
    await publish(log, 's.b', 'other')
    const seen = observe(t, log, { stream: 'S' })
    await seen.untilCount(3)
    t.deepEqual(seen.texts(), ['3', '4', 'other'])
  })

  fact('a payload beyond the limit is refused, and the log goes on', async (t, log) => {
    await stream(log)
    const before = publish(log, 's.a', 'before')
    const outcome = await publish(log, 's.a', new Uint8Array(log.payloadBytesMax + 1))
    t.is(outcome.type === 'failed' ? outcome.error.type : outcome.type, 'invalid')
    t.deepEqual(await before, { type: 'stored', sequence: 1 })
    t.deepEqual(await publish(log, 's.a', 'after'), { type: 'stored', sequence: 2 })
    const largest = await publish(log, 's.a', new Uint8Array(log.payloadBytesMax))
    t.deepEqual(largest, { type: 'stored', sequence: 3 })
  })
}

const reading = (fact: Fact): void => {
  fact('a reader gets what is there, then what comes', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 500)
    const seen = observe(t, log, { stream: 'S' })
    await seen.untilCount(500)
    await publishNumbers(log, 's.a', 500)
    await seen.untilCount(1_000)
    t.deepEqual(seen.sequences(), numbers(1, 1_000))
    t.deepEqual(seen.texts().slice(498, 502), ['498', '499', '0', '1'])
    t.is(seen.messages[0]?.subject, 's.a')
    t.is(seen.messages[0]?.headers, undefined)
  })

  fact('a reader of one subject gets that subject only', async (t, log) => {
    await stream(log)
    await publish(log, 's.b', 'b1')
    await publish(log, 's.a', 'a1')
    await publish(log, 's.b', 'b2')
    const seen = observe(t, log, { stream: 'S', subject: 's.b' })
    await seen.untilCount(2)
    t.deepEqual(seen.texts(), ['b1', 'b2'])
    t.deepEqual(seen.sequences(), [1, 3])
  })

  fact('a reader may ask for headers only', async (t, log) => {
    await stream(log)
    await publish(log, 's.a', 'payload', { headers: { Key: 'value' } })
    const seen = observe(t, log, { stream: 'S', headersOnly: true })
    await seen.untilCount(1)
    t.is(seen.messages[0]?.payload.length, 0)
    t.is(seen.messages[0]?.headers?.Key, 'value')
  })

  fact('large messages among small ones arrive in order', async (t, log) => {
    await stream(log)
    const sizes = numbers(1, 120).map(n => (n % 7 === 0 ? 200_000 + n : n % 11 === 0 ? 40_000 : n))
    await Promise.all(sizes.map(size => publish(log, 's.a', new Uint8Array(size))))
    const seen = observe(t, log, { stream: 'S', bytesMax: 64_000 })
    await seen.untilCount(sizes.length)
    t.deepEqual(
      seen.messages.map(message => message.payload.length),
      sizes,
    )
  })

  fact('a closed reader gets nothing more, not even what is under way', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 300)
    const seen = observe(t, log, {
      stream: 'S',
      onMessage: message => {
        if (message.sequence === 10) seen.reader.close()
      },
    })
    await seen.untilCount(10)
    const other = observe(t, log, { stream: 'S' })
    await other.untilCount(300)
    t.is(seen.messages.length, 10)
    t.deepEqual(seen.failures, [])
  })
}

const startingPoints = (fact: Fact): void => {
  fact('reading starts at a sequence', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 100)
    const seen = observe(t, log, { stream: 'S', start: { at: 'sequence', sequence: 41 } })
    await seen.untilCount(60)
    t.deepEqual(seen.sequences(), numbers(41, 100))
  })

  fact('reading below the first sequence starts with what exists', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 100)
    await right(log.purge('S', 51))
    const seen = observe(t, log, { stream: 'S', start: { at: 'sequence', sequence: 2 } })
    await seen.untilCount(50)
    t.deepEqual(seen.sequences(), numbers(51, 100))
  })

  fact('reading beyond the last sequence starts with the next message', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 10)
    const seen = observe(t, log, { stream: 'S', start: { at: 'sequence', sequence: 14 } })
    // Until the server has begun, messages are below the start that was asked for.
    while (seen.messages.length < 3) await publish(log, 's.a', 'more')
    const first = seen.sequences()[0] ?? 0
    t.true(first > 10 && first <= 14, `${first}`)
    t.deepEqual(seen.sequences(), numbers(first, first + seen.messages.length - 1))
  })

  fact('reading new messages skips the old ones', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 10)
    const seen = observe(t, log, { stream: 'S', start: { at: 'new' } })
    // When reading begins is not told; what counts is that only a suffix arrives, whole and in
    // order.
    while (seen.messages.length < 3) await publish(log, 's.a', 'new')
    const first = seen.sequences()[0] ?? 0
    t.true(first > 10)
    t.deepEqual(seen.sequences(), numbers(first, first + seen.messages.length - 1))
  })

  fact('reading starts at a time', async (t, log) => {
    const { createdAt } = await stream(log)
    await publishNumbers(log, 's.a', 10)
    const early = observe(t, log, { stream: 'S', start: { at: 'time', time: createdAt } })
    await early.untilCount(10)
    t.deepEqual(early.sequences(), numbers(1, 10))
    const future = new Date(Date.parse(createdAt) + 3_600_000).toISOString()
    const late = observe(t, log, { stream: 'S', start: { at: 'time', time: future } })
    const control = observe(t, log, { stream: 'S' })
    await control.untilCount(10)
    t.deepEqual(late.messages, [])
  })
}

const flowControl = (fact: Fact): void => {
  fact('a paused reader gets no more than it asked for, and all of it later', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 1_000)
    const seen = observe(t, log, {
      stream: 'S',
      messagesMax: 50,
      onMessage: message => {
        if (message.sequence === 1) seen.reader.pause()
      },
    })
    await seen.untilCount(1)
    await observe(t, log, { stream: 'S' }).untilCount(1_000)
    t.true(seen.messages.length <= 50, `${seen.messages.length} messages while paused`)
    seen.reader.resume()
    await seen.untilCount(1_000)
    t.deepEqual(seen.sequences(), numbers(1, 1_000))
  })

  fact('a paused reader gets no more bytes than it asked for', async (t, log) => {
    await stream(log)
    await Promise.all(numbers(1, 200).map(() => publish(log, 's.a', new Uint8Array(10_000))))
    const seen = observe(t, log, {
      stream: 'S',
      messagesMax: 10_000,
      bytesMax: 100_000,
      onMessage: message => {
        if (message.sequence === 1) seen.reader.pause()
      },
    })
    await seen.untilCount(1)
    await observe(t, log, { stream: 'S' }).untilCount(200)
    t.true(seen.messages.length <= 10, `${seen.messages.length} messages while paused`)
    seen.reader.resume()
    await seen.untilCount(200)
    t.deepEqual(seen.sequences(), numbers(1, 200))
  })

  fact('a reader that asks for one message at a time gets them all', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 100)
    const seen = observe(t, log, { stream: 'S', messagesMax: 1, bytesMax: 1 })
    await seen.untilCount(100)
    t.deepEqual(seen.sequences(), numbers(1, 100))
  })
}

const failing = (fact: Fact): void => {
  fact('reading a stream that does not exist is missing', async (t, log) => {
    const seen = observe(t, log, { stream: 'NONE' })
    await seen.untilFailed()
    t.deepEqual(
      seen.failures.map(error => error.type),
      ['missing'],
    )
  })

  fact('a reader learns that its stream was removed', async (t, log) => {
    await stream(log)
    await publish(log, 's.a')
    const seen = observe(t, log, { stream: 'S' })
    await seen.untilCount(1)
    await right(log.remove('S'))
    await seen.untilFailed()
    t.deepEqual(
      seen.failures.map(error => error.type),
      ['missing'],
    )
  })

  fact('a reader notices a stream that was removed and created again', async (t, log) => {
    await stream(log)
    await publish(log, 's.a', 'old')
    const seen = observe(t, log, { stream: 'S' })
    await seen.untilCount(1)
    await Promise.all([right(log.remove('S')), stream(log)])
    await publish(log, 's.a', 'new')
    await publish(log, 's.a', 'newer')
    await seen.untilFailed()
    t.deepEqual(
      seen.failures.map(error => error.type),
      ['lost'],
    )
    t.deepEqual(seen.texts(), ['old'])
  })
}

const managing = (fact: Fact): void => {
  fact('the facts of a stream', async (t, log) => {
    const created = await stream(log, 'S', { duplicateWindowMs: 500 })
    await publishNumbers(log, 's.a', 3)
    await right(log.purge('S', 2))
    const facts = await right(log.facts('S'))
    t.deepEqual(facts, { ...created, firstSequence: 2, lastSequence: 3, messages: 2 })
    t.deepEqual(facts.subjects, ['s.>'])
    t.is(facts.retention, 'limits')
    t.is(facts.storage, 'memory')
    t.is(facts.duplicateWindowMs, 500)
    t.false(Number.isNaN(Date.parse(facts.createdAt)))
    t.is((await left(log.facts('NONE'))).type, 'missing')
  })

  fact('creating a stream again leaves it as it is', async (t, log) => {
    const first = await stream(log, 'S', { bytesMax: 100_000 })
    await publish(log, 's.a')
    const again = await stream(log, 'S', { bytesMax: 200_000 })
    t.deepEqual(again, { ...first, firstSequence: 1, lastSequence: 1, messages: 1 })
  })

  fact('creating a stream whose name or subjects are taken is a conflict', async (t, log) => {
    await stream(log)
    const memory = { storage: 'memory' } as const
    const conflicts = [
      log.create({ name: 'S', subjects: ['other'], ...memory }),
      log.create({ name: 'S', subjects: ['s.>'], storage: 'file' }),
      log.create({ name: 'T', subjects: ['s.a'], ...memory }),
    ]
    for (const conflict of conflicts) t.is((await left(conflict)).type, 'conflict')
  })

  fact('a removed stream is gone, and removing it again is no failure', async (t, log) => {
    await stream(log)
    await right(log.remove('S'))
    await right(log.remove('S'))
    t.is((await left(log.facts('S'))).type, 'missing')
  })

  fact('streams are listed by prefix', async (t, log) => {
    for (const streamName of ['JOB_A', 'JOB_B', 'OTHER']) await stream(log, streamName)
    t.deepEqual([...(await right(log.list('JOB_')))].sort(), ['JOB_A', 'JOB_B'])
    t.deepEqual(await right(log.list('NONE')), [])
  })

  fact('the stream of a subject', async (t, log) => {
    await stream(log)
    t.is(await right(log.streamOf('s.a.b')), 'S')
    t.is(await right(log.streamOf('elsewhere')), undefined)
  })

  fact('single messages by sequence and by subject', async (t, log) => {
    await stream(log)
    await publish(log, 's.a', 'a1', { headers: { Key: 'value' } })
    await publish(log, 's.b', 'b1')
    await publish(log, 's.a', 'a2')
    const last = await right(log.last('S', 's.b'))
    t.deepEqual([last?.sequence, last?.subject, text(last?.payload ?? bytes(''))], [2, 's.b', 'b1'])
    t.is((await right(log.last('S', 's.a')))?.sequence, 3)
    t.deepEqual((await right(log.at('S', 1)))?.headers, { Key: 'value' })
    t.is((await right(log.at('S', 2)))?.headers, undefined)
    t.is(await right(log.last('S', 's.none')), undefined)
    t.is(await right(log.at('S', 0)), undefined)
    t.is(await right(log.at('S', 4)), undefined)
    t.is((await left(log.at('NONE', 1))).type, 'missing')
    t.is((await left(log.last('NONE', 's.a'))).type, 'missing')
  })

  fact('a purge removes what is below a sequence and never moves the end', async (t, log) => {
    await stream(log)
    await publishNumbers(log, 's.a', 10)
    const ends = async (): Promise<readonly number[]> => {
      const facts = await right(log.facts('S'))
      return [facts.firstSequence, facts.lastSequence, facts.messages]
    }
    await right(log.purge('S', 0))
    t.deepEqual(await ends(), [1, 10, 10])
    await right(log.purge('S', 4))
    t.deepEqual(await ends(), [4, 10, 7])
    await right(log.purge('S', 1_000))
    t.deepEqual(await ends(), [11, 10, 0])
    t.deepEqual(await publish(log, 's.a'), { type: 'stored', sequence: 11 })
    t.is((await left(log.purge('NONE', 5))).type, 'missing')
  })
}

const guarding = (fact: Fact): void => {
  fact('a subject that could forge a protocol message is a defect', async (t, log) => {
    await stream(log)
    const forged = ['s.a\r\nPUB s.forged 1\r\nx', 's.a s.b', 's.*', 's.>', 's..a', '', '.a', 'a.']
    for (const subject of [...forged, 's.\ta', 's.\u0000', 's.\u2028a', `s.${'a'.repeat(4_096)}`]) {
      t.throws(() => log.publish(subject, bytes('x'), {}, () => t.fail()), {
        instanceOf: InvariantViolation,
      })
    }
    t.throws(
      () => log.publish('s.a', bytes('x'), { headers: { 'A: b\r\nC': 'x' } }, () => t.fail()),
      { instanceOf: InvariantViolation },
    )
    t.is((await right(log.facts('S'))).messages, 0)
  })

  fact('names of streams and filters that cannot be are invalid', async (t, log) => {
    await stream(log)
    for (const bad of ['a.b', 'a b', 'a*', 'a>', 'a\r\nb', '', 'a/b']) {
      t.is((await left(log.facts(bad))).type, 'invalid')
      t.is((await left(log.remove(bad))).type, 'invalid')
      const seen = observe(t, log, { stream: bad })
      await seen.untilFailed()
      t.is(seen.failures[0]?.type, 'invalid')
    }
    for (const subject of ['a b', 'a\r\nb', 'a.>.b', 'a*', '']) {
      const seen = observe(t, log, { stream: 'S', subject })
      await seen.untilFailed()
      t.is(seen.failures[0]?.type, 'invalid')
      t.is((await left(log.streamOf(subject))).type, 'invalid')
      t.is((await left(log.last('S', subject))).type, 'invalid')
      const config = { name: 'T', subjects: [subject], storage: 'memory' } as const
      t.is((await left(log.create(config))).type, 'invalid')
    }
  })
}
