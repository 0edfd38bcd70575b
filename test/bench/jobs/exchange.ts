/** The vertices of the keyed exchange: records made in one process, counted in another. */
import * as t from 'io-ts'
import { actor, iterable } from 'sluice'
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'
import { recordAt } from '../records.js'

const Reading = t.type({ key: t.string, value: t.number, at: t.number })
const Count = t.type({ key: t.string, count: t.number })

const records = numberOf('BENCH_RECORDS')
const keys = numberOf('BENCH_KEYS')
const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)

/** Counts by key. */
export const counts = actor({
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

/** Counts what it is given. */
export const tally = actor({ name: 'tally', accepts: Count, emits: t.never, receive: see })

const made = function* (offset: number): Generator<t.TypeOf<typeof Reading>> {
  for (let n = offset; n < records; n += 1) yield recordAt(n, keys)
}

/** Makes the records. */
export const readings = iterable.source({ id: 'readings', open: made })
