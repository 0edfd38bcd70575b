/** Input for benchmarks: streams of messages that are there before anything is measured. */
import type { NatsConnection } from 'nats'

const sliceMessages = 5_000

/** Fills a new stream with `messages` messages. */
export const fillStream = async (
  nats: NatsConnection,
  stream: string,
  messages: number,
  messageAt: (n: number) => string,
): Promise<void> => {
  const manager = await nats.jetstreamManager()
  const subject = stream.toLowerCase()
  await manager.streams.add({ name: stream, subjects: [subject] })
  const encoder = new TextEncoder()
  for (let from = 0; from < messages; from += sliceMessages) {
    const to = Math.min(messages, from + sliceMessages)
    for (let n = from; n < to; n += 1) nats.publish(subject, encoder.encode(messageAt(n)))
    await nats.flush()
  }
  // Without acknowledgements, the stream itself says whether it has all of them.
  for (;;) {
    const { state } = await manager.streams.info(stream)
    if (state.messages === messages) return
  }
}

/** An event of 128 bytes as JSON, of one of 10 000 users. */
export const eventAt = (n: number): string => JSON.stringify(eventOf(n))

/** The same as a value. */
export const eventOf = (n: number) => {
  const event = {
    user: `user-${String((n * 7_919) % 10_000).padStart(6, '0')}`,
    page: `/p/${String(n % 977).padStart(4, '0')}`,
    value: n % 100,
    note: '',
  }
  return { ...event, note: 'x'.repeat(128 - JSON.stringify(event).length) }
}
