/**
 * What the NATS client and the JetStream API report, as our closed set of failures.
 *
 *   NE1. `timed-out` and `unavailable` mean that the outcome is unknown; every other type means that
 *       the server answered and did not do it.
 *   NE2. A code that this table does not know is never turned into success or into "missing".
 */
import { NatsError } from 'nats'
import { messageOf, type StreamError, type StreamErrorType, streamError } from '../../errors.js'

/** The answer of the JetStream API when it refuses. */
export interface ApiRefusal {
  readonly code?: number
  readonly err_code?: number
  readonly description?: string
}

/** Codes of the JetStream API that decisions depend on. */
export const apiCode = {
  messageNotFound: 10037,
  nameInUse: 10058,
  streamNotFound: 10059,
  wrongLastSequence: 10071,
  storeFailed: 10077,
} as const

/** Whether the JetStream API refused with a code. */
export const isApiError = (thrown: unknown, code: number): boolean =>
  thrown instanceof NatsError && thrown.api_error?.err_code === code

const startWithJetStream =
  'Start the server with `nats-server -js`, or add `jetstream {}` to its configuration.'
const raiseLimits = 'Remove streams that are no longer needed, or raise the limits of the server.'

const known: ReadonlyMap<number, readonly [StreamErrorType, string?]> = new Map<
  number,
  readonly [StreamErrorType, string?]
>([
  [10002, ['full', raiseLimits]], // resource limits exceeded for account
  [10008, ['unavailable']], // JetStream system temporarily unavailable
  [10009, ['unavailable']], // JetStream cluster is not the leader
  [10014, ['missing']], // consumer not found
  [10023, ['full', raiseLimits]], // insufficient resources
  [10026, ['full', raiseLimits]], // maximum consumers limit reached
  [10027, ['full', raiseLimits]], // maximum number of streams reached
  [10028, ['full', raiseLimits]], // insufficient memory resources available
  [apiCode.messageNotFound, ['missing']],
  [10039, ['refused', 'Enable JetStream for the account that the credentials belong to.']],
  [10047, ['full', raiseLimits]], // insufficient storage resources available
  [10054, ['invalid', 'Make the message smaller, or raise the max_msg_size of the stream.']],
  [apiCode.nameInUse, ['conflict']],
  [apiCode.streamNotFound, ['missing']],
  [10065, ['conflict', 'Remove the stream that has these subjects, or choose other subjects.']],
  [apiCode.wrongLastSequence, ['fenced']],
  [10076, ['refused', startWithJetStream]],
])

/** What to do when a server runs without JetStream. */
export const jetStreamAdvice = startWithJetStream

const typeOfCode = (code: number | undefined): StreamErrorType => {
  if (code === 404) return 'missing'
  if (code === 400) return 'invalid'
  return code !== undefined && code >= 500 ? 'unavailable' : 'refused'
}

/** The failure that a refusal of the JetStream API stands for. `doing` completes "Could not …". */
export const refusalError = (doing: string, refusal: ApiRefusal): StreamError => {
  const [type, next] = known.get(refusal.err_code ?? 0) ?? [typeOfCode(refusal.code)]
  const why = refusal.description ?? 'no reason given'
  const code = refusal.err_code ?? refusal.code
  const message = `Could not ${doing}: the server says "${why}" (code ${code}).`
  return streamError(type, message, next === undefined ? {} : { next })
}

/** The failure that something thrown by the client stands for. `doing` completes "Could not …". */
export const thrownError = (doing: string, thrown: unknown): StreamError => {
  if (!(thrown instanceof NatsError)) {
    return streamError('unavailable', `Could not ${doing}: ${messageOf(thrown)}.`, {
      cause: thrown,
    })
  }
  if (thrown.api_error !== undefined) return refusalError(doing, thrown.api_error)
  switch (thrown.code) {
    case 'TIMEOUT':
      return streamError('timed-out', `Could not ${doing}: the server did not answer in time.`)
    case '503':
      return streamError('unavailable', `Could not ${doing}: nobody answers for JetStream.`, {
        next: startWithJetStream,
      })
    case 'PERMISSIONS_VIOLATION':
      return streamError('refused', `Could not ${doing}: ${thrown.message}.`, {
        next: 'Give the user of this connection the permission that the message names.',
      })
    default:
      return streamError('unavailable', `Could not ${doing}: ${thrown.message}.`, {
        cause: thrown,
      })
  }
}
