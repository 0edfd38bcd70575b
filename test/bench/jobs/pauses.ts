/** Many keys under load; the process that holds them notes when it handles no record for a while. */
import * as t from 'io-ts'
import { actor, job } from 'sluice'
import { numberOf, textOf } from '../parameters.js'
import { pauseWatch } from '../pauses.js'
import { readings } from './exchange.js'

const watch = pauseWatch(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'))

const totals = actor({
  name: 'totals',
  accepts: t.type({ key: t.string, value: t.number, at: t.number }),
  emits: t.never,
  state: {
    codec: t.type({ count: t.number, total: t.number }),
    initial: () => ({ count: 0, total: 0 }),
  },
  receive: (ctx, { value }) => {
    const { count, total } = ctx.state.get()
    ctx.state.set({ count: count + 1, total: total + value })
    watch()
  },
})

export default job('bench-pauses')
  .from(readings)
  .keyBy(({ key }) => key)
  .to(totals)
  .checkpoint({ intervalMs: numberOf('BENCH_INTERVAL_MS') })
