/** As many subtasks as wanted, with next to nothing to do: what a checkpoint costs by itself. */
import * as t from 'io-ts'
import { actor, jetstream, job } from 'sluice'
import { numberOf, textOf } from '../parameters.js'

const counts = actor({
  name: 'counts',
  accepts: t.type({ n: t.number }),
  emits: t.never,
  state: { codec: t.number, initial: () => 0 },
  receive: ctx => ctx.state.set(ctx.state.get() + 1),
})

export default job('bench-wide', { maxParallelism: 1_024 })
  .from(
    jetstream.source({
      id: 'numbers',
      stream: textOf('BENCH_STREAM'),
      accepts: t.type({ n: t.number }),
    }),
  )
  .keyBy(({ n }) => n)
  .to(counts, { parallelism: numberOf('BENCH_SUBTASKS') - 1 })
  .checkpoint({ intervalMs: 10, minPauseMs: 200 })
