/** Actors that handle each record twice. */
import { isDeepStrictEqual } from 'node:util'
import test from 'ava'
import type { Context } from '../../lib/job/contracts.js'
import type { AnyActor } from '../../lib/job/graph.js'
import type { StateDriver } from '../../lib/operators/chain.js'
import { twice, UnlikeItself } from '../../lib/operators/twice.js'
import { KeyedStateStore } from '../../lib/state/keyed-state.js'
import { anyActor } from '../job/fixtures.js'

/** One key's state, and what an actor on it emits. */
const stage = (receive: AnyActor['receive']) => {
  const keyGroups = { from: 0, to: 0 }
  const state: StateDriver & KeyedStateStore<unknown> = new KeyedStateStore<unknown>({
    operator: 'a',
    initial: () => 0,
    keyGroups,
    freeze: true,
  })
  const emitted: unknown[] = []
  const checked = twice('a', { ...anyActor, receive }, state, isDeepStrictEqual)
  const ctx: Context<unknown, unknown> = {
    state: state.view,
    key: 'k',
    subtask: 0,
    emit: record => emitted.push(record),
  }
  const run = (record: unknown): void => {
    state.setCurrent('k', 0)
    checked.receive(ctx, record)
  }
  return { run, emitted, state }
}

test('an actor that does the same twice does it once, for all that can be seen', t => {
  let calls = 0
  const { run, emitted, state } = stage((ctx, record) => {
    calls += 1
    ctx.state.set(Number(ctx.state.get()) + 1)
    ctx.emit([record, ctx.state.get()])
  })
  run('x')
  run('y')
  t.is(calls, 4)
  t.deepEqual(emitted, [
    ['x', 1],
    ['y', 2],
  ])
  state.setCurrent('k', 0)
  t.is(state.peek(), 2)
})

test('what is emitted too late goes where it would without the check', t => {
  const late: (() => void)[] = []
  const { run, emitted } = stage((ctx, record) => {
    late.push(() => ctx.emit(record))
  })
  run('x')
  for (const emit of late) emit()
  t.deepEqual(emitted, ['x', 'x'])
})

test('an actor that throws the same twice has thrown', t => {
  const { run } = stage(() => {
    throw new Error('no')
  })
  t.throws(() => run('x'), { message: 'no' })
})

const unlike = test.macro({
  exec(t, receive: (call: number, ctx: Context<unknown, unknown>) => void, said: RegExp) {
    let calls = 0
    const { run, emitted } = stage(ctx => {
      calls += 1
      receive(calls, ctx)
    })
    t.throws(() => run('x'), { instanceOf: UnlikeItself, message: said })
    t.deepEqual(emitted, [])
  },
  title: (name = '') => `stopped: an actor that ${name} the second time`,
})

test('emits another record', unlike, (call, ctx) => ctx.emit(call), /emitted 2 in the place of 1/)
test(
  'emits more',
  unlike,
  (call, ctx) => {
    for (let n = 0; n < call; n += 1) ctx.emit(n)
  },
  /emitted 2 records in the place of 1/,
)
test(
  'leaves another state',
  unlike,
  (call, ctx) => ctx.state.set(call),
  /left the state 2 in the place of 1/,
)
test(
  'throws',
  unlike,
  call => {
    if (call === 2) throw new Error('now')
  },
  /threw now in the place of nothing/,
)
