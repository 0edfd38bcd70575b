import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { InvariantViolation } from '../../lib/invariant.js'
import { job } from '../../lib/job/builder.js'
import { jetstream } from '../../lib/job/definitions.js'
import type { JobGraph } from '../../lib/job/graph.js'
import { type Plan, plan } from '../../lib/job/plan.js'
import { validate } from '../../lib/job/validate.js'
import {
  graph,
  operator,
  orders,
  randomFrom,
  sink,
  source,
  stateful,
  stateless,
} from './fixtures.js'

const chainsOf = ({ chains }: Plan): readonly string[] =>
  chains.map(
    ({ id, members, links, parallelism }) =>
      `${id} ×${parallelism}: ${members
        .map((member, at) => `${member.id}${links[at]?.length ? ` → ${links[at].join(',')}` : ''}`)
        .join(' | ')}`,
  )

const edgesOf = ({ edges }: Plan): readonly string[] =>
  edges.map(
    ({ index, from, fromMember, to, partition }) =>
      `#${index} ${from}[${fromMember}] ${partition.type} ${to}`,
  )

test('a keyed edge and a change of parallelism each start a chain', t => {
  const made = plan(
    job('made', { maxParallelism: 10 })
      .from(orders)
      .to(stateless, { id: 'before' })
      .keyBy(String)
      .to(stateful, { parallelism: 3 })
      .to(stateless, { parallelism: 3 })
      .into(jetstream.sink({ id: 'out', subject: 'out' })).graph,
  )
  t.deepEqual(chainsOf(made), [
    'orders ×1: orders → 1 | before',
    'stateful ×3: stateful → 1 | stateless',
    'out ×1: out',
  ])
  t.deepEqual(edgesOf(made), ['#0 orders[1] keyed stateful', '#1 stateful[1] rebalance out'])
  t.deepEqual(
    made.subtasks.map(({ id, keyGroups }) => `${id} ${keyGroups.from}–${keyGroups.to}`),
    ['orders/0 0–9', 'stateful/0 0–3', 'stateful/1 4–6', 'stateful/2 7–9', 'out/0 0–9'],
  )
})

test('a vertex with several forward successors has them all in its chain', t => {
  const fan = plan(
    graph(
      [source('a'), operator('b'), operator('c'), sink('d'), sink('e'), sink('f', 2)],
      ['a → b', 'a → c', 'b → d', 'c → e', 'c ⇉ f'],
    ),
  )
  t.deepEqual(chainsOf(fan), ['a ×1: a → 1,2 | b → 3 | c → 4 | d | e', 'f ×2: f'])
  t.deepEqual(edgesOf(fan), ['#0 a[2] rebalance f'])
})

test('PL2: a vertex with several inputs starts a chain, and forward edges into it rebalance', t => {
  const join = plan(
    graph([source('a'), source('b'), operator('c'), sink('d')], ['a → c', 'b → c', 'c → d']),
  )
  t.deepEqual(chainsOf(join), ['a ×1: a', 'b ×1: b', 'c ×1: c → 1 | d'])
  t.deepEqual(edgesOf(join), ['#0 a[0] rebalance c', '#1 b[0] rebalance c'])
  const [a, , c] = join.chains
  t.deepEqual(a?.outputs, [join.edges[0]])
  t.deepEqual(c?.inputs, join.edges)
})

test('two edges between the same two vertices are two inputs', t => {
  const double = plan(graph([source('a'), sink('b')], ['a → b', 'a → b']))
  t.deepEqual(chainsOf(double), ['a ×1: a', 'b ×1: b'])
  t.is(double.edges.length, 2)
})

test('PL1: a graph that no head leads into breaks an invariant', t => {
  t.throws(() => plan(graph([operator('a'), operator('b')], ['a → b', 'b → a'])), {
    instanceOf: InvariantViolation,
    message: /PL1/,
  })
})

test('a plan is frozen and the same every time', t => {
  const of = graph([source('a'), operator('b', 2), sink('c', 2)], ['a ⇉ b', 'b → c'])
  const one = plan(of)
  t.deepEqual(plan(of), one)
  const parts = [
    one,
    one.chains,
    one.edges,
    one.subtasks,
    ...one.chains,
    ...one.edges,
    ...one.subtasks,
  ]
  for (const part of parts) t.true(Object.isFrozen(part))
})

/** A random valid graph: layers of vertices, each with an input from some layer before its own. */
const randomGraph = (random: () => number): JobGraph => {
  const upTo = (n: number): number => Math.floor(random() * n)
  const vertices = Array.from({ length: 2 + upTo(8) }, (_, at) =>
    at === 0 ? source('v0') : operator(`v${at}`, 1 + upTo(3)),
  )
  const edges = vertices.slice(1).flatMap((to, before) =>
    Array.from({ length: 1 + upTo(2) }, () => {
      const from = vertices[upTo(before + 1)] ?? to
      const kinds = from.parallelism === to.parallelism ? ['→', '⇉', '⇶'] : ['⇉', '⇶']
      return `${from.id} ${kinds[upTo(kinds.length)]} ${to.id}`
    }),
  )
  const open = vertices.filter(({ id }) => !edges.some(text => text.startsWith(`${id} `)))
  const sinks = open.map(({ id }, at) => ({ vertex: sink(`s${at}`), edge: `${id} ⇉ s${at}` }))
  const distinct = sinks.map(({ vertex }) =>
    vertex.type === 'sink' ? { ...vertex, sink: { ...vertex.sink, subject: vertex.id } } : vertex,
  )
  return graph([...vertices, ...distinct], [...edges, ...sinks.map(({ edge }) => edge)])
}

test('PL1–PL3: random graphs are covered by chains, and their groups by subtasks', t => {
  const seed = 20_260_131
  t.log(`seed ${seed}`)
  const random = randomFrom(seed)
  for (let round = 0; round < 500; round += 1) {
    const of = randomGraph(random)
    t.true(E.isRight(validate(of)), JSON.stringify(validate(of)))
    const { chains, edges, subtasks } = plan(of)
    t.deepEqual(
      chains.flatMap(({ members }) => members.map(({ id }) => id)).sort(),
      of.vertices.map(({ id }) => id).sort(),
    )
    const inside = chains.flatMap(({ links }) => links.flat()).length
    t.is(inside + edges.length, of.edges.length)
    for (const { members, links, parallelism, id } of chains) {
      t.is(members[0]?.id, id)
      for (const member of members) t.is(member.parallelism, parallelism)
      links.forEach((to, from) => {
        for (const link of to) {
          const ends = { from: members[from]?.id, to: members[link]?.id }
          const joins = of.edges.filter(edge => edge.from === ends.from && edge.to === ends.to)
          t.deepEqual(
            joins.map(({ type }) => type),
            ['forward'],
          )
          t.true(link > from)
        }
      })
      const own = subtasks.filter(({ chain }) => chain === id)
      t.is(own.length, parallelism)
      const groups = own.reduce((sum, { keyGroups }) => sum + keyGroups.to - keyGroups.from + 1, 0)
      t.is(groups, of.maxParallelism)
    }
    edges.forEach((edge, index) => {
      t.is(edge.index, index)
    })
  }
})
