/** The input: real flights of the United States in 2001, and how they get into a stream. */
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import * as t from 'io-ts'
import type { NatsConnection } from 'nats'
import type { FlightRecord } from './expected.js'
import { Flight } from './job.js'

const stream = 'FLIGHTS'
const subject = 'flights'

/** The flights of the package vega-datasets, in the order of their departure. */
export const loadFlights = async (): Promise<readonly FlightRecord[]> => {
  const file = new URL('../data/flights-20k.json', import.meta.resolve('vega-datasets'))
  const flights: unknown = JSON.parse(await readFile(file, 'utf8'))
  if (!t.array(Flight).is(flights)) throw new Error(`${file.href} does not hold flights`)
  return flights
}

/** Makes the empty stream that the job reads. */
export const createInput = async (nats: NatsConnection): Promise<void> => {
  const manager = await nats.jetstreamManager()
  await manager.streams.add({ name: stream, subjects: [subject] })
}

const sliceRecords = 100
const sliceEveryMs = 20

/**
 * Publishes the flights in slices, at a bounded rate. `room` resolves when the next slice may follow;
 * `onFed` is told how many records the stream has. Rejects when the server stores one elsewhere than
 * at its place.
 */
export const feed = async (
  nats: NatsConnection,
  flights: readonly FlightRecord[],
  room: () => Promise<void>,
  onFed: (records: number) => void,
): Promise<void> => {
  const jetstream = nats.jetstream()
  let dueAt = performance.now()
  for (let from = 0; from < flights.length; from += sliceRecords) {
    await room()
    dueAt = Math.max(dueAt, performance.now()) + sliceEveryMs
    const slice = flights.slice(from, from + sliceRecords)
    const acks = await Promise.all(
      slice.map((flight, i) =>
        jetstream.publish(subject, JSON.stringify(flight), {
          expect: { lastSequence: from + i },
        }),
      ),
    )
    const last = acks.at(-1)?.seq
    if (last !== from + slice.length) throw new Error(`flight ${from + slice.length} is at ${last}`)
    onFed(last)
    await pause(Math.max(0, dueAt - performance.now()))
  }
}
