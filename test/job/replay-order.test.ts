import test from 'ava'
import { jetstream } from '../../lib/job/definitions.js'
import type { Edge, JobGraph, Vertex } from '../../lib/job/graph.js'
import { mixedOrder } from '../../lib/job/replay-order.js'
import { filledCheckpoint } from '../../lib/job/settings.js'
import { edge, fullProblemsOf, graph, operator, source } from './fixtures.js'

/** A sink that publishes at once. */
const atOnce = (parallelism = 1): Vertex => ({
  type: 'sink',
  id: 'out',
  parallelism,
  sink: jetstream.sink({ id: 'out', subject: 'out', delivery: 'idempotent' }),
  codec: undefined,
})

const elsewhere: Vertex = {
  type: 'sink',
  id: 'd',
  parallelism: 1,
  sink: jetstream.sink({ id: 'd', subject: 'elsewhere' }),
  codec: undefined,
}

const checkpointed = (vertices: readonly Vertex[], edges: readonly string[]): JobGraph => ({
  ...graph(vertices, edges),
  checkpoint: filledCheckpoint({ intervalMs: 100 }),
})

const inOrder = test.macro({
  exec(t, vertices: readonly Vertex[], edges: readonly string[]) {
    t.deepEqual(fullProblemsOf(checkpointed(vertices, edges)), [])
  },
  title: (name = '') => `records keep their order: ${name}`,
})

test('from a source', inOrder, [source('a'), atOnce()], ['a → out'])
test(
  'from one subtask to several by key, and on in each of them',
  inOrder,
  [source('a'), operator('b', 3), operator('c', 3), atOnce(3)],
  ['a ⇶ b', 'b → c', 'c → out'],
)
test(
  'whatever else goes on beside them',
  inOrder,
  [source('a'), source('b'), operator('c', 3), elsewhere, atOnce()],
  ['a ⇶ c', 'b ⇶ c', 'c ⇉ d', 'a → out'],
)

const mixed = test.macro({
  exec(t, vertices: readonly Vertex[], edges: readonly string[], found: string) {
    t.like(fullProblemsOf(checkpointed(vertices, edges)), [
      {
        path: 'sink "out".delivery',
        expected: 'one channel into every subtask before an idempotent sink',
        found,
      },
    ])
  },
  title: (name = '') => `refused: ${name}`,
})

test(
  'two sources that meet in the sink',
  mixed,
  [source('a'), source('b'), atOnce()],
  ['a → out', 'b → out'],
  '2 inputs of sink "out"',
)
test(
  'several subtasks before one',
  mixed,
  [source('a'), operator('b', 2), atOnce()],
  ['a ⇶ b', 'b ⇉ out'],
  '2 channels into each subtask of sink "out"',
)
test(
  'several subtasks before several, further up',
  mixed,
  [source('a'), operator('b', 2), operator('c', 2), atOnce(2)],
  ['a ⇶ b', 'b ⇶ c', 'c → out'],
  '2 channels into each subtask of operator "c"',
)
test(
  'records that subtasks take in turns',
  mixed,
  [source('a'), operator('b', 2), atOnce(2)],
  ['a ⇉ b', 'b → out'],
  'a turn of 2 subtasks of operator "b"',
)

test('a job without checkpoints has no use for idempotent delivery', t => {
  t.like(fullProblemsOf(graph([source('a'), atOnce()], ['a → out'])), [
    { path: 'sink "out".delivery', found: 'none' },
  ])
})

test('a loop mixes the order of what is in it', t => {
  const vertices = [source('a'), operator('b'), atOnce()]
  const back: Edge = { type: 'feedback', from: 'b', to: 'b', when: () => false }
  const round = { ...graph(vertices, ['a → b', 'b → out']), vertices }
  t.is(mixedOrder({ ...round, edges: [...round.edges, back] }, 'out'), '2 inputs of operator "b"')
  t.is(mixedOrder({ ...round, edges: [edge('a → b'), edge('b → out')] }, 'out'), undefined)
})
