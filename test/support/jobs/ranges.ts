/** Counts how often each of many keys was touched; a message touches a range of them, and may ask for their counts. */
import * as t from 'io-ts'
import { actor, jetstream } from 'sluice'
import { checkpoint, countingJob, parallelism, sink } from './counting.js'
import { setting } from './setting.js'

const Range = t.type({ from: t.number, to: t.number, tell: t.boolean })
const Touch = t.type({ key: t.string, tell: t.boolean })

const spread = actor({
  name: 'spread',
  accepts: Range,
  emits: Touch,
  receive: (ctx, { from, to, tell }) => {
    for (let n = from; n < to; n += 1) ctx.emit({ key: `k${n}`, tell })
  },
})

const touches = actor({
  name: 'touches',
  accepts: Touch,
  emits: t.type({ key: t.string, count: t.number }),
  state: {
    codec: t.type({ count: t.number, note: t.string }),
    initial: () => ({ count: 0, note: '' }),
  },
  receive: (ctx, { key, tell }) => {
    const count = ctx.state.get().count + 1
    ctx.state.set({ count, note: `touched ${count} times` })
    if (tell) ctx.emit({ key, count })
  },
})

export default countingJob()
  .from(jetstream.source({ id: 'ranges', stream: setting('IN', 'RANGES'), accepts: Range }))
  .to(spread)
  .keyBy(({ key }) => key)
  .to(touches, { parallelism })
  .into(sink)
  .checkpoint(checkpoint)
