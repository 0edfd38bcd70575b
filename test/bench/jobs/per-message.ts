/** One record per message of a stream, counted by key, into a sink that counts. */
import * as t from 'io-ts'
import { actor, jetstream, job } from 'sluice'
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'

const Event = t.type({ user: t.string, page: t.string, value: t.number, note: t.string })
const Count = t.type({ user: t.string, count: t.number })

const records = numberOf('BENCH_RECORDS')
const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)

const counts = actor({
  name: 'counts',
  accepts: Event,
  emits: Count,
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, { user }) => {
    const count = ctx.state.get() + 1
    ctx.state.set(count)
    ctx.emit({ user, count })
  },
})

const tally = actor({ name: 'tally', accepts: Count, emits: t.never, receive: see })

export default job('bench-per-message')
  .from(
    jetstream.source({
      id: 'events',
      stream: textOf('BENCH_STREAM'),
      accepts: Event,
      end: { at: 'sequence', sequence: records },
    }),
  )
  .keyBy(({ user }) => user)
  .to(counts)
  .to(tally)
  .checkpoint({ intervalMs: 1_000 })
