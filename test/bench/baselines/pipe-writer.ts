/** Makes records, packs them in frames with msgpackr, and publishes them, acknowledged on one inbox. */
import { Packr } from 'msgpackr'
import { connect, createInbox } from 'nats'
import { textOf } from '../parameters.js'
import { type Reading, recordAt } from '../records.js'
import { creditEvery, frameRecords, framesAhead, pipe } from './pipe.js'

const { subject, credit, records, keys } = pipe
const nats = await connect({ servers: textOf('NATS_URL'), noAsyncTraces: true })
const packr = new Packr({ useRecords: true })

let sent = 0
let acknowledged = 0
let taken = 0
let wake = (): void => {}
const inbox = createInbox()
nats.subscribe(inbox, {
  callback: () => {
    acknowledged += 1
    wake()
  },
})
nats.subscribe(credit, {
  callback: () => {
    taken += creditEvery
    wake()
  },
})
await nats.flush()

for (let from = 0; from < records; from += frameRecords) {
  while (sent - Math.min(acknowledged, taken) >= framesAhead) {
    await new Promise<void>(resolve => {
      wake = resolve
    })
  }
  const frame: Reading[] = []
  const to = Math.min(records, from + frameRecords)
  for (let n = from; n < to; n += 1) frame.push(recordAt(n, keys))
  nats.publish(subject, packr.pack(frame), { reply: inbox })
  sent += 1
  // What has been packed leaves, and what has come is read, between two frames.
  await new Promise(setImmediate)
}
while (acknowledged < sent) {
  await new Promise<void>(resolve => {
    wake = resolve
  })
}
process.exit(0)
