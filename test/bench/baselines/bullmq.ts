/** The same work as jobs of a queue: one worker, 100 jobs at a time, in batches of one flight each. */
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'
import type { Flight } from './flight.js'

const records = numberOf('BENCH_RECORDS')
const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)
const { hostname: host, port } = new URL(textOf('REDIS_URL'))
const connection = { host, port: Number(port), maxRetriesPerRequest: null }
const name = `flights-${process.pid}`

// The jobs are there before any is taken, as the stream's messages are.
const queue = new Queue<Flight>(name, { connection })
const sliceJobs = 2_000
for (let from = 0; from < records; from += sliceJobs) {
  const count = Math.min(sliceJobs, records - from)
  const slice = Array.from({ length: count }, (_, k) => ({
    name: 'flight',
    data: { origin: `A${(from + k) % 200}`, delay: (from + k) % 60 },
    opts: { removeOnComplete: true },
  }))
  await queue.addBulk(slice)
}
const redis = new Redis({ host, port: Number(port) })
let seen = 0
await new Promise<void>((resolve, reject) => {
  const worker = new Worker<Flight>(
    name,
    async ({ data: { origin, delay } }) => {
      await Promise.all([
        redis.hincrby(`bullmq:${origin}`, 'flights', 1),
        redis.hincrby(`bullmq:${origin}`, 'total', delay),
      ])
    },
    { connection, concurrency: 100 },
  )
  worker.on('error', reject)
  worker.on('failed', (_, error) => reject(error))
  worker.on('completed', () => {
    see()
    seen += 1
    if (seen === records) resolve()
  })
})
process.exit(0)
