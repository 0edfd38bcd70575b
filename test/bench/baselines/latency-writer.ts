/** Publishes records at a steady rate, each with the moment at which it was made. */
import { setTimeout as pause } from 'node:timers/promises'
import { connect } from 'nats'
import { now } from '../moments.js'
import { numberOf, textOf } from '../parameters.js'

const records = numberOf('BENCH_RECORDS')
const perSecond = numberOf('BENCH_RATE')
const subject = textOf('BENCH_STREAM').toLowerCase()
const nats = await connect({ servers: textOf('NATS_URL'), noAsyncTraces: true })
const encoder = new TextEncoder()
const startedAt = now()
for (let n = 0; n < records; ) {
  const due = Math.min(records, Math.floor(((now() - startedAt) * perSecond) / 1_000))
  for (; n < due; n += 1) {
    const event = { at: now(), user: `user-${(n * 7_919) % 10_000}` }
    nats.publish(subject, encoder.encode(JSON.stringify(event)))
  }
  await pause(1)
}
await nats.drain()
