/**
 * Publishes with acknowledgements on one shared inbox: five to ten times faster than the client's
 * own request per message.
 *
 *   NU1. Every publish has exactly one outcome, never inside the call of `publish`.
 *   NU2. Nothing is ever sent twice: callers own their windows.
 *   NU3. Outcomes of one cause (a disconnect, a sweep of late ones) come in order of publishing.
 *   NU4. What is in flight when the link goes down fails at once: the client drops what it had not
 *       sent, and nobody knows what the server stored.
 */
import { createInbox, type Msg, MsgHdrsImpl, NatsError } from 'nats'
import { type StreamError, streamError } from '../../errors.js'
import type { PublishOptions, PublishOutcome } from '../../ports/event-log.js'
import { crash } from './callbacks.js'
import type { LinkStatus, NatsLink } from './connection.js'
import { type ApiRefusal, apiCode, refusalError } from './errors.js'
import { checkHeaderName, checkSubject, headerValue } from './subjects.js'

interface InFlight {
  readonly subject: string
  readonly sentAtTick: number
  readonly onOutcome: (outcome: PublishOutcome) => void
}

interface Ack {
  readonly seq?: number
  readonly error?: ApiRefusal
}

const ticksPerTimeout = 8
const decoder = new TextDecoder()

/** Headers that are encoded already: the client's own checks cost more than the publish. */
class EncodedHeaders extends MsgHdrsImpl {
  constructor(private readonly encoded: Uint8Array) {
    super()
  }
  override encode(): Uint8Array {
    return this.encoded
  }
}

const encodeHeaders = (options: PublishOptions): EncodedHeaders | undefined => {
  const { expectedLastSubjectSequence: expected, headers } = options
  if (expected === undefined && headers === undefined) return undefined
  let text = 'NATS/1.0\r\n'
  if (expected !== undefined) text += `Nats-Expected-Last-Subject-Sequence: ${expected}\r\n`
  if (headers !== undefined) {
    for (const name of Object.keys(headers)) {
      checkHeaderName(name)
      text += `${name}: ${headerValue(headers[name] ?? '')}\r\n`
    }
  }
  return new EncodedHeaders(Buffer.from(`${text}\r\n`))
}

const failed = (error: StreamError): PublishOutcome => ({ type: 'failed', error })

/** What an error in an acknowledgement says. Exported for its tests. */
export const refusedOutcome = (subject: string, refusal: ApiRefusal): PublishOutcome => {
  const description = refusal.description ?? ''
  if (refusal.err_code === apiCode.wrongLastSequence) {
    const digits = /(\d+)\s*$/.exec(description)?.[1]
    if (digits !== undefined) return { type: 'wrong-last-sequence', actual: Number(digits) }
  }
  if (refusal.err_code === apiCode.storeFailed && /maximum|no space/.test(description)) {
    const message = `The stream of subject ${subject} is full: ${description}.`
    return failed(streamError('full', message, { next: 'Raise its limits, or read and purge it.' }))
  }
  return failed(refusalError(`publish to ${subject}`, refusal))
}

const outcomeOf = (subject: string, message: Msg): PublishOutcome => {
  if (message.data.length === 0) {
    const description = message.headers?.code === 503 ? 'no stream takes it' : 'the ack is empty'
    return failed(
      streamError('missing', `Could not publish to ${subject}: ${description}.`, {
        next: 'Create a stream with this subject.',
      }),
    )
  }
  let ack: Ack
  try {
    ack = JSON.parse(decoder.decode(message.data))
  } catch (thrown) {
    const text = `Could not publish to ${subject}: the answer is no acknowledgement.`
    return failed(streamError('unavailable', text, { cause: thrown }))
  }
  if (ack.error !== undefined) return refusedOutcome(subject, ack.error)
  if (typeof ack.seq === 'number') return { type: 'stored', sequence: ack.seq }
  const text = `Could not publish to ${subject}: the answer is no acknowledgement.`
  return failed(streamError('unavailable', text))
}

/** The publishing half of the event log. */
export class SharedAckPublisher {
  private readonly inbox = createInbox()
  private readonly inFlight = new Map<number, InFlight>()
  private readonly rejected: Array<() => void> = []
  private readonly tickMs: number
  private open = true
  private next = 1
  private tick = 0
  private sweeper: NodeJS.Timeout | undefined

  constructor(
    private readonly link: NatsLink,
    private readonly ackTimeoutMs: number,
  ) {
    this.tickMs = Math.max(1, Math.ceil(ackTimeoutMs / ticksPerTimeout))
    const subscription = link.connection.subscribe(`${this.inbox}.*`, {
      callback: (_error, message) => this.onAck(message),
    })
    link.listen(status => {
      if (status.type === 'closing') this.open = false
      this.onStatus(status)
      if (status.type === 'closing') subscription.unsubscribe()
    })
  }

  /**
   * See `EventLog.publish`. Throws only `InvariantViolation`, for a subject or header that is no
   * token.
   */
  publish(
    subject: string,
    payload: Uint8Array,
    options: PublishOptions,
    onOutcome: (outcome: PublishOutcome) => void,
  ): void {
    checkSubject(subject)
    const headers = encodeHeaders(options)
    if (!this.open || this.link.state !== 'up') {
      this.reject(onOutcome, this.unavailable(subject))
      return
    }
    const number = this.next++
    const reply = `${this.inbox}.${number}`
    try {
      const { connection } = this.link
      connection.publish(subject, payload, headers === undefined ? { reply } : { reply, headers })
    } catch (thrown) {
      this.reject(onOutcome, this.unsendable(subject, payload, thrown))
      return
    }
    this.inFlight.set(number, { subject, sentAtTick: this.tick, onOutcome })
    this.sweeper ??= setInterval(() => this.sweep(), this.tickMs)
  }

  private onAck(message: Msg): void {
    const number = Number(message.subject.slice(this.inbox.length + 1))
    const entry = this.inFlight.get(number)
    if (entry === undefined) return
    this.inFlight.delete(number)
    this.settle(entry, outcomeOf(entry.subject, message))
  }

  private settle(entry: InFlight, outcome: PublishOutcome): void {
    try {
      entry.onOutcome(outcome)
    } catch (thrown) {
      crash(thrown)
    }
  }

  /**
   * One timer for all: entries are in order of sending, so the late ones come first. Ticks, not the
   * clock: after a pause of the whole process, acks that wait in the socket get their turn first.
   */
  private sweep(): void {
    this.tick += 1
    for (const [number, entry] of this.inFlight) {
      if (this.tick - entry.sentAtTick <= ticksPerTimeout) break
      this.inFlight.delete(number)
      const late = `not acknowledged within ${this.ackTimeoutMs} ms`
      const text = `The publish to ${entry.subject} was ${late}.`
      this.settle(entry, failed(streamError('timed-out', text)))
    }
    if (this.inFlight.size === 0) {
      clearInterval(this.sweeper)
      this.sweeper = undefined
    }
  }

  private onStatus(status: LinkStatus): void {
    switch (status.type) {
      case 'disconnected':
      case 'closing':
      case 'closed':
        this.failWhere(() => true, this.unavailable)
        break
      case 'publish-denied':
        this.failWhere(entry => entry.subject === status.subject, this.denied)
    }
  }

  private failWhere(
    affected: (entry: InFlight) => boolean,
    errorOf: (subject: string) => StreamError,
  ): void {
    const entries = [...this.inFlight].filter(([, entry]) => affected(entry))
    for (const [number] of entries) this.inFlight.delete(number)
    for (const [, entry] of entries) this.settle(entry, failed(errorOf(entry.subject)))
  }

  /**
   * Not at once (NU1), and not in a microtask: a caller that tries again at once must not starve
   * I/O.
   */
  private reject(onOutcome: (outcome: PublishOutcome) => void, error: StreamError): void {
    if (this.rejected.length === 0) setImmediate(() => this.flushRejected())
    this.rejected.push(() => onOutcome(failed(error)))
  }

  private flushRejected(): void {
    for (const tell of this.rejected.splice(0)) {
      try {
        tell()
      } catch (thrown) {
        crash(thrown)
      }
    }
  }

  private readonly unavailable = (subject: string): StreamError =>
    streamError(
      'unavailable',
      `The publish to ${subject} has no outcome: the connection to ${this.link.address} is down.`,
    )

  private readonly denied = (subject: string): StreamError =>
    streamError('refused', `The server does not permit publishing to ${subject}.`, {
      next: 'Give the user of this connection the permission to publish there.',
    })

  private unsendable(subject: string, payload: Uint8Array, thrown: unknown): StreamError {
    if (!(thrown instanceof NatsError) || thrown.code !== 'MAX_PAYLOAD_EXCEEDED') {
      return this.unavailable(subject)
    }
    const limit = this.link.payloadBytesMax
    const what = `A message of ${payload.length} bytes for ${subject}`
    const text = `${what} exceeds the server's limit of ${limit} bytes.`
    return streamError('invalid', text, {
      next: 'Make the records smaller, or raise max_payload in the configuration of the server.',
    })
  }
}
