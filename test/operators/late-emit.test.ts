import test from 'ava'
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from '../../lib/index.js'
import type { Context, ErrorPolicy } from '../../lib/job/contracts.js'
import { compileChain } from '../../lib/operators/chain.js'
import { planOf } from '../support/memory-job.js'

for (const onError of ['fail', 'dead-letter'] as const) {
  test(`a record that is emitted after receive has returned is refused (${onError})`, assert => {
    const { late, early, emitted } = keeping(onError)
    early()
    assert.deepEqual(emitted, [1])
    assert.throws(late, { message: /'keeps' emitted outside of a record/ })
    early()
    assert.deepEqual(emitted, [1, 1])
  })
}

/** A chain whose actor keeps what it got, and what came out of it. */
const keeping = (onError: ErrorPolicy) => {
  let kept: Context<number, never> | undefined
  const keeps = actor({
    name: 'keeps',
    accepts: t.number,
    emits: t.number,
    onError,
    receive: (ctx, n) => {
      kept = ctx
      ctx.emit(n)
    },
  })
  const of = job('late')
    .from(iterable.source({ id: 'in', open: () => [1] }))
    .to(keeps)
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
  const plan = planOf(of)
  const [chain] = plan.chains
  if (chain === undefined) throw new Error('no chain')
  const emitted: unknown[] = []
  const program = compileChain(chain, plan.graph, 0, {
    edges: () => [],
    sink: () => record => emitted.push(record),
    state: () => undefined,
    onDeadLetter: () => {},
    onSkipped: () => {},
  })
  return {
    emitted,
    early: () => program.receive(1, undefined, 0),
    late: () => kept?.emit(2),
  }
}
