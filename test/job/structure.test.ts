import test from 'ava'
import * as io from 'io-ts'
import { job } from '../../lib/job/builder.js'
import { actor, jetstream } from '../../lib/job/definitions.js'
import type { JobGraph } from '../../lib/job/graph.js'
import {
  anyActor,
  fullProblemsOf,
  graph,
  operator,
  orders,
  out,
  problemsOf,
  sink,
  source,
  stateful,
  untypedJob,
} from './fixtures.js'

test('a duplicate id is reported once, and nothing that only follows from it', t => {
  const twice = untypedJob('twice').from(orders).keyBy(String).to(stateful).to(stateful).into(out)
  t.deepEqual(problemsOf(twice.graph), [
    'operator "stateful".id: 2 vertices with it (operator, operator)',
  ])
  const other = job('other')
    .from(orders)
    .into(jetstream.sink({ id: 'orders', subject: 'x' }))
  t.deepEqual(problemsOf(other.graph), ['source "orders".id: 2 vertices with it (source, sink)'])
})

test('a cycle names the vertices that are on it, and no others', t => {
  const vertices = ['b', 'c', 'd', 'e'].map(id => operator(id))
  const all = [source('a'), ...vertices, sink('z')]
  t.deepEqual(problemsOf(graph(all, ['a ⇉ b', 'b → c', 'c → d', 'd ⇉ b', 'd → e', 'e → z'])), [
    'operator "b": "b" → "c" → "d" → "b"',
  ])
  t.deepEqual(
    problemsOf(graph(all, ['a ⇉ b', 'b ⇉ b', 'b → c', 'c → d', 'd ⇉ e', 'e ⇉ d', 'e → z'])),
    ['operator "b": "b" → "b"', 'operator "d": "d" → "e" → "d"'],
  )
})

test('a cycle that no source reaches is unreachable as well', t => {
  const island = graph(
    [source('a'), sink('z'), operator('b'), operator('c')],
    ['a → z', 'b ⇉ c', 'c ⇉ b'],
  )
  t.deepEqual(problemsOf(island), [
    'operator "b": "b" → "c" → "b"',
    'operator "b": none',
    'operator "c": none',
  ])
})

test('vertices without what belongs at their ends are reported', t => {
  const loose = graph(
    [source('a'), source('b'), operator('c'), operator('d'), sink('e'), sink('f')],
    ['a ⇉ b', 'b → d', 'd → e', 'e ⇉ d'],
  )
  t.deepEqual(
    fullProblemsOf(loose).map(({ path, expected, found }) => [path, expected, found]),
    [
      [
        'sink "f".subject',
        'a subject that no other sink of the job publishes on',
        '"out", which sink "e" publishes on too',
      ],
      ['source "b"', 'no input', 'edge "a" → "b"'],
      ['operator "c"', 'an input', 'none'],
      ['operator "c"', 'a vertex that takes its records', 'none'],
      ['sink "e"', 'no output', 'edge "e" → "d"'],
      ['sink "f"', 'an input', 'none'],
      ['operator "d"', 'a graph without cycles', '"d" → "e" → "d"'],
    ],
  )
})

test('what is behind a vertex without input is not called unreachable', t => {
  const orphan = graph(
    [source('a'), sink('z'), operator('b'), operator('c')],
    ['a → z', 'b → c', 'c ⇉ z'],
  )
  t.deepEqual(problemsOf(orphan), ['operator "b": none'])
})

test('an empty job lacks a source', t => {
  t.deepEqual(problemsOf(graph([], [])), ['job: nothing'])
})

test('state needs a keyed input on every edge', t => {
  const keeper = { ...anyActor, state: { codec: io.unknown, initial: () => 0 } }
  const vertices = [source('a'), source('b'), operator('c', 2, keeper), sink('d', 2)]
  t.deepEqual(problemsOf(graph(vertices, ['a ⇶ c', 'b ⇶ c', 'c → d'])), [])
  t.deepEqual(problemsOf(graph(vertices, ['a ⇶ c', 'b ⇉ c', 'c → d'])), [
    'operator "c": the rebalance edge "b" → "c"',
  ])
})

test('a keyed edge has a key function, and a forward edge equal ends', t => {
  const made: JobGraph = Object.assign({}, graph([source('a'), sink('b', 3), sink('c', 3)], []), {
    edges: [
      { type: 'keyed', from: 'a', to: 'b', keyOf: 'origin' },
      { type: 'forward', from: 'a', to: 'c' },
    ],
  })
  const found = problemsOf(made).filter(text => text.startsWith('edge'))
  t.deepEqual(found, ['edge "a" → "b": "origin"', 'edge "a" → "c": 1 and 3'])
})

test('an operator whose records nobody takes must say that it emits nothing', t => {
  const open = graph([source('a'), operator('b')], ['a → b'])
  t.deepEqual(problemsOf(open), ['operator "b": none'])
  const silent = actor({
    name: 'b',
    accepts: io.unknown,
    emits: io.never,
    receive: () => undefined,
  })
  t.deepEqual(problemsOf(job('silent').from(orders).to(silent).graph), [])
})
