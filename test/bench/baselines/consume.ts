/** A consumer without acknowledgements, for the programs that read a stream as it is written. */
import { AckPolicy, connect, DeliverPolicy, type NatsConnection } from 'nats'
import { textOf } from '../parameters.js'

/** Calls `each` with every message of a stream until it answers false. */
export const consume = async (
  stream: string,
  each: (data: Uint8Array, nats: NatsConnection) => boolean,
): Promise<void> => {
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
  await new Promise<void>(resolve => {
    void consumer.consume({
      max_messages: 5_000,
      callback: message => {
        if (!each(message.data, nats)) resolve()
      },
    })
  })
  await nats.drain()
}
