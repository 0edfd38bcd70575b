/** One record per message, counted by key, put out at once. */
import * as t from 'io-ts'
import { actor, jetstream, job } from 'sluice'
import { numberOf, textOf } from '../parameters.js'

const Event = t.type({ at: t.number, user: t.string })
const Count = t.type({ at: t.number, user: t.string, count: t.number })

const counts = actor({
  name: 'counts',
  accepts: Event,
  emits: Count,
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, { at, user }) => {
    const count = ctx.state.get() + 1
    ctx.state.set(count)
    ctx.emit({ at, user, count })
  },
})

const out = textOf('BENCH_OUT')

export default job('bench-latency', { limits: { lingerMs: 1 } })
  .from(
    jetstream.source({
      id: 'events',
      stream: textOf('BENCH_STREAM'),
      accepts: Event,
      end: { at: 'sequence', sequence: numberOf('BENCH_RECORDS') },
    }),
  )
  .keyBy(({ user }) => user)
  .to(counts)
  .into(
    jetstream.sink({
      id: 'counted',
      subject: out.toLowerCase(),
      stream: out,
      delivery: 'idempotent',
    }),
  )
  .checkpoint({ intervalMs: 1_000 })
