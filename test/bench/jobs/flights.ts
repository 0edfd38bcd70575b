/** Flights and total delay per origin airport, from a stream with one flight a message. */
import * as t from 'io-ts'
import { actor, jetstream, job } from 'sluice'
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'

const Flight = t.type({
  date: t.string,
  delay: t.number,
  distance: t.number,
  origin: t.string,
  destination: t.string,
})

const records = numberOf('BENCH_RECORDS')
const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)

const delays = actor({
  name: 'delays',
  accepts: Flight,
  emits: t.never,
  state: {
    codec: t.type({ flights: t.number, total: t.number }),
    initial: () => ({ flights: 0, total: 0 }),
  },
  receive: (ctx, { delay }) => {
    const { flights, total } = ctx.state.get()
    ctx.state.set({ flights: flights + 1, total: total + delay })
    see()
  },
})

export default job('bench-flights')
  .from(
    jetstream.source({
      id: 'flights',
      stream: textOf('BENCH_STREAM'),
      accepts: Flight,
      end: { at: 'sequence', sequence: records },
    }),
  )
  .keyBy(flight => flight.origin)
  .to(delays)
  .checkpoint({ intervalMs: 1_000 })
