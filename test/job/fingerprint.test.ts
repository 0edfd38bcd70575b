import test from 'ava'
import * as io from 'io-ts'
import { fingerprintOf } from '../../lib/job/fingerprint.js'
import type { JobGraph } from '../../lib/job/graph.js'
import { defaultLimits } from '../../lib/job/limits.js'
import { filledCheckpoint } from '../../lib/job/settings.js'
import { anyActor, graph, operator, sink, source } from './fixtures.js'

const keeper = (codec: io.Mixed, version?: number) => ({
  ...anyActor,
  state: { codec, initial: () => 0, ...(version === undefined ? {} : { version }) },
})

const base = graph(
  [source('a'), operator('b', 2, keeper(io.type({ n: io.number }))), sink('c', 2)],
  ['a ⇶ b', 'b → c'],
)
const withOperator = (of: JobGraph['vertices'][number]): JobGraph => ({
  ...base,
  vertices: base.vertices.map(vertex => (vertex.id === 'b' ? of : vertex)),
})

test('the fingerprint is fixed: manifests of earlier releases hold it', t => {
  t.is(fingerprintOf(base), '191ae0d90864fc60')
})

test('the fingerprint leaves out what a restart may change', t => {
  const same: readonly JobGraph[] = [
    { ...base, vertices: [...base.vertices].reverse(), edges: [...base.edges].reverse() },
    { ...base, limits: { ...defaultLimits, lingerMs: 1 } },
    { ...base, durability: 'none', mailboxStorage: 'file' },
    {
      ...base,
      checkpoint: filledCheckpoint({ intervalMs: 50, timeoutMs: 50 }),
      settings: { restart: { type: 'none' } },
    },
    withOperator(operator('b', 2, keeper(io.type({ n: io.number }), 1))),
  ]
  for (const other of same) t.is(fingerprintOf(other), fingerprintOf(base))
})

test('every difference of shape makes another fingerprint', t => {
  const shape = io.type({ n: io.number })
  const other = new io.Type<unknown>('other', io.unknown.is, io.success, io.identity)
  const others: readonly JobGraph[] = [
    base,
    { ...base, maxParallelism: 64 },
    { ...base, edges: base.edges.slice(1) },
    graph(base.vertices, ['a ⇉ b', 'b → c']),
    graph(base.vertices, ['a ⇶ b', 'b ⇉ c']),
    { ...base, vertices: base.vertices.slice(0, 2) },
    withOperator(operator('b', 3, keeper(shape))),
    withOperator(operator('b', 2, keeper(shape, 2))),
    withOperator(operator('b', 2, keeper(io.type({ n: io.string })))),
    withOperator(operator('b', 2)),
    withOperator(operator('b', 2, { ...keeper(shape), accepts: other })),
    withOperator(operator('b', 2, { ...keeper(shape), emits: other })),
    withOperator({ ...operator('b', 2, keeper(shape)), id: 'd' }),
  ]
  t.is(new Set(others.map(fingerprintOf)).size, others.length)
})
