import test from 'ava'
import { defaultLimits } from '../../lib/job/limits.js'
import { isRefused, itemOf, type Node, type Shape } from './random-job.js'
import { goesRound } from './random-loop.js'
import { comingOf, referenceOf } from './reference.js'

const source = (records: number, poison: readonly number[] = []): Shape['sources'][number] => ({
  node: 0,
  type: 'stream',
  records,
  bounded: true,
  poison,
  overMs: 0,
})

const shapeOf = (nodes: readonly Node[], sources: Shape['sources']): Shape => ({
  name: 'by hand',
  nodes,
  sources,
  mode: 'exactly-once',
  bounded: true,
  intervalMs: 50,
  timeoutMs: 600,
  mailboxStorage: 'memory',
  sinksShare: false,
  limits: defaultLimits,
})

const start: Node = { id: 'source', kind: 'source', parallelism: 1, inputs: [] }

const behind = (id: string, kind: Node['kind'], from: number, parallelism = 1): Node => ({
  id,
  kind,
  parallelism,
  inputs: [{ from, type: kind === 'count' ? 'keyed' : 'forward', keys: 1 }],
})

test('the reference counts every record of a source once, and sends it on', t => {
  const nodes = [start, behind('count', 'count', 0, 2), behind('sink', 'sink', 1)]
  const { outputs, states, deadLetters } = referenceOf(shapeOf(nodes, [source(3)]))
  const counted = [...states].map(([place, seen]) => [place, seen.map(({ n }) => n)])
  t.deepEqual(counted, [['count/k0', [0, 1, 2]]])
  t.deepEqual([...(outputs.get('sink') ?? [])], ['0:0>count', '0:1>count', '0:2>count'])
  t.is(deadLetters.size, 0)
})

test('a message that is no record becomes a dead letter with its sequence, and goes nowhere', t => {
  const nodes = [start, behind('sink', 'sink', 0)]
  const { outputs, deadLetters } = referenceOf(shapeOf(nodes, [source(3, [1])]))
  t.deepEqual([...deadLetters], ['source@2'])
  t.deepEqual([...(outputs.get('sink') ?? [])], ['0:0', '0:2'])
})

test('what an actor refuses becomes a dead letter, or nothing where it is dropped', t => {
  for (const kind of ['refuse', 'drop'] as const) {
    const nodes = [start, behind('actor', kind, 0), behind('sink', 'sink', 1)]
    const { outputs, deadLetters } = referenceOf(shapeOf(nodes, [source(40)]))
    const numbers = Array.from({ length: 40 }, (_, n) => n)
    const refused = numbers.filter(n => isRefused(behind('actor', kind, 0), itemOf(0, n)))
    t.true(refused.length > 0)
    t.is(outputs.get('sink')?.size, 40 - refused.length)
    const expected = kind === 'refuse' ? refused.map(n => `actor:0:${n}`) : []
    t.deepEqual([...deadLetters], expected)
  }
})

test('every reader of a vertex gets each of its records', t => {
  const nodes = [start, behind('one', 'sink', 0), behind('other', 'sink', 0)]
  const { outputs } = referenceOf(shapeOf(nodes, [source(2)]))
  t.deepEqual([...(outputs.get('one') ?? [])], ['0:0', '0:1'])
  t.deepEqual(outputs.get('other'), outputs.get('one'))
})

test('only behind single subtasks records come in single file', t => {
  const nodes = [
    start,
    behind('wide', 'pass', 0, 2),
    behind('behind', 'count', 1),
    behind('beside', 'count', 0),
  ]
  const { singleFile } = referenceOf(shapeOf(nodes, [source(1)]))
  t.deepEqual([...singleFile], ['source', 'wide', 'beside'])
})

const track = (): Shape => {
  const nodes = [
    start,
    behind('count', 'count', 3),
    behind('sink', 'sink', 1),
    behind('head', 'pass', 0),
  ]
  return { ...shapeOf(nodes, [source(30)]), loop: { head: 3, tail: 1, roundsMax: 3 } }
}

test('a record goes round a loop as often as its number says, and leaves it once', t => {
  const { outputs, states, singleFile } = referenceOf(track())
  const ways = [...(outputs.get('sink') ?? [])]
  t.is(ways.length, 30)
  const rounds = ways.map(way => way.split('>head>count').length - 1)
  t.deepEqual([...new Set(rounds)].sort(), [1, 2, 3])
  const counted = [...states.values()].reduce((sum, seen) => sum + seen.length, 0)
  t.is(
    counted,
    rounds.reduce((sum, each) => sum + each, 0),
  )
  t.deepEqual([...singleFile], ['source'])
})

test('what a record in a loop has yet to come to is what is left of its rounds', t => {
  const shape = track()
  const { loop } = shape
  if (loop === undefined) return t.fail()
  for (let n = 0; n < 30; n += 1) {
    const item = { ...itemOf(0, n), x: '>head>count' }
    if (!goesRound(loop, shape.nodes, item)) continue
    const all = [...referenceOf(shape).states.values()].flat().filter(seen => seen.n === n)
    const coming = [...comingOf(shape, [item]).values()].flat()
    t.is(coming.length, all.length - 1)
    t.true(coming.every(({ hash }) => all.some(seen => seen.hash === hash)))
  }
})
