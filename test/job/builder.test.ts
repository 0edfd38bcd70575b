import test from 'ava'
import { job } from '../../lib/job/builder.js'
import { isJob } from '../../lib/job/graph.js'
import { defaultLimits } from '../../lib/job/limits.js'
import { checkpointDefaults } from '../../lib/job/settings.js'
import { validate } from '../../lib/job/validate.js'
import { numbers, orders, out, problemsOf, stateful, stateless, untypedJob } from './fixtures.js'

const pipeline = () =>
  job('pipeline')
    .from(orders)
    .keyBy(String)
    .to(stateful, { parallelism: 2 })
    .to(stateless, { parallelism: 2, id: 'other' })
    .into(out)

test('a job is plain data that is frozen to its definitions', t => {
  const { graph } = pipeline().checkpoint({ intervalMs: 1_000 })
  const parts = [
    graph,
    graph.vertices,
    ...graph.vertices,
    graph.edges,
    ...graph.edges,
    graph.limits,
    graph.checkpoint,
    graph.problems,
    orders,
    orders.start,
    stateful,
    stateful.state,
    out,
    numbers,
  ]
  for (const part of parts) t.true(Object.isFrozen(part))
})

test('definitions are copies: what the caller passed stays his', t => {
  const start: { at: 'sequence'; sequence: number } = { at: 'sequence', sequence: 5 }
  const options: Parameters<typeof job>[1] = { limits: { lingerMs: 1 } }
  job('copies', options)
  t.false(Object.isFrozen(options))
  t.false(Object.isFrozen(options.limits))
  t.false(Object.isFrozen(start))
})

test('every step leaves the one before it as it was', t => {
  const from = job('steps').from(orders)
  const one = from.to(stateless).into(out)
  const two = from.keyBy(String).to(stateful).into(out)
  t.deepEqual(
    [one, two].map(({ graph }) => graph.edges.map(({ type, to }) => `${type} ${to}`)),
    [
      ['forward stateless', 'forward out'],
      ['keyed stateful', 'forward out'],
    ],
  )
  t.is(one.graph.checkpoint, undefined)
  t.not(one.checkpoint({ intervalMs: 50 }).graph.checkpoint, undefined)
  t.is(one.graph.checkpoint, undefined)
})

test('an edge is keyed after keyBy, forward between equals and rebalance otherwise', t => {
  t.deepEqual(
    pipeline().graph.edges.map(({ type, from, to }) => `${from} ${type} ${to}`),
    ['orders keyed stateful', 'stateful forward other', 'other rebalance out'],
  )
})

test('a sink encodes by the codec of what is in front of it', t => {
  const codecs = job('codecs')
    .from(orders)
    .into(out)
    .from(numbers)
    .into(out)
    .from(numbers)
    .to(stateless)
    .into(out)
    .graph.vertices.flatMap(vertex => (vertex.type === 'sink' ? [vertex.codec] : []))
  t.deepEqual(codecs, [orders.accepts, undefined, stateless.emits])
})

test('defaults are filled in, for options that are undefined too', t => {
  const { graph } = untypedJob('defaults', {
    limits: { lingerMs: undefined },
    durability: undefined,
  })
    .from(orders)
    .into(out, { parallelism: undefined })
    .checkpoint({ intervalMs: 20, timeoutMs: undefined })
  t.deepEqual(graph.limits, defaultLimits)
  t.is(graph.maxParallelism, 128)
  t.is(graph.durability, 'process-crash')
  t.is(graph.mailboxStorage, 'memory')
  t.is(graph.vertices[1].parallelism, 1)
  t.deepEqual(graph.checkpoint, {
    ...checkpointDefaults,
    intervalMs: 20,
    mode: 'exactly-once',
    timeoutMs: 600_000,
    minPauseMs: 0,
  })
  t.deepEqual(problemsOf(graph), [])
})

test('a job is recognized by its shape, also one of another copy of the package', t => {
  t.true(isJob(pipeline()))
  t.true(isJob(pipeline().checkpoint({ intervalMs: 50 })))
  t.true(isJob({ type: 'job', graph: { name: 'x', vertices: [], edges: [] } }))
  const others = [
    undefined,
    null,
    'job',
    () => 0,
    {},
    { type: 'job' },
    { type: 'job', graph: null },
    { type: 'job', graph: { name: 'x', vertices: {}, edges: [] } },
    { type: 'actor', graph: { name: 'x', vertices: [], edges: [] } },
    stateless,
  ]
  for (const other of others) t.false(isJob(other))
})

test('an unfinished job is a job with problems, not a TypeError', t => {
  t.deepEqual(problemsOf(untypedJob('nothing').graph), ['job: nothing'])
  t.deepEqual(problemsOf(untypedJob('source').from(orders).graph), ['source "orders": none'])
  t.deepEqual(problemsOf(untypedJob('dangling').from(orders).keyBy(String).to(stateful).graph), [
    'operator "stateful": none',
  ])
  t.deepEqual(problemsOf(untypedJob('no-source').into(out).graph), ['sink "out": none'])
  t.deepEqual(problemsOf(untypedJob('no-stream').keyBy(String).from(orders).into(out).graph), [
    'keyBy: nothing',
  ])
})

test('arguments of a wrong kind are all reported', t => {
  const { graph } = untypedJob(42, 'fast')
    .from(orders)
    .keyBy('origin')
    .to(stateful)
    .to(out)
    .into(stateless, 3)
    .from({ type: 'kafka-source' })
    .checkpoint(1_000)
  t.deepEqual(problemsOf(graph), [
    'job: "fast"',
    'keyBy(keyOf) after source "orders": "origin"',
    'to(actor) after operator "stateful": an object of type "jetstream-sink"',
    'into(sink) after operator "stateful": an object of type "actor"',
    'from(source): an object of type "kafka-source"',
    'checkpoint: 1000',
    'job.name: 42',
    'operator "stateful": none',
  ])
})

test('options that nobody knows are kept and reported, with what was meant', t => {
  const { graph } = untypedJob('options', { maxParalelism: 2, limits: { lingerMS: 3, foo: 1 } })
    .from(orders, { batch: 1 })
    .to(stateless, { paralellism: 2, name: 'x' })
    .into(out, { id: 'y' })
    .checkpoint({ intervalMS: 1_000, 'a\r\nb': 1 })
  const result = validate(graph)
  t.deepEqual(result._tag === 'Left' ? result.left.map(({ path, next }) => [path, next]) : [], [
    ['job.maxParalelism', 'Did you mean maxParallelism?'],
    ['source "orders".batch', 'Remove it.'],
    ['operator "stateless".paralellism', 'Did you mean parallelism?'],
    ['operator "stateless".name', 'Remove it.'],
    ['sink "out".id', 'Remove it.'],
    ['checkpoint.intervalMs', 'Correct the number.'],
    ['checkpoint.intervalMS', 'Did you mean intervalMs?'],
    ['checkpoint."a\\r\\nb"', 'Remove it.'],
    ['limits.lingerMS', 'Did you mean lingerMs?'],
    ['limits.foo', 'Remove it.'],
  ])
})

test('checkpointing twice is reported', t => {
  const twice = untypedJob('twice')
    .from(orders)
    .into(out)
    .checkpoint({ intervalMs: 50 })
    .checkpoint({ intervalMs: 60 })
  t.deepEqual(problemsOf(twice.graph), ['checkpoint: another one'])
})
