/** Counts the records of each user and publishes the counts, with no promise whatever. */
import * as t from 'io-ts'
import { numberOf, textOf } from '../parameters.js'
import { consume } from './consume.js'

const Event = t.type({ at: t.number, user: t.string })

const records = numberOf('BENCH_RECORDS')
const subject = textOf('BENCH_OUT').toLowerCase()
const decoder = new TextDecoder()
const encoder = new TextEncoder()
const counts = new Map<string, number>()
let seen = 0
await consume(textOf('BENCH_STREAM'), (data, nats) => {
  const event: unknown = JSON.parse(decoder.decode(data))
  if (!Event.is(event)) throw new Error('that is no event')
  const { at, user } = event
  const count = (counts.get(user) ?? 0) + 1
  counts.set(user, count)
  nats.publish(subject, encoder.encode(JSON.stringify({ at, user, count })))
  seen += 1
  return seen < records
})
process.exit(0)
