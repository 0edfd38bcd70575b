import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as io from 'io-ts'
import { job } from '../../lib/job/builder.js'
import { jetstream } from '../../lib/job/definitions.js'
import type { JobGraph } from '../../lib/job/graph.js'
import { defaultLimits } from '../../lib/job/limits.js'
import { problemText } from '../../lib/job/problem.js'
import { validate } from '../../lib/job/validate.js'
import {
  fullProblemsOf,
  graph,
  operator,
  orders,
  out,
  problemsOf,
  sink,
  source,
  stateless,
  untypedJob,
} from './fixtures.js'

const line = graph([source('a'), operator('b', 2), sink('c', 2)], ['a ⇉ b', 'b → c'])

test('a right graph comes out as it went in', t => {
  t.deepEqual(validate(line), E.right(line))
})

test('all problems are reported at once', t => {
  const wrong = graph(
    [source(''), operator('b', 0), operator('b'), sink('c', 300)],
    ['b → nowhere', 'b → c'],
    { name: '', maxParallelism: 0.5, limits: { ...defaultLimits, historyMax: -1 } },
  )
  t.deepEqual(problemsOf(wrong), [
    'job.name: ""',
    'job.maxParallelism: 0.5',
    'limits.historyMax: -1',
    'source #1.id: ""',
    'operator "b".parallelism: 0',
    'operator "b".id: 2 vertices with it (operator, operator)',
    'edge "b" → "nowhere": no vertex with the id "nowhere"',
    'source #1: none',
  ])
})

test('ids and names may hold anything but nothing, too much, or half a character', t => {
  const weird = ['a b', '*', '>', '__proto__', 'a\r\nPUB x 1', '😀', 'a/b', '"', 'constructor']
  for (const name of weird) {
    t.deepEqual(
      problemsOf(
        graph([source('s'), operator(name), sink('c')], [], {
          name,
          edges: [
            { type: 'forward', from: 's', to: name },
            { type: 'forward', from: name, to: 'c' },
          ],
        }),
      ),
      [],
      name,
    )
  }
  const named = (name: string) => graph(line.vertices, ['a ⇉ b', 'b → c'], { name })
  t.deepEqual(problemsOf(named('x'.repeat(128))), [])
  t.deepEqual(problemsOf(named('x'.repeat(129))), [
    `job.name: "${'x'.repeat(80)}"… (129 characters) of 129 bytes`,
  ])
  t.is(problemsOf(named('é'.repeat(65))).length, 1)
  t.deepEqual(problemsOf(named('\ud800')), ['job.name: "\\ud800"'])
})

test('a job and a vertex whose names do not fit into a stream name together are refused', t => {
  const long = (name: string, id: string) =>
    problemsOf(graph([source('s'), operator(id), sink('c')], [`s → ${id}`, `${id} → c`], { name }))
  t.deepEqual(long('x'.repeat(115), 'y'.repeat(115)), [])
  t.deepEqual(long('x'.repeat(116), 'y'.repeat(116)), [
    `operator "${'y'.repeat(80)}"… (116 characters).id: 232`,
  ])
  t.deepEqual(long('😀'.repeat(16), 'é'.repeat(16)), ['operator "éééééééééééééééé".id: 288'])
})

test('ids that are missing or no text are reported where they stand', t => {
  const Untyped = { ...source('x'), id: undefined }
  const made: JobGraph = Object.assign({}, line, {
    vertices: [Untyped, { ...operator('b'), id: 7 }],
    edges: [],
  })
  t.deepEqual(problemsOf(made), [
    'source #1.id: nothing',
    'operator #2.id: 7',
    'source #1: none',
    'operator #2: none',
    'operator #2: none',
  ])
})

const Parallelism = test.macro({
  exec: (t, parallelism: unknown, found: string | undefined) => {
    const { graph: made } = untypedJob('p', { maxParallelism: 8 })
      .from(orders)
      .to(stateless, { parallelism })
      .into(out)
    t.deepEqual(
      problemsOf(made),
      found === undefined ? [] : [`operator "stateless".parallelism: ${found}`],
    )
  },
  title: (_, parallelism, found) =>
    `parallelism ${String(parallelism)} is ${found === undefined ? 'taken' : 'refused'}`,
})
test(Parallelism, 1, undefined)
test(Parallelism, 8, undefined)
test(Parallelism, 9, '9')
test(Parallelism, 0, '0')
test(Parallelism, -1, '-1')
test(Parallelism, 1.5, '1.5')
test(Parallelism, Number.NaN, 'NaN')
test(Parallelism, Number.POSITIVE_INFINITY, 'Infinity')
test(Parallelism, '2', '"2"')

test('a source has one reader, and the problem says what to do instead', t => {
  const wide = graph([source('a', 2), sink('z', 2)], ['a → z'])
  t.deepEqual(fullProblemsOf(wide).map(problemText), [
    'source "a".parallelism: expected 1, because one stream has one reader, found 2. ' +
      'Use several sources, each with its own subject.',
  ])
})

test('maxParallelism is bounded by what a key group is stored as', t => {
  for (const maxParallelism of [0, 32_769, 1.5, Number.NaN])
    t.deepEqual(problemsOf({ ...line, maxParallelism }), [`job.maxParallelism: ${maxParallelism}`])
  t.deepEqual(problemsOf({ ...line, maxParallelism: 32_768 }), [])
})

const checkpointed = (options: unknown): readonly string[] =>
  problemsOf(untypedJob('c').from(orders).into(out).checkpoint(options).graph)

test('a pause between checkpoints and several at a time exclude each other', t => {
  t.deepEqual(checkpointed({ intervalMs: 10, maxConcurrent: 2 }), [])
  t.deepEqual(checkpointed({ intervalMs: 10, minPauseMs: 5 }), [])
  t.deepEqual(checkpointed({ intervalMs: 10, minPauseMs: 5, maxConcurrent: 2 }), [
    'checkpoint.minPauseMs: 5',
  ])
})

test('every other option of checkpoints is judged, too', t => {
  t.deepEqual(
    checkpointed({
      intervalMs: 10,
      maxConcurrent: 0,
      onCheckpointError: 'stop',
      tolerableFailures: -1,
      retention: 'always',
      numRetained: 0,
      async: 'yes',
      incremental: 1,
      inlineThresholdBytes: 16_385,
      localRecovery: 'disk',
      force: 'no',
    }),
    [
      'checkpoint.maxConcurrent: 0',
      'checkpoint.onCheckpointError: "stop"',
      'checkpoint.tolerableFailures: -1',
      'checkpoint.retention: "always"',
      'checkpoint.numRetained: 0',
      'checkpoint.async: "yes"',
      'checkpoint.incremental: 1',
      'checkpoint.inlineThresholdBytes: 16385',
      'checkpoint.localRecovery: "disk"',
      'checkpoint.force: "no"',
    ],
  )
})

const restarted = (options: unknown): readonly string[] =>
  problemsOf(untypedJob('r').from(orders).into(out).restart(options).graph)

test('a restart strategy has a type, and the fields of this type', t => {
  t.deepEqual(restarted({ type: 'none' }), [])
  t.deepEqual(restarted({ type: 'fixed-delay', attempts: 3, delayMs: 0 }), [])
  t.deepEqual(restarted({ type: 'failure-rate', maxFailures: 3, perMs: 60_000, delayMs: 10 }), [])
  t.deepEqual(restarted({ type: 'exponential-delay', multiplier: 2, jitter: 0 }), [])
  t.deepEqual(restarted({ type: 'exponential-delay', multiplier: 1, jitter: 2 }), [
    'restart.multiplier: 1',
    'restart.jitter: 2',
  ])
  t.deepEqual(restarted({ type: 'fixed-delay', attempt: 3 }), [
    'restart.attempt: the unknown option "attempt"',
  ])
  t.deepEqual(restarted({ type: 'sometimes' }), ['restart.type: "sometimes"'])
  t.deepEqual(restarted({}), ['restart.type: nothing'])
})

const keptIn = (options: unknown): readonly string[] =>
  problemsOf(untypedJob('s').from(orders).into(out).stateBackend(options).graph)

test('a state backend has a type, and a folder where it needs one', t => {
  t.deepEqual(keptIn({ type: 'redis' }), [])
  t.deepEqual(keptIn({ type: 'memory', stateBytesMax: 1 }), [])
  t.deepEqual(keptIn({ type: 'fs', folder: '/checkpoints' }), [])
  t.deepEqual(keptIn({ type: 'fs' }), ['stateBackend.folder: nothing'])
  t.deepEqual(keptIn({ type: 'rocksdb' }), ['stateBackend.type: "rocksdb"'])
})

test('checkpoint times are whole milliseconds within what a timer can keep', t => {
  t.deepEqual(checkpointed({ intervalMs: 10, timeoutMs: 10, minPauseMs: 0 }), [])
  t.deepEqual(checkpointed({ intervalMs: 9, timeoutMs: 9, minPauseMs: -1, mode: 'at-most-once' }), [
    'checkpoint.intervalMs: 9',
    'checkpoint.mode: "at-most-once"',
    'checkpoint.timeoutMs: 9',
    'checkpoint.minPauseMs: -1',
  ])
  t.deepEqual(checkpointed({ intervalMs: 2 ** 31 }), ['checkpoint.intervalMs: 2147483648'])
  t.deepEqual(checkpointed({ intervalMs: '1s' }), ['checkpoint.intervalMs: "1s"'])
  t.deepEqual(checkpointed({}), ['checkpoint.intervalMs: nothing'])
})

test('limits are positive and fit each other', t => {
  const limited = (limits: object) =>
    problemsOf({ ...line, limits: { ...defaultLimits, ...limits } })
  for (const name of Object.keys(defaultLimits)) {
    for (const value of [0, -1, 1.5, '5', null])
      t.deepEqual(limited({ [name]: value }).slice(0, 1), [
        `limits.${name}: ${typeof value === 'string' ? '"5"' : value}`,
      ])
  }
  t.deepEqual(limited({ chunkBytesMax: 1024 ** 2 + 1 }), ['limits.chunkBytesMax: 1048577'])
  t.deepEqual(limited({ chunkBytesMax: 1024 ** 2 }), [])
  t.deepEqual(limited({ frameBytesMax: 512 * 1024 + 1, channelBytesMax: 2 ** 24 }), [
    'limits.frameBytesMax: 524289',
  ])
  t.deepEqual(limited({ frameBytesMax: 100, channelBytesMax: 199 }), [
    'limits.channelBytesMax: 199',
  ])
  t.deepEqual(limited({ frameBytesMax: 100, channelBytesMax: 200 }), [])
  t.deepEqual(limited({ heartbeatMs: 1_001 }), ['limits.heartbeatTimeoutMs: 3000'])
  t.deepEqual(limited({ lingerMs: 2 ** 31 }), ['limits.lingerMs: 2147483648'])
})

test('durability and mailbox storage are one of a few', t => {
  const { graph: made } = untypedJob('x', { durability: 'high', mailboxStorage: 'disk' })
    .from(orders)
    .into(out)
  t.deepEqual(problemsOf(made), ['job.durability: "high"', 'job.mailboxStorage: "disk"'])
})

test('two sinks never publish on one subject', t => {
  const two = (subjects: readonly [string, string], parallelism: number) =>
    problemsOf(
      job('two')
        .from(orders)
        .into(jetstream.sink({ id: 'x', subject: subjects[0] }), { parallelism })
        .from(jetstream.source({ id: 'more', stream: 'MORE', accepts: io.unknown }))
        .into(jetstream.sink({ id: 'y', subject: subjects[1] })).graph,
    )
  t.deepEqual(two(['a', 'b'], 1), [])
  t.deepEqual(two(['a', 'a'], 2), [])
  t.deepEqual(two(['a', 'a'], 1), ['sink "y".subject: "a", which sink "x" publishes on too'])
  t.deepEqual(two(['a', 'a.1'], 2), ['sink "y".subject: "a.1", which sink "x" publishes on too'])
})
