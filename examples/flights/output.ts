/** The stream that the job writes: how much it holds, and all that it holds. */
import { setTimeout as pause } from 'node:timers/promises'
import { type JetStreamManager, type NatsConnection, NatsError } from 'nats'
import { Delay } from './job.js'

const stream = 'DELAYS'
const subject = 'delays'
const lookEveryMs = 50

/** Tells how many records the stream holds whenever that changes, until `isOver`. */
export const followOutput = async (
  nats: NatsConnection,
  onCount: (records: number) => void,
  isOver: () => boolean,
): Promise<void> => {
  const manager = await nats.jetstreamManager()
  let last = 0
  while (!isOver()) {
    const count = await countOf(manager)
    if (count !== last) onCount(count)
    last = count
    await pause(lookEveryMs)
  }
}

const countOf = async (manager: JetStreamManager): Promise<number> => {
  try {
    return (await manager.streams.info(stream)).state.messages
  } catch (error) {
    // The job's sink makes the stream when it starts.
    if (error instanceof NatsError && error.code === '404') return 0
    throw error
  }
}

/** Every message of the stream, in its order, parsed. */
export const readOutput = async (nats: NatsConnection): Promise<readonly unknown[]> => {
  const manager = await nats.jetstreamManager()
  const outputs: unknown[] = []
  if ((await countOf(manager)) === 0) return outputs
  const consumer = await nats.jetstream().consumers.get(stream)
  for await (const message of await consumer.consume()) {
    outputs.push(message.json())
    if (message.info.pending === 0) break
  }
  return outputs
}

/** Puts another mean into the last output, as a person might: the comparison must notice. */
export const alterOutput = async (nats: NatsConnection): Promise<void> => {
  const manager = await nats.jetstreamManager()
  const last = await manager.streams.getMessage(stream, { last_by_subj: subject })
  const delay: unknown = last.json()
  if (!Delay.is(delay)) throw new Error(`the last output is no delay: ${last.string()}`)
  const altered = { ...delay, meanDelay: delay.meanDelay + 1 }
  await manager.streams.deleteMessage(stream, last.seq)
  await nats.jetstream().publish(subject, JSON.stringify(altered))
}
