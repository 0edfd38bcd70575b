import test from 'ava'
import * as io from 'io-ts'
import { actor, iterable, jetstream } from '../../lib/job/definitions.js'
import type { Problem } from '../../lib/job/problem.js'
import { fullProblemsOf, orders, out, problemsOf, untypedJob } from './fixtures.js'

const sourced = (options: object): readonly string[] => {
  const made = Reflect.apply(jetstream.source, undefined, [
    { id: 's', stream: 'S', accepts: io.unknown, ...options },
  ])
  return problemsOf(untypedJob('s').from(made).into(out).graph)
}

test('a source names a stream that a server can have', t => {
  for (const stream of ['S', 'orders_2', 'ünïcode', '😀', 'x'.repeat(255)])
    t.deepEqual(sourced({ stream }), [])
  for (const stream of [
    '',
    ' ',
    'a b',
    'a.b',
    '*',
    'a>',
    'a/b',
    'a\\b',
    'a\r\nb',
    'a\tb',
    '\u0000',
  ])
    t.is(sourced({ stream }).length, 1, JSON.stringify(stream))
  t.deepEqual(sourced({ stream: 'a\r\nb' }), [
    'source "s".stream: "a\\r\\nb", which holds a space or a control character',
  ])
  t.deepEqual(sourced({ stream: undefined }), ['source "s".stream: nothing'])
})

test('a source filters by subject, wildcards allowed', t => {
  for (const subject of ['a', 'a.b', '*', '>', 'a.*.c', 'a.>', '$KV.b.k', undefined])
    t.deepEqual(sourced({ subject }), [], subject)
  for (const subject of ['', 'a b', 'a..b', '.a', 'a.', '>.a', 'a\r\nSUB > 1', 'a\tb', 5, null])
    t.is(sourced({ subject }).length, 1, JSON.stringify(subject))
})

test('a source starts at first, last, new, a sequence or a time', t => {
  const places = [
    { at: 'first' },
    { at: 'last' },
    { at: 'new' },
    { at: 'sequence', sequence: 1 },
    { at: 'time', time: '2026-01-31T12:00:00Z' },
    { at: 'time', time: '2024-02-29T23:59:59.123456789+05:30' },
  ]
  for (const start of places) t.deepEqual(sourced({ start }), [], JSON.stringify(start))
  t.deepEqual(sourced({ start: { at: 'sequence', sequence: 0 } }), ['source "s".start.sequence: 0'])
  t.deepEqual(sourced({ start: { at: 'begin' } }), ['source "s".start: at: "begin"'])
  t.deepEqual(sourced({ start: 'first' }), ['source "s".start: "first"'])
  t.deepEqual(sourced({ start: { at: 'first', sequence: 1 } }), [
    'source "s".start.sequence: the unknown option "sequence"',
  ])
  const times = [
    'yesterday',
    '2026-01-31',
    '2026-01-31T12:00:00',
    '2026-02-30T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-31T25:00:00Z',
    '2026-01-31 12:00:00Z',
    '',
    5,
  ]
  for (const time of times)
    t.is(sourced({ start: { at: 'time', time } }).length, 1, JSON.stringify(time))
})

test('a bounded source ends at last or at a sequence, not before it starts', t => {
  t.deepEqual(sourced({ end: { at: 'last' } }), [])
  t.deepEqual(sourced({ end: { at: 'sequence', sequence: 5 } }), [])
  t.deepEqual(sourced({ end: { at: 'new' } }), ['source "s".end: at: "new"'])
  const backwards = { start: { at: 'sequence', sequence: 6 }, end: { at: 'sequence', sequence: 5 } }
  t.deepEqual(sourced(backwards), ['source "s".end.sequence: 5'])
})

test('the options of a source are judged one by one', t => {
  t.deepEqual(
    sourced({ accepts: { name: 'fake' }, onRefused: 'retry', ack: true, id: undefined }),
    [
      'source #1.id: nothing',
      'source #1.accepts: an object',
      'source #1.onRefused: "retry"',
      'source #1.ack: the unknown option "ack"',
    ],
  )
  const opened = (open: unknown) => {
    const made = Reflect.apply(iterable.source, undefined, [{ id: 'i', open }])
    return problemsOf(untypedJob('i').from(made).into(out).graph)
  }
  t.deepEqual(
    opened(() => []),
    [],
  )
  t.deepEqual(
    opened(function* () {}),
    [],
  )
  t.deepEqual(opened([1, 2]), ['source "i".open: an array'])
  t.deepEqual(
    opened(async () => []),
    ['source "i".open: AsyncFunction'],
  )
  t.deepEqual(
    opened(async function* () {}),
    ['source "i".open: AsyncGeneratorFunction'],
  )
})

const sunk = (options: object): readonly Problem[] => {
  const made = Reflect.apply(jetstream.sink, undefined, [{ id: 'k', subject: 'k', ...options }])
  return fullProblemsOf(untypedJob('k').from(orders).into(made).graph)
}

test('a sink publishes on one subject that is safe to publish on', t => {
  for (const subject of ['a', 'a.b.c', 'ünï.😀', '$KV.bucket.key', 'sluices', 'A_b-c'])
    t.deepEqual(sunk({ subject }), [], subject)
  const bad = [
    '',
    'a b',
    'a..b',
    '.a',
    'a.',
    '*',
    'a.*',
    'a.>',
    'a*',
    'a\r\nb',
    'a\tb',
    '\u0007',
    '\u0085',
    '$JS.API.x',
    '$SYS.x',
    '_INBOX.x',
    'sluice.x',
    'x'.repeat(1025),
    undefined,
    5,
  ]
  for (const subject of bad) t.is(sunk({ subject }).length, 1, JSON.stringify(subject))
})

test('a refused subject is quoted so that it forges nothing where it is shown', t => {
  t.deepEqual(sunk({ subject: 'a\r\nPUB b 1\r\n\u001b[2J\u009b\u202e' }), [
    {
      path: 'sink "k".subject',
      expected: 'a subject to publish on',
      found:
        '"a\\r\\nPUB b 1\\r\\n\\u001b[2J\\u009b\\u202e", which holds a space or a control character',
      next: 'Write it like "orders.paid", without spaces and wildcards.',
    },
  ])
})

test('a sink names its stream, but not one of ours', t => {
  t.deepEqual(sunk({ stream: 'OUT' }), [])
  t.is(sunk({ stream: 'a.b' }).length, 1)
  t.is(sunk({ stream: 'SLUICE_flights_DEAD' }).length, 1)
})

test('the options of an actor are judged one by one, once for each actor', t => {
  const odd = Reflect.apply(actor, undefined, [
    {
      name: 'odd',
      accepts: 'string',
      emits: io.unknown,
      state: { codec: io.number, initial: 0, version: 0, ttl: 5 },
      receive: async () => undefined,
      onError: 'explode',
      onerror: 'fail',
    },
  ])
  const { graph: made } = untypedJob('odd')
    .from(orders)
    .keyBy(String)
    .to(odd)
    .keyBy(String)
    .to(odd, { id: 'again' })
    .into(out)
  t.deepEqual(problemsOf(made), [
    'actor "odd".accepts: "string"',
    'actor "odd".state.initial: 0',
    'actor "odd".state.version: 0',
    'actor "odd".state.ttl: the unknown option "ttl"',
    'actor "odd".receive: AsyncFunction',
    'actor "odd".onError: "explode"',
    'actor "odd".onerror: the unknown option "onerror"',
  ])
})
