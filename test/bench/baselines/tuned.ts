/**
 * The same by somebody who has measured: batches of 200, summed up in memory, one pipeline to Redis
 * for each, and one acknowledgement for all of its messages; the next batch is fetched meanwhile.
 */
import { Redis } from 'ioredis'
import { AckPolicy, type JsMsg } from 'nats'
import { textOf } from '../parameters.js'
import { flightOf, nats, records, see, stream } from './flight.js'

const batchMessages = 200
const redis = new Redis(textOf('REDIS_URL'))
const manager = await nats.jetstreamManager()
const durable = `tuned-${process.pid}`
await manager.consumers.add(stream, {
  durable_name: durable,
  ack_policy: AckPolicy.All,
  max_ack_pending: 20_000,
})
const consumer = await nats.jetstream().consumers.get(stream, durable)

let batch: JsMsg[] = []
let stored: Promise<void> = Promise.resolve()

/** Writes the sums of a batch, and acknowledges it once they are there. */
const store = async (messages: readonly JsMsg[], before: Promise<void>): Promise<void> => {
  const sums = new Map<string, { flights: number; total: number }>()
  for (const { data } of messages) {
    const { origin, delay } = flightOf(data)
    const sum = sums.get(origin)
    if (sum === undefined) sums.set(origin, { flights: 1, total: delay })
    else {
      sum.flights += 1
      sum.total += delay
    }
  }
  const pipeline = redis.pipeline()
  for (const [origin, { flights, total }] of sums) {
    pipeline.hincrby(`tuned:${origin}`, 'flights', flights)
    pipeline.hincrby(`tuned:${origin}`, 'total', total)
  }
  await pipeline.exec()
  await before
  messages.at(-1)?.ack()
  for (const _ of messages) see()
}

let seen = 0
await new Promise<void>((resolve, reject) => {
  void consumer.consume({
    max_messages: 10_000,
    callback: message => {
      batch.push(message)
      seen += 1
      if (batch.length < batchMessages && seen < records) return
      stored = store(batch, stored)
      stored.catch(reject)
      batch = []
      if (seen === records) stored.then(resolve, reject)
    },
  })
})
process.exit(0)
