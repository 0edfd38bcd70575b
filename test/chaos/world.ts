/** The servers of one run, with its input and output streams. */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type EmbeddedServers, startServers } from '../../actors/index.js'
import type { FlightRecord } from '../../examples/flights/expected.js'
import { connectNats } from '../../lib/adapters/nats/connection.js'
import { natsEventLog } from '../../lib/adapters/nats/event-log.js'
import { SluiceError, type StreamError } from '../../lib/errors.js'
import type { EventLog } from '../../lib/ports/event-log.js'

export const inputStream = 'FLIGHTS'
export const outputStream = 'DELAYS'
const inputSubject = 'flights'

export interface World {
  readonly servers: EmbeddedServers
  readonly log: EventLog
  /** Kills a server; `start` brings it back on its folder. */
  kill(which: 'nats' | 'redis'): Promise<void>
  start(which: 'nats' | 'redis'): Promise<void>
  /** Servers that are away now. */
  readonly away: ReadonlySet<'nats' | 'redis'>
  /** How often a server was killed. */
  readonly outages: number
  close(): Promise<void>
}

/** What the work gives; throws its error. */
export const done = async <A>(work: TaskEither<StreamError, A>): Promise<A> => {
  const outcome = await work()
  if (E.isLeft(outcome)) throw new SluiceError(outcome.left)
  return outcome.right
}

/** Starts fresh servers in a folder, with an empty input stream. */
export const openWorld = async (folder: string): Promise<World> => {
  const servers = await startServers({ folder })
  const { natsUrl } = servers
  const link = await done(connectNats({ url: natsUrl, name: 'chaos' }))
  const log = natsEventLog(link)
  await done(log.create({ name: inputStream, subjects: [inputSubject], storage: 'file' }))
  const away = new Set<'nats' | 'redis'>()
  let outages = 0
  return {
    servers,
    log,
    away,
    get outages() {
      return outages
    },
    kill: async which => {
      away.add(which)
      outages += 1
      await servers.kill(which)
    },
    start: async which => {
      await servers.start(which)
      away.delete(which)
    },
    close: async () => {
      await link.close()()
      await servers.stop()
    },
  }
}

const batchMax = 1_000
const retryMs = 100

/**
 * Brings the flights into the input stream within about `feedMs`, exactly once each though the server
 * may die meanwhile: flight `n` is accepted at sequence `n` only.
 */
export const feed = async (
  log: EventLog,
  flights: readonly FlightRecord[],
  feedMs: number,
  signal: AbortSignal,
): Promise<void> => {
  const startedAt = performance.now()
  let stored = 0
  while (stored < flights.length && !signal.aborted) {
    const share = feedMs === 0 ? 1 : Math.min(1, (performance.now() - startedAt) / feedMs)
    const due = Math.min(Math.floor(flights.length * share), stored + batchMax)
    if (due > stored && (await publishBatch(log, flights, stored, due))) {
      stored = due
      continue
    }
    await new Promise(resolve => setTimeout(resolve, due > stored ? retryMs : 10))
    const facts = await log.facts(inputStream)()
    if (E.isRight(facts)) stored = facts.right.lastSequence
  }
}

/** True when all of them were stored. */
const publishBatch = async (
  log: EventLog,
  flights: readonly FlightRecord[],
  from: number,
  to: number,
): Promise<boolean> => {
  const outcomes = flights.slice(from, to).map(
    (flight, index) =>
      new Promise<boolean>(resolve => {
        log.publish(
          inputSubject,
          Buffer.from(JSON.stringify(flight)),
          { expectedLastSubjectSequence: from + index },
          outcome => resolve(outcome.type === 'stored'),
        )
      }),
  )
  return (await Promise.all(outcomes)).every(stored => stored)
}

/** How many messages the output has; 0 while that is not known. */
export const outputCount = async (log: EventLog): Promise<number> => {
  const facts = await log.facts(outputStream)()
  return E.isRight(facts) ? facts.right.messages : 0
}

/** Everything in the output, in its order. Asks twice: a server may have come back just now. */
export const readOutput = async (log: EventLog): Promise<readonly unknown[]> => {
  const first = await log.facts(outputStream)()
  const { lastSequence, messages } = E.isRight(first)
    ? first.right
    : await done(log.facts(outputStream))
  if (messages === 0) return []
  return new Promise((resolve, reject) => {
    const outputs: unknown[] = []
    const reader = log.read({
      stream: outputStream,
      start: { at: 'first' },
      messagesMax: 4_096,
      bytesMax: 4 * 1024 * 1024,
      onMessage: ({ sequence, payload }) => {
        outputs.push(parsed(payload))
        if (sequence < lastSequence) return
        reader.close()
        resolve(outputs)
      },
      onFailed: error => reject(new SluiceError(error)),
    })
  })
}

/** What is no JSON is an output too, and a wrong one. */
const parsed = (payload: Uint8Array): unknown => {
  const text = new TextDecoder().decode(payload)
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
