/**
 * The worker's heartbeat: a thread of its own with a connection of its own (P13), so that neither a busy
 * event loop nor a large upload silences it. It tells for how long the main thread's loop has been
 * blocked, by the main thread's clock mark; a stopped process stops it too, which is the point.
 *
 * Entry point of a worker thread: joins adapters, as `deploy.ts` does.
 */
import { parentPort, workerData } from 'node:worker_threads'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { connectNats, type NatsLink } from '../lib/adapters/nats/connection.js'
import { natsControlBus } from '../lib/adapters/nats/control-bus.js'
import { SluiceError, streamError } from '../lib/errors.js'
import { coordinatorSubject } from '../lib/protocol/addresses.js'
import { encodeMessage } from '../lib/protocol/messages.js'

const Data = t.type({
  natsUrl: t.string,
  job: t.string,
  worker: t.string,
  everyMs: t.number,
  /** One 64-bit cell: the main thread's last mark, in milliseconds since 1970. */
  mark: new t.Type<SharedArrayBuffer>(
    'SharedArrayBuffer',
    (value): value is SharedArrayBuffer => value instanceof SharedArrayBuffer,
    (value, context) =>
      value instanceof SharedArrayBuffer ? t.success(value) : t.failure(value, context),
    t.identity,
  ),
})

const retryMs = 250

/**
 * A server that is away now is waited for: the main thread has reached it, and it is the one that
 * decides for how long an outage may last.
 */
const reach = async (natsUrl: string, name: string): Promise<NatsLink> => {
  for (;;) {
    const link = await connectNats({ url: natsUrl, name, jetstream: false })()
    if (E.isRight(link)) return link.right
    const { type } = link.left
    if (type !== 'unavailable' && type !== 'timed-out') throw new SluiceError(link.left)
    await new Promise(resolve => setTimeout(resolve, retryMs))
  }
}

const run = async (): Promise<void> => {
  const data = Data.decode(workerData)
  if (E.isLeft(data))
    throw new SluiceError(
      streamError('invalid', 'the heartbeat thread was started without its data'),
    )
  let link: NatsLink | undefined
  // In a thread, `exit` ends the thread. Said before there is a link, it ends the waiting for one.
  parentPort?.once('message', () => {
    if (link === undefined) process.exit()
    else
      void link
        .close()()
        .then(() => process.exit())
  })
  const { natsUrl, job, worker, everyMs, mark } = data.right
  link = await reach(natsUrl, `sluice ${job} ${worker} heartbeat`)
  const bus = natsControlBus(link)
  const cell = new BigInt64Array(mark)
  const subject = coordinatorSubject(job)
  setInterval(() => {
    const lagMs = Math.max(0, Date.now() - Number(Atomics.load(cell, 0)) - everyMs)
    bus.send(subject, encodeMessage({ version: 1, type: 'heartbeat', worker, lagMs }))
  }, everyMs)
}

await run()
