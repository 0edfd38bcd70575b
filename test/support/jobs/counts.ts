/**
 * Counts and sums the numbers of each key. What comes out tells for every record where in its key's
 * sequence it was counted, so that a record lost, doubled or counted out of order shows.
 */
import * as t from 'io-ts'
import { actor, jetstream, job, type SourceEnd } from 'sluice'
import { numberSetting, setting } from './setting.js'

const Input = t.type({ key: t.string, n: t.number })
const Output = t.type({ key: t.string, n: t.number, count: t.number, sum: t.number })

const delayMs = numberSetting('DELAY_MS', 0)
const pause = new Int32Array(new SharedArrayBuffer(4))

const Counts =
  setting('STATE', 'plain') === 'plain'
    ? t.type({ count: t.number, sum: t.number })
    : t.type({ count: t.number, sum: t.number }, 'Renamed')

const counts = actor({
  name: 'counts',
  accepts: Input,
  emits: Output,
  state: { codec: Counts, initial: () => ({ count: 0, sum: 0 }) },
  receive: (ctx, { key, n }) => {
    if (delayMs > 0) Atomics.wait(pause, 0, 0, delayMs)
    const { count, sum } = ctx.state.get()
    const next = { count: count + 1, sum: sum + n }
    ctx.state.set(next)
    ctx.emit({ key, n, ...next })
  },
})

const name = setting('JOB', 'counts')
const stream = setting('IN', 'NUMBERS')
/** `last`, `none`, or the sequence of the last message. */
const endOf = (text: string): SourceEnd | undefined => {
  if (text === 'none') return undefined
  return text === 'last' ? { at: 'last' } : { at: 'sequence', sequence: Number(text) }
}
const end = endOf(setting('END', 'last'))

const durabilities = ['strict', 'process-crash', 'none'] as const
const durability = durabilities.find(name => name === setting('DURABILITY', 'process-crash'))

export default job(name, {
  ...(durability === undefined ? {} : { durability }),
  limits: JSON.parse(setting('LIMITS', '{}')),
})
  .from(
    jetstream.source({
      id: 'numbers',
      stream,
      accepts: Input,
      ...(end === undefined ? {} : { end }),
    }),
  )
  .keyBy(({ key }) => key)
  .to(counts, { parallelism: numberSetting('PARALLELISM', 2) })
  .into(
    jetstream.sink({
      id: 'out',
      subject: setting('SUBJECT', 'counted'),
      stream: setting('OUT', 'COUNTED'),
    }),
  )
  .checkpoint({ intervalMs: numberSetting('INTERVAL_MS', 250) })
