/**
 * The event log on JetStream.
 *
 *   NJ1. `create` leaves a stream that exists as it is, and says `conflict` when its subjects or
 *       storage are not those asked for.
 *   NJ2. `purge` never moves the end of a stream: the server would, when asked to purge beyond it.
 *   NJ3. Every call is answered within `apiTimeoutMs`.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import {
  DiscardPolicy,
  millis,
  nanos,
  RetentionPolicy,
  StorageType,
  type StoredMsg,
  type StreamInfo,
  type StreamConfig as WireConfig,
} from 'nats'
import { type StreamError, streamError } from '../../errors.js'
import type { EventLog, LogMessage, StreamConfig, StreamFacts } from '../../ports/event-log.js'
import type { NatsLink } from './connection.js'
import { apiCode, isApiError, thrownError } from './errors.js'
import { storedMessage } from './messages.js'
import { SharedAckPublisher } from './publisher.js'
import { openReader } from './reader.js'
import { isPattern, isStreamName } from './subjects.js'

/** What `natsEventLog` takes besides the link. */
export interface NatsEventLogOptions {
  /** After so long without an acknowledgement a publish is `timed-out`. */
  readonly ackTimeoutMs?: number
}

/** Defaults of `natsEventLog`. */
export const eventLogDefaults = { ackTimeoutMs: 2_000 } as const

/** The event log of a link. It ends with the link. */
export const natsEventLog = (link: NatsLink, options: NatsEventLogOptions = {}): EventLog => {
  const publisher = new SharedAckPublisher(
    link,
    options.ackTimeoutMs ?? eventLogDefaults.ackTimeoutMs,
  )
  return {
    get payloadBytesMax() {
      return link.payloadBytesMax
    },
    publish: (subject, payload, publishOptions, onOutcome) =>
      publisher.publish(subject, payload, publishOptions, onOutcome),
    read: request => openReader(link, request),
    facts: stream => ask(`read the facts of stream ${stream}`, [stream], () => facts(link, stream)),
    streamOf: subject => streamOf(link, subject),
    last: (stream, subject) => last(link, stream, subject),
    at: (stream, sequence) =>
      ask(`read message ${sequence} of stream ${stream}`, [stream], () =>
        sequence < 1
          ? Promise.resolve(undefined)
          : found(() => link.manager.streams.getMessage(stream, { seq: sequence })),
      ),
    create: config => create(link, config),
    remove: stream => ask(`remove stream ${stream}`, [stream], () => remove(link, stream)),
    list: prefix => ask(`list the streams of ${prefix}`, [], () => list(link, prefix)),
    purge: (stream, below) =>
      ask(`purge stream ${stream}`, [stream], () => purge(link, stream, below)),
  }
}

/**
 * Runs calls of the API, as a task that never throws. `streams` are names that must be possible.
 */
const ask =
  <A>(
    doing: string,
    streams: readonly string[],
    call: () => Promise<A>,
  ): TaskEither<StreamError, A> =>
  async () => {
    const bad = streams.find(name => !isStreamName(name))
    if (bad !== undefined) {
      return E.left(
        streamError('invalid', `${JSON.stringify(bad)} cannot be the name of a stream.`),
      )
    }
    try {
      return E.right(await call())
    } catch (thrown) {
      return E.left(thrownError(doing, thrown))
    }
  }

const factsOf = ({ config, created, state }: StreamInfo): StreamFacts => ({
  name: config.name,
  subjects: config.subjects ?? [],
  createdAt: created,
  firstSequence: state.first_seq,
  lastSequence: state.last_seq,
  messages: state.messages,
  retention: config.retention,
  storage: config.storage,
  maxAgeMs: millis(config.max_age),
  duplicateWindowMs: millis(config.duplicate_window),
})

const facts = async (link: NatsLink, stream: string): Promise<StreamFacts> =>
  factsOf(await link.manager.streams.info(stream))

const found = async (get: () => Promise<StoredMsg>): Promise<LogMessage | undefined> => {
  try {
    return storedMessage(await get())
  } catch (thrown) {
    if (isApiError(thrown, apiCode.messageNotFound)) return undefined
    throw thrown
  }
}

const noSubject = (subject: string): TaskEither<StreamError, never> => {
  const error = streamError('invalid', `${JSON.stringify(subject)} is no subject.`)
  return async () => E.left(error)
}

const last = (
  link: NatsLink,
  stream: string,
  subject: string,
): TaskEither<StreamError, LogMessage | undefined> =>
  isPattern(subject)
    ? ask(`read the last message of ${subject} in stream ${stream}`, [stream], () =>
        found(() => link.manager.streams.getMessage(stream, { last_by_subj: subject })),
      )
    : noSubject(subject)

const streamOf = (link: NatsLink, subject: string): TaskEither<StreamError, string | undefined> =>
  isPattern(subject)
    ? ask(`find the stream of subject ${subject}`, [], async () => {
        const [name] = await link.manager.streams.names(subject).next()
        return name
      })
    : noSubject(subject)

const wireConfig = (config: StreamConfig): Partial<WireConfig> => ({
  name: config.name,
  subjects: [...config.subjects],
  storage: config.storage === 'file' ? StorageType.File : StorageType.Memory,
  retention: RetentionPolicy.Limits,
  discard: DiscardPolicy.New,
  num_replicas: 1,
  ...(config.bytesMax === undefined ? {} : { max_bytes: config.bytesMax }),
  ...(config.messagesPerSubjectMax === undefined
    ? {}
    : { max_msgs_per_subject: config.messagesPerSubjectMax }),
  ...(config.duplicateWindowMs === undefined
    ? {}
    : { duplicate_window: nanos(config.duplicateWindowMs) }),
  ...(config.description === undefined ? {} : { description: config.description }),
})

const sameSubjects = (left: readonly string[], right: readonly string[]): boolean =>
  left.length === right.length && left.every(subject => right.includes(subject))

/** NJ1. */
const create = (link: NatsLink, config: StreamConfig): TaskEither<StreamError, StreamFacts> => {
  const bad = config.subjects.find(subject => !isPattern(subject))
  if (bad !== undefined) return noSubject(bad)
  const doing = `create stream ${config.name}`
  return async () => {
    const created = await ask(doing, [config.name], async () => {
      try {
        return factsOf(await link.manager.streams.add(wireConfig(config)))
      } catch (thrown) {
        if (isApiError(thrown, apiCode.nameInUse)) return facts(link, config.name)
        throw thrown
      }
    })()
    if (E.isLeft(created)) return created
    const { subjects, storage } = created.right
    if (sameSubjects(subjects, config.subjects) && storage === config.storage) return created
    const has = `subjects ${subjects.join(', ')} in ${storage} storage`
    const text = `Stream ${config.name} exists with ${has}.`
    return E.left(
      streamError('conflict', text, { next: 'Remove that stream, or use another name.' }),
    )
  }
}

const remove = async (link: NatsLink, stream: string): Promise<void> => {
  try {
    await link.manager.streams.delete(stream)
  } catch (thrown) {
    if (!isApiError(thrown, apiCode.streamNotFound)) throw thrown
  }
}

const list = async (link: NatsLink, prefix: string): Promise<readonly string[]> => {
  const names: string[] = []
  for await (const name of link.manager.streams.names()) {
    if (name.startsWith(prefix)) names.push(name)
  }
  return names
}

/** NJ2. To the server, purging below 0 or 1 means purging everything. */
const purge = async (link: NatsLink, stream: string, below: number): Promise<void> => {
  const { state } = await link.manager.streams.info(stream)
  const end = Math.min(below, state.last_seq + 1)
  if (end <= Math.max(1, state.first_seq)) return
  await link.manager.streams.purge(stream, { seq: end })
}
