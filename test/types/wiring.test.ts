import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { isJob, type JobGraph, validate } from 'sluice'
import { checkpointDefaults } from '../../lib/job/settings.js'
import { flights } from './example.js'
import { chained, consumed, decoded, twice, wrong, wrongActors } from './wiring.js'

const shapeOf = (graph: JobGraph): readonly string[] => [
  ...graph.vertices.map(({ type, id, parallelism }) => `${type} ${id} ×${parallelism}`),
  ...graph.edges.map(({ type, from, to }) => `${from} → ${to} ${type}`),
]

test('the documented example is a valid job of the documented shape', t => {
  t.true(isJob(flights))
  t.true(E.isRight(validate(flights.graph)))
  t.is(flights.graph.name, 'flights')
  t.deepEqual(shapeOf(flights.graph), [
    'source flights ×1',
    'operator delays ×2',
    'sink delays-out ×1',
    'flights → delays keyed',
    'delays → delays-out rebalance',
  ])
  t.deepEqual(flights.graph.checkpoint, {
    ...checkpointDefaults,
    intervalMs: 1_000,
    mode: 'exactly-once',
    timeoutMs: 600_000,
    minPauseMs: 0,
  })
})

test('vertices of equal parallelism are joined by forward edges', t => {
  t.deepEqual(shapeOf(chained.graph), [
    'source orders ×1',
    'operator totals ×3',
    'operator large-totals ×3',
    'sink totals-out ×3',
    'orders → totals keyed',
    'totals → large-totals forward',
    'large-totals → totals-out forward',
  ])
  t.true(E.isRight(validate(chained.graph)))
})

test('an actor that only consumes ends a valid job', t => {
  t.true(isJob(consumed))
  t.deepEqual(shapeOf(consumed.graph), [
    'source orders ×1',
    'operator audit ×2',
    'orders → audit rebalance',
  ])
  t.true(E.isRight(validate(consumed.graph)))
  t.deepEqual(consumed.graph.checkpoint, {
    ...checkpointDefaults,
    intervalMs: 50,
    mode: 'at-least-once',
    timeoutMs: 5_000,
    minPauseMs: 10,
  })
})

test('one job holds several pipelines', t => {
  t.deepEqual(shapeOf(twice.graph), [
    'source orders ×1',
    'operator totals ×1',
    'sink totals-out ×1',
    'source numbers ×1',
    'sink numbers-out ×1',
    'orders → totals keyed',
    'totals → totals-out forward',
    'numbers → numbers-out keyed',
  ])
  t.true(E.isRight(validate(twice.graph)))
  t.is(twice.graph.maxParallelism, 16)
  t.is(twice.graph.durability, 'process-crash')
  t.is(twice.graph.mailboxStorage, 'file')
  t.is(twice.graph.limits.lingerMs, 2)
  t.is(twice.graph.limits.historyMax, 100)
})

test('wrong wirings that a graph shows are refused at run time too', t => {
  const refused = Object.entries(wrong)
    .filter(([, graph]) => E.isLeft(validate(graph)))
    .map(([name]) => name)
  t.deepEqual(refused, [
    'statefulUnkeyed',
    'sinkAsActor',
    'actorAsSink',
    'sinkAsSource',
    'unknownStepOption',
    'unknownCheckpointOption',
    'unknownJobOption',
    'unknownLimit',
    'unknownMode',
  ])
})

test('making a definition starts nothing, even a wrong one', t => {
  t.is(wrongActors.length, 12)
  t.is(decoded.name, 'decoded')
})
