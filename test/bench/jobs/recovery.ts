/** Many keys under load; each process that holds them notes when it handles its first record. */
import { appendFileSync } from 'node:fs'
import * as t from 'io-ts'
import { actor, job } from 'sluice'
import { numberOf, textOf } from '../parameters.js'
import { readings } from './exchange.js'

const marks = textOf('BENCH_MARKS')
let isFirst = true

const totals = actor({
  name: 'totals',
  accepts: t.type({ key: t.string, value: t.number, at: t.number }),
  emits: t.never,
  state: {
    codec: t.type({ count: t.number, total: t.number }),
    initial: () => ({ count: 0, total: 0 }),
  },
  receive: (ctx, { value }) => {
    if (isFirst) {
      isFirst = false
      const at = performance.timeOrigin + performance.now()
      appendFileSync(marks, `${JSON.stringify({ pid: process.pid, at })}\n`)
    }
    const { count, total } = ctx.state.get()
    ctx.state.set({ count: count + 1, total: total + value })
  },
})

export default job('bench-recovery')
  .from(readings)
  .keyBy(({ key }) => key)
  .to(totals)
  .checkpoint({ intervalMs: numberOf('BENCH_INTERVAL_MS') })
  // The default waits a second before it does anything: that is a choice, and no cost.
  .restart({ type: 'fixed-delay', attempts: 1_000, delayMs: 0 })
