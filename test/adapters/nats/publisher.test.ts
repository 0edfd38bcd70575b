import test from 'ava'
import { natsEventLog } from '../../../lib/adapters/nats/event-log.js'
import { refusedOutcome } from '../../../lib/adapters/nats/publisher.js'
import type { PublishOutcome } from '../../../lib/ports/event-log.js'
import { bytes, numbers, publish, publishNumbers, right } from '../../contract/event-log.js'
import { goOn, stop } from '../../support/stopped.js'
import { connected } from './fixtures.js'
import { localNats } from './local-server.js'

const kind = (outcome: PublishOutcome): string =>
  outcome.type === 'failed' ? outcome.error.type : outcome.type

test('refusals in acknowledgements', t => {
  const refusals = [
    [{ code: 400, err_code: 10071, description: 'wrong last sequence: 42' }, 'wrong-last-sequence'],
    [{ code: 400, err_code: 10071, description: 'wrong last sequence' }, 'fenced'],
    [{ code: 503, err_code: 10077, description: 'maximum bytes exceeded' }, 'full'],
    [{ code: 503, err_code: 10077, description: 'maximum messages exceeded' }, 'full'],
    [{ code: 503, err_code: 10077, description: 'write: no space left on device' }, 'full'],
    [{ code: 503, err_code: 10077, description: 'the disk is on fire' }, 'unavailable'],
    [{ code: 503, err_code: 10023, description: 'insufficient resources' }, 'full'],
    [{ code: 400, err_code: 10054, description: 'message size exceeds maximum' }, 'invalid'],
    [{ code: 503, err_code: 10008, description: 'temporarily unavailable' }, 'unavailable'],
    [{ code: 403, description: 'something new' }, 'refused'],
  ] as const
  for (const [refusal, expected] of refusals) {
    t.is(kind(refusedOutcome('s.a', refusal)), expected, refusal.description)
  }
  const wrong = refusedOutcome('s.a', refusals[0][0])
  t.deepEqual(wrong, { type: 'wrong-last-sequence', actual: 42 })
})

test('NU3: a server that hangs makes publishes time out in order', async t => {
  const server = await localNats(t)
  const { link } = await connected(t, server.url)
  const log = natsEventLog(link, { ackTimeoutMs: 200 })
  await right(log.create({ name: 'S', subjects: ['s.>'], storage: 'memory' }))
  const { pid } = server
  if (pid === undefined) return t.fail('the server has no process')
  await stop(pid)
  const order: number[] = []
  const outcomes = await Promise.all(
    numbers(1, 500).map(
      number =>
        new Promise<PublishOutcome>(resolve =>
          log.publish('s.a', bytes(`${number}`), {}, outcome => {
            order.push(number)
            resolve(outcome)
          }),
        ),
    ),
  )
  goOn(pid)
  t.deepEqual(new Set(outcomes.map(kind)), new Set(['timed-out']))
  t.deepEqual(order, numbers(1, 500))
  // A late acknowledgement is nobody's: the outcome was told, once.
  t.is(kind(await publish(log, 's.a')), 'stored')
  t.is(order.length, 500)
})

test('NU4: what is in flight when the server dies fails at once, in order', async t => {
  const server = await localNats(t)
  const { link, next } = await connected(t, server.url)
  const log = natsEventLog(link, { ackTimeoutMs: 60_000 })
  await right(log.create({ name: 'S', subjects: ['s.>'], storage: 'memory' }))
  const { pid } = server
  if (pid === undefined) return t.fail('the server has no process')
  await stop(pid)
  const order: number[] = []
  const all = Promise.all(
    numbers(1, 100).map(number =>
      publish(log, 's.a').then(outcome => {
        order.push(number)
        return kind(outcome)
      }),
    ),
  )
  const down = next('disconnected')
  await server.kill()
  t.deepEqual(new Set(await all), new Set(['unavailable']))
  t.deepEqual(order, numbers(1, 100))
  await down
  t.is(kind(await publish(log, 's.a')), 'unavailable')
})

test('a caller that tries again at once does not starve the process while the server is gone', async t => {
  const server = await localNats(t)
  const { link, next } = await connected(t, server.url)
  const log = natsEventLog(link)
  await right(log.create({ name: 'S', subjects: ['s.>'], storage: 'file' }))
  const down = next('disconnected')
  await server.kill()
  await down
  let tries = 0
  const stored = new Promise<number>(resolve => {
    const again = (): void =>
      log.publish('s.a', bytes('x'), {}, outcome => {
        tries += 1
        if (outcome.type === 'stored') resolve(outcome.sequence)
        else again()
      })
    again()
  })
  await server.start()
  t.is(await stored, 1)
  t.true(tries > 1)
})

test('a publish that the server does not permit is refused, not timed out', async t => {
  const server = await localNats(t, { args: ['-c', new URL('denied.conf', source).pathname] })
  const { link } = await connected(t, server.url)
  const log = natsEventLog(link, { ackTimeoutMs: 60_000 })
  await right(log.create({ name: 'S', subjects: ['s.>', 'denied'], storage: 'memory' }))
  const [denied, stored] = await Promise.all([publish(log, 'denied'), publish(log, 's.a')])
  t.deepEqual([kind(denied), kind(stored)], ['refused', 'stored'])
})

/** The folder of this test's source: the compiler does not copy its data. */
const source = new URL('../../../../test/adapters/nats/', import.meta.url)

test('NU2: a window killed in mid-flight is stored as far as it was told, and never more than once', async t => {
  const server = await localNats(t)
  const { link, next } = await connected(t, server.url)
  const log = natsEventLog(link)
  await right(log.create({ name: 'S', subjects: ['s.>'], storage: 'file' }))
  const window = 2_000
  const killAt = 5_000
  const outcomes: PublishOutcome[] = []
  const up = next('reconnected')
  let sent = 0
  let told = 0
  let killed: Promise<void> | undefined
  // The window is kept full until the first failure, so that the kill always finds some in flight.
  await new Promise<void>(resolve => {
    const send = (): void => {
      const number = sent++
      log.publish('s.a', bytes(`${number}`), {}, outcome => {
        outcomes[number] = outcome
        told += 1
        if (told === killAt) killed = server.kill()
        if (outcome.type === 'stored') send()
        else if (told === sent) resolve()
      })
    }
    for (let started = 0; started < window; started++) send()
  })
  await killed
  await server.start()
  await up
  const { lastSequence } = await right(log.facts('S'))
  const stored = outcomes.filter(outcome => outcome.type === 'stored').length
  t.log(`${stored} told stored, ${lastSequence} stored, of ${sent} sent`)
  t.true(stored >= killAt && stored < sent)
  t.deepEqual(new Set(outcomes.map(kind)), new Set(['stored', 'unavailable']))
  t.true(lastSequence >= stored)
  // What is stored is a prefix of what was sent, each once, and everything told stored is in it.
  const seen = await new Promise<string[]>((resolve, reject) => {
    const payloads: string[] = []
    log.read({
      stream: 'S',
      start: { at: 'first' },
      messagesMax: 5_000,
      bytesMax: 1_000_000,
      onMessage: message => {
        payloads.push(new TextDecoder().decode(message.payload))
        if (message.sequence === lastSequence) resolve(payloads)
      },
      onFailed: reject,
    })
  })
  t.deepEqual(seen, numbers(0, lastSequence - 1).map(String))
  for (const [number, outcome] of outcomes.entries()) {
    if (outcome.type === 'stored') t.is(outcome.sequence, number + 1)
  }
  t.is((await publishNumbers(log, 's.a', 1))[0]?.type, 'stored')
})
