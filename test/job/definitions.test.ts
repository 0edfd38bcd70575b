import test from 'ava'
import * as io from 'io-ts'
import { actor, iterable, jetstream } from '../../lib/job/definitions.js'
import { validate } from '../../lib/job/validate.js'
import { orders, out, problemsOf, untypedJob } from './fixtures.js'

test('definitions fill in their defaults', t => {
  const plain = actor({ name: 'a', accepts: io.string, emits: io.never, receive: () => undefined })
  t.is(plain.type, 'actor')
  t.is(plain.state, undefined)
  t.is(plain.onError, 'fail')
  const source = jetstream.source({ id: 's', stream: 'S', accepts: io.string })
  t.deepEqual(
    { ...source, accepts: undefined },
    {
      type: 'jetstream-source',
      id: 's',
      stream: 'S',
      subject: undefined,
      accepts: undefined,
      start: { at: 'first' },
      end: undefined,
      onRefused: 'dead-letter',
    },
  )
  t.deepEqual(jetstream.sink({ id: 'o', subject: 'o' }), {
    type: 'jetstream-sink',
    id: 'o',
    subject: 'o',
    stream: undefined,
    delivery: 'transactional',
  })
})

test('definitions keep what they are given', t => {
  const state = { codec: io.number, initial: () => 1, version: 3 }
  const receive = () => undefined
  const full = actor({
    name: 'a',
    accepts: io.string,
    emits: io.number,
    state,
    receive,
    onError: 'skip',
  })
  t.deepEqual(full.state, state)
  t.is(full.receive, receive)
  t.is(full.onError, 'skip')
  const open = () => [1]
  t.is(iterable.source({ id: 'i', open }).open, open)
  const source = jetstream.source({
    id: 's',
    stream: 'S',
    subject: 'a.>',
    accepts: io.string,
    start: { at: 'time', time: '2026-01-31T12:00:00Z' },
    end: { at: 'last' },
    onRefused: 'fail',
  })
  t.is(source.subject, 'a.>')
  t.deepEqual(source.start, { at: 'time', time: '2026-01-31T12:00:00Z' })
  t.deepEqual(source.end, { at: 'last' })
  t.is(source.onRefused, 'fail')
})

const makers = { actor, source: jetstream.source, sink: jetstream.sink, iterable: iterable.source }
const nonsense = [undefined, null, 0, 42, '', 'text', true, [], {}, () => 0, Symbol('s'), 10n]

test('a definition made of nonsense is reported by validate, and nothing throws', t => {
  for (const [name, make] of Object.entries(makers)) {
    for (const value of nonsense) {
      const definition = Reflect.apply(make, undefined, [value])
      const start = untypedJob('nonsense')
      const { graph } =
        name === 'actor'
          ? start.from(orders).to(definition).into(out)
          : name === 'sink'
            ? start.from(orders).into(definition)
            : start.from(definition).into(out)
      t.is(validate(graph)._tag, 'Left', `${name}(${String(value)})`)
    }
  }
})

test('no step of the builder throws, whatever it is given', t => {
  const values = [...nonsense, orders, out, { type: 'actor' }, { type: 'jetstream-sink', id: 1 }]
  const start = untypedJob('steps')
  const starts = [start, start.from(orders), start.from(orders).into(out)]
  const steps = ['from', 'keyBy', 'to', 'into', 'checkpoint', 'restart', 'stateBackend'] as const
  t.plan(starts.length * steps.length * values.length ** 2)
  for (const step of steps) {
    for (const draft of starts) {
      for (const value of values) {
        for (const options of values) {
          const result = validate(draft[step](value, options).graph)
          t.true(result._tag === 'Left' || result.right.vertices.length > 0)
        }
      }
    }
  }
})

test('an actor made of nothing misses everything', t => {
  const nothing = Reflect.apply(actor, undefined, [undefined])
  const { graph } = untypedJob('nothing').from(orders).to(nothing).into(out)
  t.deepEqual(problemsOf(graph), [
    'actor #2.name: nothing',
    'actor #2.accepts: nothing',
    'actor #2.emits: nothing',
    'actor #2.receive: nothing',
  ])
})
