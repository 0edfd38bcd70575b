/**
 * Ephemeral consumers of a reader: no acknowledgements, in memory, gone by themselves.
 *
 *   NC1. The identity of the stream is read after the consumer exists: a stream that was removed and
 *       created again in between shows another creation time.
 *   NC2. A consumer starts at a sequence that is known when it exists, so that its successor can
 *       start at the same place even when nothing was delivered.
 *   NC3. A consumer starts behind a message. What that message is, is read after the consumer exists,
 *       too: a tail that was lost and has grown again has the same sequences with other messages.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { AckPolicy, type ConsumerConfig, DeliverPolicy, nanos, nuid, ReplayPolicy } from 'nats'
import { type StreamError, streamError } from '../../errors.js'
import type { LogStart, ReadRequest } from '../../ports/event-log.js'
import type { NatsLink } from './connection.js'
import { apiCode, isApiError, thrownError } from './errors.js'
import { isPattern, isStreamName } from './subjects.js'

/** A consumer that nobody pulls from for so long disappears. */
export const consumerInactiveMs = 30_000

/** A consumer that exists, and the stream as it was then. */
export interface OpenedConsumer {
  readonly name: string
  /** Stream sequence that it starts at, or the next one that exists (NC2). */
  readonly startSequence: number
  readonly streamCreatedAt: string
  readonly streamLastSequence: number
  /**
   * When the message that it starts behind was stored, in nanoseconds since 1970; undefined when it
   * is not there, or not any more (NC3).
   */
  readonly behindStoredAt: string | undefined
}

type StartConfig = Pick<ConsumerConfig, 'deliver_policy' | 'opt_start_seq' | 'opt_start_time'>

const startConfig = (start: LogStart): StartConfig => {
  switch (start.at) {
    case 'first':
      return { deliver_policy: DeliverPolicy.All }
    case 'new':
      return { deliver_policy: DeliverPolicy.New }
    case 'sequence':
      return {
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: Math.max(1, start.sequence),
      }
    case 'time':
      return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: start.time }
  }
}

/** What is wrong with a request, before anything of it reaches the wire. */
export const requestProblem = (request: ReadRequest): StreamError | undefined => {
  const { stream, subject, start, messagesMax, bytesMax } = request
  const invalid = (what: string): StreamError => streamError('invalid', `Could not read: ${what}.`)
  if (!isStreamName(stream)) return invalid(`${JSON.stringify(stream)} cannot be a stream`)
  if (subject !== undefined && !isPattern(subject)) {
    return invalid(`${JSON.stringify(subject)} is no subject`)
  }
  if (!(messagesMax >= 1 && bytesMax >= 1)) return invalid('the limits must be positive')
  if (start.at === 'time' && Number.isNaN(Date.parse(start.time))) {
    return invalid(`${JSON.stringify(start.time)} is no time`)
  }
  return undefined
}

/** The server leaves zeros at the end of a fraction out. */
const nanoseconds = (timestamp: string): string => {
  const [seconds = '', fraction = ''] = timestamp.replace(/Z$/, '').split('.')
  return `${Date.parse(`${seconds}Z`) / 1_000}${fraction.padEnd(9, '0')}`
}

const storedAt = async (
  link: NatsLink,
  stream: string,
  sequence: number,
): Promise<string | undefined> => {
  if (sequence < 1) return undefined
  try {
    const message = await link.manager.streams.getMessage(stream, { seq: sequence })
    return nanoseconds(message.timestamp)
  } catch (thrown) {
    // It may have been purged since; then there is nothing to compare.
    if (isApiError(thrown, apiCode.messageNotFound)) return undefined
    throw thrown
  }
}

/** Creates a consumer that starts at `start`; `behind` is the sequence of the one in front, if known. */
export const openConsumer =
  (
    link: NatsLink,
    request: ReadRequest,
    start: LogStart,
    behind: number | undefined,
  ): TaskEither<StreamError, OpenedConsumer> =>
  async () => {
    try {
      const { consumers, streams } = link.manager
      const name = `sluice-${nuid.next()}`
      const consumer = await consumers.add(request.stream, {
        ...startConfig(start),
        name,
        ack_policy: AckPolicy.None,
        replay_policy: ReplayPolicy.Instant,
        inactive_threshold: nanos(consumerInactiveMs),
        mem_storage: true,
        ...(request.subject === undefined ? {} : { filter_subject: request.subject }),
        ...(request.headersOnly === true ? { headers_only: true } : {}),
      })
      const stream = await streams.info(request.stream)
      return E.right({
        name,
        startSequence: consumer.delivered.stream_seq + 1,
        streamCreatedAt: stream.created,
        streamLastSequence: stream.state.last_seq,
        behindStoredAt: await storedAt(
          link,
          request.stream,
          behind ?? consumer.delivered.stream_seq,
        ),
      })
    } catch (thrown) {
      return E.left(thrownError(`read stream ${request.stream}`, thrown))
    }
  }

/** Asks for the removal of a consumer and waits for no answer: it would disappear anyway. */
export const dropConsumer = (link: NatsLink, stream: string, name: string): void => {
  if (link.state === 'up') link.connection.publish(`$JS.API.CONSUMER.DELETE.${stream}.${name}`)
}
