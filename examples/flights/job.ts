/** Flights and mean delay per origin airport, exactly once. */
import * as t from 'io-ts'
import { actor, jetstream, job } from 'sluice'

/** A departure; its delay is in minutes, below zero for an early one. */
export const Flight = t.type({
  date: t.string,
  delay: t.number,
  distance: t.number,
  origin: t.string,
  destination: t.string,
})
/** What a flight made known of its origin: how many flights so far, and their mean delay in minutes. */
export const Delay = t.type({ origin: t.string, flights: t.number, meanDelay: t.number })

/** Counts the flights of each origin, and tells their mean delay. */
export const delays = actor({
  name: 'delays',
  accepts: Flight,
  emits: Delay,
  state: {
    codec: t.type({ flights: t.number, total: t.number }),
    initial: () => ({ flights: 0, total: 0 }),
  },
  receive: (ctx, flight) => {
    ctx.state.update(draft => {
      draft.flights += 1
      draft.total += flight.delay
    })
    const { flights, total } = ctx.state.get()
    ctx.emit({ origin: flight.origin, flights, meanDelay: total / flights })
  },
})

/** The first 20 000 messages of the stream. */
export const flights = jetstream.source({
  id: 'flights',
  stream: 'FLIGHTS',
  accepts: Flight,
  end: { at: 'sequence', sequence: 20_000 },
})

export default job('flights')
  .from(flights)
  .keyBy(flight => flight.origin)
  .to(delays, { parallelism: 2 })
  .into(jetstream.sink({ id: 'delays-out', subject: 'delays', stream: 'DELAYS' }))
  .checkpoint({ intervalMs: 500, mode: 'exactly-once' })
