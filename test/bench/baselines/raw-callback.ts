/** A consumer without acknowledgements that parses each message and does nothing else. */
import { AckPolicy, connect, DeliverPolicy } from 'nats'
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'

const records = numberOf('BENCH_RECORDS')
const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)
const stream = textOf('BENCH_STREAM')
const nats = await connect({ servers: textOf('NATS_URL'), noAsyncTraces: true })
const manager = await nats.jetstreamManager()
const { name } = await manager.consumers.add(stream, {
  name: `raw-${process.pid}`,
  ack_policy: AckPolicy.None,
  deliver_policy: DeliverPolicy.All,
  mem_storage: true,
  inactive_threshold: 60_000_000_000,
})
const consumer = await nats.jetstream().consumers.get(stream, name)
const decoder = new TextDecoder()
let seen = 0
await new Promise<void>(resolve => {
  void consumer.consume({
    max_messages: 5_000,
    callback: message => {
      JSON.parse(decoder.decode(message.data))
      see()
      seen += 1
      if (seen === records) resolve()
    },
  })
})
process.exit(0)
