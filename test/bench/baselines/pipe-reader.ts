/** Unpacks frames and counts their records by key, in a Map. */
import { Packr } from 'msgpackr'
import { connect, consumerOpts } from 'nats'
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'
import type { Reading } from '../records.js'
import { creditEvery, pipe } from './pipe.js'

const { stream, subject, credit, records } = pipe
const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)
const nats = await connect({ servers: textOf('NATS_URL'), noAsyncTraces: true })
const manager = await nats.jetstreamManager()
const packr = new Packr({ useRecords: true })
const counts = new Map<string, number>()

let seen = 0
let frames = 0
await new Promise<void>((resolve, reject) => {
  const options = consumerOpts()
  options.orderedConsumer()
  options.callback((error, message) => {
    if (error !== null || message === null) return reject(error)
    const frame: readonly Reading[] = packr.unpack(message.data)
    for (const { key } of frame) {
      counts.set(key, (counts.get(key) ?? 0) + 1)
      see()
    }
    seen += frame.length
    frames += 1
    if (frames % creditEvery === 0) {
      nats.publish(credit)
      void manager.streams.purge(stream, { seq: message.seq + 1 })
    }
    if (seen === records) resolve()
  })
  nats
    .jetstream()
    .subscribe(subject, options)
    .then(() => process.send?.('ready'), reject)
})
process.exit(0)
