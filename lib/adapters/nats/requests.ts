/**
 * Questions and answers on core NATS, for what one process keeps for others.
 *
 *   NQ1. A question that nobody listens to fails at once; one without an answer, after its time. Either
 *       may be asked again.
 */
import * as E from 'fp-ts/lib/Either.js'
import { ErrorCode, NatsError } from 'nats'
import { type StreamError, streamError } from '../../errors.js'
import type { Answer, Ask } from '../../ports/requests.js'
import { crash } from './callbacks.js'
import type { NatsLink } from './connection.js'
import { thrownError } from './errors.js'
import { checkSubject } from './subjects.js'

/** How often, and how long, is asked. */
export interface AskOptions {
  readonly tries: number
  readonly timeoutMs: number
}

/** Asks on a subject. `missing`: nobody listens there. */
export const natsAsk =
  (link: NatsLink, subject: string, { tries, timeoutMs }: AskOptions): Ask =>
  question =>
  async () => {
    checkSubject(subject)
    const doing = `ask on ${subject} of the NATS server at ${link.address}`
    let failure: StreamError = streamError('invalid', `nobody was asked on ${subject}`)
    for (let n = 0; n < tries; n += 1) {
      if (n > 0) await new Promise(resolve => setTimeout(resolve, pauseMs))
      try {
        const reply = await link.connection.request(subject, question, { timeout: timeoutMs })
        return E.right(reply.data)
      } catch (thrown) {
        failure = isUnheard(thrown)
          ? streamError('missing', `nobody listens on ${subject} of the NATS server`)
          : thrownError(doing, thrown)
      }
    }
    return E.left(failure)
  }

/** Between two tries. */
const pauseMs = 250

const isUnheard = (thrown: unknown): boolean =>
  thrown instanceof NatsError && thrown.code === ErrorCode.NoResponders

/** Answers what is asked on a subject, until the link closes. Returns what ends it. */
export const natsAnswer = (link: NatsLink, subject: string, answer: Answer): (() => void) => {
  checkSubject(subject)
  const subscription = link.connection.subscribe(subject, {
    callback: (error, message) => {
      if (error !== null) return
      answer(message.data).then(reply => {
        try {
          if (!link.connection.isClosed()) message.respond(reply)
        } catch {
          // Closing, or larger than this server takes: whoever asked asks again, and gives up.
        }
      }, crash)
    },
  })
  return () => subscription.unsubscribe()
}
