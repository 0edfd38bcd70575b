import test from 'ava'
import * as t from 'io-ts'
import { SluiceError, streamError } from '../../lib/errors.js'
import { actor, iterable, jetstream, job } from '../../lib/index.js'
import type { Context } from '../../lib/job/contracts.js'
import type { Job } from '../../lib/job/graph.js'
import { compileChain, UserCodeError } from '../../lib/operators/chain.js'
import { KeyedStateStore } from '../../lib/state/keyed-state.js'
import { planOf } from '../support/memory-job.js'

const numbers = iterable.source<unknown>({ id: 'numbers', open: () => [] })
const out = jetstream.sink({ id: 'out', subject: 'out' })
const unknown = t.unknown
// Inside a test `t` is AVA's.
const number = t.number
const never = t.never
const sumCodec = t.type({ sum: t.number })

/** Compiles the chain that starts with a vertex, on collectors that take notes. */
const compile = (of: Job, head: string, onSink: (record: unknown) => void = () => {}) => {
  const plan = planOf(of)
  const chain = plan.chains.find(({ id }) => id === head)
  if (chain === undefined) throw new Error(`no chain ${head}`)
  const emitted: unknown[] = []
  const deadLetters: unknown[] = []
  const skipped: unknown[] = []
  const states = new Map<string, KeyedStateStore<unknown>>()
  for (const vertex of chain.members) {
    if (vertex.type !== 'operator' || vertex.actor.state === undefined) continue
    const { initial } = vertex.actor.state
    const keyGroups = { from: 0, to: 127 }
    states.set(
      vertex.id,
      new KeyedStateStore({ operator: vertex.id, initial, keyGroups, freeze: true }),
    )
  }
  const program = compileChain(chain, plan.graph, 3, {
    edges: member =>
      chain.outputs
        .filter(edge => edge.fromMember === member)
        .map(edge => record => emitted.push([edge.to, record])),
    sink: vertex => record => {
      onSink(record)
      emitted.push([vertex, record])
    },
    state: vertex => states.get(vertex),
    onDeadLetter: (...letter) => deadLetters.push(letter),
    onSkipped: (...skip) => skipped.push(skip),
  })
  const stateOf = (vertex: string, key: string | number, group = 0): unknown => {
    const state = states.get(vertex)
    state?.setCurrent(key, group)
    const value = state?.peek()
    state?.clearCurrent()
    return value
  }
  return { program, emitted, deadLetters, skipped, stateOf }
}

const thrownBy = (run: () => void): unknown => {
  try {
    run()
  } catch (thrown) {
    return thrown
  }
  return undefined
}

const messageBy = (run: () => void): string => {
  const thrown = thrownBy(run)
  return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)
}

const doubling = (onError: 'fail' | 'skip' | 'dead-letter') =>
  actor({
    name: 'double',
    accepts: t.number,
    emits: t.number,
    receive: (ctx, n) => {
      ctx.emit(n)
      ctx.emit(2 * n)
    },
    onError,
  })
const double = doubling('fail')

/** Keeps a sum per key; emits before and after it fails on negative numbers. */
const sum = (onError: 'fail' | 'skip' | 'dead-letter') =>
  actor({
    name: 'sum',
    accepts: t.number,
    emits: t.number,
    state: { codec: t.type({ sum: t.number }), initial: () => ({ sum: 0 }) },
    receive: (ctx, n) => {
      ctx.state.update(draft => {
        draft.sum += n
      })
      ctx.emit(ctx.state.get().sum)
      if (n < 0) throw new Error(`${n} is negative`)
      ctx.emit(n)
    },
    onError,
  })

const summing = (onError: 'fail' | 'skip' | 'dead-letter') =>
  job('sums')
    .from(iterable.source<number>({ id: 'numbers', open: () => [] }))
    .keyBy(() => 'k')
    .to(sum(onError))
    .into(out)

test('members of a chain call each other in order, record by record', t => {
  const of = job('doubles')
    .from(iterable.source<number>({ id: 'numbers', open: () => [] }))
    .to(double)
    .to(double, { id: 'again' })
    .into(out)
  const { program, emitted } = compile(of, 'numbers')
  program.receive(1, undefined, 0)
  program.receive(10, undefined, 0)
  t.deepEqual(
    emitted,
    [1, 2, 2, 4, 10, 20, 20, 40].map(n => ['out', n]),
  )
})

test('fail: what receive throws ends the record and names the actor', t => {
  const { program } = compile(summing('fail'), 'sum')
  program.receive(5, 'k', 0)
  const thrown = thrownBy(() => program.receive(-1, 'k', 0))
  if (!(thrown instanceof UserCodeError)) return t.fail(String(thrown))
  t.is(thrown.operator, 'sum')
  t.is(thrown.message, "actor 'sum' threw: -1 is negative")
})

for (const onError of ['skip', 'dead-letter'] as const) {
  test(`H1, ${onError}: a record that fails leaves no trace in outputs and state`, t => {
    const { program, emitted, skipped, deadLetters, stateOf } = compile(summing(onError), 'sum')
    program.receive(5, 'k', 0)
    program.receive(-1, 'k', 0)
    t.deepEqual(stateOf('sum', 'k'), { sum: 5 })
    program.receive(2, 'k', 0)
    t.deepEqual(
      emitted,
      [5, 5, 7, 2].map(n => ['out', n]),
    )
    t.deepEqual(onError === 'skip' ? deadLetters : skipped, [])
    const noted = onError === 'skip' ? skipped : deadLetters
    t.deepEqual(
      noted,
      onError === 'skip' ? [['sum', '-1 is negative']] : [['sum', -1, '-1 is negative']],
    )
  })

  test(`H1, ${onError}: the first record of a key that fails leaves no key`, t => {
    const { program, stateOf } = compile(summing(onError), 'sum')
    program.receive(-1, '__proto__', 7)
    t.is(stateOf('sum', '__proto__', 7), undefined)
  })
}

test('a key is data, whatever it is called', t => {
  const { program, stateOf } = compile(summing('fail'), 'sum')
  for (const key of ['__proto__', 'constructor', 'toString', '1', 1, ''] as const) {
    program.receive(3, key, 0)
    program.receive(4, key, 0)
    t.deepEqual(stateOf('sum', key), { sum: 7 })
  }
  const untouched: { sum?: number } = {}
  t.is(untouched.sum, undefined)
})

for (const onError of ['fail', 'skip', 'dead-letter'] as const) {
  test(`${onError}: an asynchronous receive is refused, and its promise does no harm`, async t => {
    const asynchronous = actor<unknown, unknown>({
      name: 'later',
      accepts: unknown,
      emits: unknown,
      // @ts-expect-error A promise does not compile; JavaScript does not know that.
      receive: ctx => Promise.resolve().then(() => ctx.emit('too late')),
      onError,
    })
    const of = job('j').from(numbers).to(asynchronous).into(out)
    const { program, emitted, skipped, deadLetters } = compile(of, 'numbers')
    const message = messageBy(() => program.receive(1, undefined, 0))
    const reason = /'receive' returned a promise; it must finish its work before it returns/
    t.regex(onError === 'fail' ? message : JSON.stringify([skipped, deadLetters]), reason)
    // The promise settles, refused by the context; nobody hears of it, and nothing was emitted.
    await new Promise(resolve => setImmediate(resolve))
    t.deepEqual(emitted, [])
  })

  test(`H3, ${onError}: a context that was kept refuses to emit and to show state`, t => {
    let kept: Context<number, { readonly sum: number }> | undefined
    const keeps = actor({
      ...sum(onError),
      receive: (ctx: Context<number, { readonly sum: number }>, n: number) => {
        kept = ctx
        if (n < 0) throw new Error('no')
      },
      state: { codec: sumCodec, initial: () => ({ sum: 0 }) },
    })
    const of = job('j')
      .from(iterable.source<number>({ id: 'numbers', open: () => [] }))
      .keyBy(() => 'k')
      .to(keeps)
      .into(out)
    const { program, emitted } = compile(of, 'sum')
    for (const n of [1, -1]) {
      thrownBy(() => program.receive(n, 'k', 0))
      t.throws(() => kept?.emit(1), { message: /'sum' emitted outside of a record/ })
      t.throws(() => kept?.state.get(), { message: /used outside of a record/ })
    }
    program.receive(2, 'k', 0)
    t.deepEqual(emitted, [])
  })
}

test('H2: an error behind an emit keeps its own name, and is not blamed on the actor before it', t => {
  const fragile = actor({
    name: 'fragile',
    accepts: number,
    emits: number,
    receive: (ctx, n) => {
      if (n === 4) throw new Error('four')
      ctx.emit(n)
    },
  })
  for (const onError of ['fail', 'skip'] as const) {
    const of = job('j')
      .from(iterable.source<number>({ id: 'numbers', open: () => [] }))
      .to(doubling(onError))
      .to(fragile)
      .into(out)
    const { program, skipped } = compile(of, 'numbers')
    t.is(
      messageBy(() => program.receive(2, undefined, 0)),
      "UserCodeError: actor 'fragile' threw: four",
    )
    t.deepEqual(skipped, [])
  }
})

test('H2: an actor that catches everything cannot hide a failure behind its emit', t => {
  const catching = (name: string, onCaught: (cause: unknown) => void) =>
    actor({
      name,
      accepts: number,
      emits: number,
      receive: (ctx, n) => {
        try {
          ctx.emit(n)
        } catch (cause) {
          onCaught(cause)
        }
      },
    })
  const swallows = catching('swallows', () => {})
  const rethrows = catching('rethrows', cause => {
    throw new Error('wrapped', { cause })
  })
  for (const catches of [swallows, rethrows]) {
    const of = job('j')
      .from(iterable.source<number>({ id: 'numbers', open: () => [] }))
      .to(catches)
      .into(out)
    const full = new SluiceError(streamError('full', 'the sink is full'))
    const { program } = compile(of, 'numbers', record => {
      if (record === 2) throw full
    })
    program.receive(1, undefined, 0)
    t.is(
      thrownBy(() => program.receive(2, undefined, 0)),
      full,
    )
  }
})

test('an actor without state says what to do when its code reaches for state', t => {
  const stateless = actor<unknown, unknown>({
    name: 'stateless',
    accepts: unknown,
    emits: unknown,
    receive: ctx => {
      // @ts-expect-error There is no state; JavaScript does not know that.
      ctx.state.get()
    },
  })
  const { program } = compile(job('j').from(numbers).to(stateless).into(out), 'numbers')
  t.regex(
    messageBy(() => program.receive(1, undefined, 0)),
    /actor 'stateless' threw: 'stateless' has no state here: declare 'state'/,
  )
})

test('a context shows the key and the index of the subtask', t => {
  const seen: unknown[] = []
  const looks = actor({
    name: 'looks',
    accepts: unknown,
    emits: never,
    receive: ctx => {
      seen.push(ctx.key, ctx.subtask)
    },
  })
  const { program } = compile(job('j').from(numbers).keyBy(String).to(looks), 'looks')
  program.receive('x', 'key', 5)
  t.deepEqual(seen, ['key', 3])
})

test('records go to every edge and every member behind a vertex', t => {
  const source = job('fork').from(iterable.source<number>({ id: 'numbers', open: () => [] }))
  const { graph } = source.to(double).into(out)
  const forked: Job = {
    type: 'job',
    graph: {
      ...graph,
      vertices: [
        ...graph.vertices,
        {
          type: 'sink',
          id: 'other',
          parallelism: 1,
          sink: jetstream.sink({ id: 'other', subject: 'other' }),
          codec: undefined,
        },
      ],
      edges: [...graph.edges, { type: 'forward', from: 'double', to: 'other' }],
    },
  }
  const { program, emitted } = compile(forked, 'numbers')
  program.receive(3, undefined, 0)
  t.deepEqual(emitted, [
    ['out', 3],
    ['other', 3],
    ['out', 6],
    ['other', 6],
  ])
})
