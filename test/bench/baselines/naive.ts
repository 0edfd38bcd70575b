/** A durable consumer as tutorials write it: for each message two writes to Redis, then its acknowledgement. */
import { Redis } from 'ioredis'
import { AckPolicy } from 'nats'
import { textOf } from '../parameters.js'
import { flightOf, nats, records, see, stream } from './flight.js'

const redis = new Redis(textOf('REDIS_URL'))
const manager = await nats.jetstreamManager()
const durable = `naive-${process.pid}`
await manager.consumers.add(stream, { durable_name: durable, ack_policy: AckPolicy.Explicit })
const consumer = await nats.jetstream().consumers.get(stream, durable)
let seen = 0
for await (const message of await consumer.consume()) {
  const { origin, delay } = flightOf(message.data)
  await Promise.all([
    redis.hincrby(`naive:${origin}`, 'flights', 1),
    redis.hincrby(`naive:${origin}`, 'total', delay),
  ])
  message.ack()
  see()
  seen += 1
  if (seen === records) break
}
process.exit(0)
