/** Records made in one process, counted by key in another, into a sink that counts. */
import * as t from 'io-ts'
import { actor, iterable, job } from 'sluice'
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'
import { recordAt } from '../records.js'

const Reading = t.type({ key: t.string, value: t.number, at: t.number })
const Count = t.type({ key: t.string, count: t.number })

const records = numberOf('BENCH_RECORDS')
const keys = numberOf('BENCH_KEYS')
const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)
const intervalMs = numberOf('BENCH_INTERVAL_MS')

const counts = actor({
  name: 'counts',
  accepts: Reading,
  emits: Count,
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, { key }) => {
    const count = ctx.state.get() + 1
    ctx.state.set(count)
    ctx.emit({ key, count })
  },
})

const tally = actor({ name: 'tally', accepts: Count, emits: t.never, receive: see })

const made = function* (offset: number): Generator<t.TypeOf<typeof Reading>> {
  for (let n = offset; n < records; n += 1) yield recordAt(n, keys)
}

const counting = job('bench-keyed-exchange')
  .from(iterable.source({ id: 'readings', open: made }))
  .keyBy(({ key }) => key)
  .to(counts)
  .to(tally)

export default intervalMs === 0 ? counting : counting.checkpoint({ intervalMs })
