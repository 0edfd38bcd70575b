/**
 * Reads a stream through pull consumers that are replaced whenever anything is in doubt.
 *
 *   NV1. Messages are handed over in stream order, none twice and none left out: a message is taken
 *       only when its number within the consumer is the next one, and a new consumer starts right
 *       behind the last message that was handed over.
 *   NV2. A stream that is not the one reading began on, or that has lost its tail, is the failure
 *       `lost`: also when the tail has grown again, unless the message that reading has come to was
 *       purged meanwhile.
 *   NV3. Tries in a row without a message or heartbeat between them are bounded.
 *   NV4. After `close`, or after `onFailed`, nothing is called any more.
 *   NV5. A session's inbox is its own: nothing meant for an earlier consumer can be taken for its.
 */
import * as E from 'fp-ts/lib/Either.js'
import { createInbox, type Msg, type NatsError, type Subscription } from 'nats'
import { type StreamError, streamError } from '../../errors.js'
import type { LogReader, LogStart, ReadRequest } from '../../ports/event-log.js'
import { crash } from './callbacks.js'
import type { LinkStatus, NatsLink } from './connection.js'
import {
  consumerInactiveMs,
  dropConsumer,
  type OpenedConsumer,
  openConsumer,
  requestProblem,
} from './consumer.js'
import { DeliveryPosition, deliveryTime } from './delivery.js'
import { messageHeaders } from './messages.js'
import { PullCredit, pullTiming } from './pull.js'

/** Limits of the tries to get a consumer again. */
export const readerRetry = { attemptsMax: 10, waitMs: 50, waitMaxMs: 2_000 } as const

interface Session {
  readonly consumer: string
  readonly inbox: string
  readonly subject: string
  subscription: Subscription | undefined
  nextDelivery: number
  readonly credit: PullCredit
  silentTicks: number
  idleTicks: number
}

/** The client keeps the size on the wire, and does not declare it. */
const hasSize = (message: Msg): message is Msg & { size(): number } => 'size' in message

const sizeOf = (message: Msg, reply: string): number =>
  hasSize(message) ? message.size() : message.subject.length + reply.length + message.data.length

/** Starts reading; see `EventLog.read`. */
export const openReader = (link: NatsLink, request: ReadRequest): LogReader =>
  new PullReader(link, request)

class PullReader implements LogReader {
  private readonly position = new DeliveryPosition()
  private readonly limits: { readonly messages: number; readonly bytes: number }
  private readonly stopListening: () => void
  /** Where the next consumer starts; undefined until the first one exists. */
  private next: number | undefined
  /** Reply subject of the message before `next`, once one was handed over. */
  private handed: string | undefined
  /** When the message before the first one was stored. */
  private beganBehind: string | undefined
  private createdAt: string | undefined
  private lastSeen = 0
  private session: Session | undefined
  private openings = 0
  private failures = 0
  private paused = false
  private closed = false
  private retry: NodeJS.Timeout | undefined
  private ticker: NodeJS.Timeout | undefined

  constructor(
    private readonly link: NatsLink,
    private readonly request: ReadRequest,
  ) {
    this.limits = {
      messages: Math.floor(request.messagesMax),
      bytes: Math.floor(request.bytesMax),
    }
    this.stopListening = link.listen(status => this.onStatus(status))
    const problem = requestProblem(request) ?? this.closedLink()
    if (problem !== undefined) setImmediate(() => this.fail(problem))
    else if (link.state === 'up') this.open()
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    const { session } = this
    if (session === undefined) return
    // Nobody answers for a consumer that is gone, so one that may be gone is not asked.
    if (session.idleTicks * pullTiming.tickMs >= consumerInactiveMs / 2) this.replace()
    else this.pull(session)
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.stopListening()
    this.endSession()
  }

  private closedLink(): StreamError | undefined {
    if (this.link.state !== 'closed') return undefined
    return streamError('unavailable', `The connection to ${this.link.address} is closed.`)
  }

  private onStatus(status: LinkStatus): void {
    switch (status.type) {
      case 'disconnected':
        this.endSession()
        break
      case 'reconnected':
        this.open()
        break
      case 'closing':
        this.close()
        break
      case 'closed':
        if (status.error === undefined) this.close()
        else this.fail(status.error)
    }
  }

  /** Opens a consumer behind the last message handed over. */
  private open(): void {
    this.endSession()
    const opening = this.openings
    const { next, request } = this
    const start: LogStart = next === undefined ? request.start : { at: 'sequence', sequence: next }
    const behind = next === undefined ? undefined : next - 1
    void openConsumer(this.link, request, start, behind)().then(opened => {
      if (opening !== this.openings || this.closed) {
        if (E.isRight(opened)) dropConsumer(this.link, this.request.stream, opened.right.name)
      } else if (E.isRight(opened)) this.begin(opened.right)
      else if (opened.left.type === 'unavailable' || opened.left.type === 'timed-out') {
        this.tryAgain(opened.left)
      } else this.fail(opened.left)
    })
  }

  private begin(opened: OpenedConsumer): void {
    const { stream } = this.request
    const lost = this.lostFacts(opened)
    if (lost !== undefined) {
      dropConsumer(this.link, stream, opened.name)
      this.fail(lost)
      return
    }
    this.createdAt = opened.streamCreatedAt
    this.lastSeen = Math.max(this.lastSeen, opened.streamLastSequence)
    if (this.next === undefined) this.beganBehind = opened.behindStoredAt
    this.next ??= opened.startSequence
    const inbox = createInbox()
    const session: Session = {
      consumer: opened.name,
      inbox,
      subject: `$JS.API.CONSUMER.MSG.NEXT.${stream}.${opened.name}`,
      subscription: undefined,
      nextDelivery: 1,
      credit: new PullCredit(this.limits),
      silentTicks: 0,
      idleTicks: 0,
    }
    this.session = session
    session.subscription = this.link.connection.subscribe(`${inbox}.*`, {
      callback: (error, message) => this.onMessage(session, error, message),
    })
    this.ticker = setInterval(() => this.tick(session), pullTiming.tickMs)
    this.pull(session)
  }

  /** NV2. What was seen once must still be there. */
  private lostFacts(opened: OpenedConsumer): StreamError | undefined {
    const { stream } = this.request
    const next =
      'Start from a checkpoint whose offset the stream still holds, or afresh by another name.'
    if (this.createdAt !== undefined && this.createdAt !== opened.streamCreatedAt) {
      const times = `${this.createdAt}, now ${opened.streamCreatedAt}`
      const text = `Stream ${stream} was removed and created again while it was read (${times}).`
      return streamError('lost', text, { next })
    }
    if (opened.streamLastSequence < this.lastSeen) {
      const ends = `up to ${this.lastSeen} and now ends at ${opened.streamLastSequence}`
      return streamError('lost', `Stream ${stream} held messages ${ends}.`, { next })
    }
    const { handed, next: start = 1 } = this
    const was = handed === undefined ? this.beganBehind : deliveryTime(handed)
    const is = opened.behindStoredAt
    if (was === undefined || is === undefined || was === is) return undefined
    const other = `holds another message ${start - 1} than before`
    return streamError('lost', `Stream ${stream} ${other}: its tail was lost and written anew.`, {
      next,
    })
  }

  /** Asks for more if more is due. */
  private pull(session: Session): void {
    if (this.paused || this.session !== session) return
    for (let due = session.credit.next(); due !== undefined; due = session.credit.next()) {
      session.idleTicks = 0
      const body = JSON.stringify({
        batch: due.messages,
        max_bytes: due.bytes,
        expires: pullTiming.expiresMs * 1e6,
        idle_heartbeat: pullTiming.heartbeatMs * 1e6,
      })
      this.link.connection.publish(session.subject, body, { reply: `${session.inbox}.${due.id}` })
    }
  }

  private onMessage(session: Session, error: NatsError | null, message: Msg): void {
    if (this.session !== session) return
    if (error !== null) {
      const text = `Reading stream ${this.request.stream} is not permitted: ${error.message}.`
      this.fail(streamError('refused', text))
      return
    }
    session.silentTicks = 0
    const { reply } = message
    if (reply === undefined || reply === '') this.onSignal(session, message)
    else if (this.position.read(reply) && this.position.consumerSequence === session.nextDelivery) {
      this.take(session, message, sizeOf(message, reply))
    } else this.tryAgain(this.doubt(`expected delivery ${session.nextDelivery}, got ${reply}`))
  }

  private take(session: Session, message: Msg, bytes: number): void {
    const sequence = this.position.streamSequence
    session.nextDelivery += 1
    this.next = sequence + 1
    this.handed = message.reply
    if (sequence > this.lastSeen) this.lastSeen = sequence
    this.failures = 0
    session.credit.take(bytes)
    this.hand(message, sequence)
    this.pull(session)
  }

  private hand(message: Msg, sequence: number): void {
    try {
      this.request.onMessage({
        sequence,
        subject: message.subject,
        payload: message.data,
        headers: messageHeaders(message.headers),
      })
    } catch (thrown) {
      crash(thrown)
    }
  }

  /** What the server says about a pull request or the consumer. */
  private onSignal(session: Session, message: Msg): void {
    const { headers } = message
    const said = headers?.description.toLowerCase() ?? ''
    if (headers?.code === 100) {
      this.onHeartbeat(session, headers.get('Nats-Last-Consumer'))
      return
    }
    const tooLarge = said.includes('maxbytes')
    const finished =
      headers?.code === 404 ||
      headers?.code === 408 ||
      (headers?.code === 409 && (tooLarge || said.includes('batch completed')))
    if (!finished) this.tryAgain(this.doubt(`status ${headers?.code} ${said}`))
    else {
      const id = Number(message.subject.slice(session.inbox.length + 1))
      const messages = Number(headers.get('Nats-Pending-Messages'))
      const bytes = Number(headers.get('Nats-Pending-Bytes'))
      session.credit.ended(id, { messages, bytes }, tooLarge)
      this.pull(session)
    }
  }

  /**
   * Everything before the heartbeat was sent before it, so it also proves that nothing is missing.
   */
  private onHeartbeat(session: Session, lastDelivery: string): void {
    if (lastDelivery !== '' && Number(lastDelivery) !== session.nextDelivery - 1) {
      this.tryAgain(this.doubt(`delivery ${lastDelivery} did not arrive`))
    } else this.failures = 0
  }

  private tick(session: Session): void {
    if (!session.credit.isOpen) {
      session.silentTicks = 0
      session.idleTicks += 1
      return
    }
    session.silentTicks += 1
    session.credit.tick()
    if (session.silentTicks > pullTiming.silentTicks) this.tryAgain(this.doubt('it is silent'))
    else this.pull(session)
  }

  private doubt(what: string): StreamError {
    const text = `Reading stream ${this.request.stream} is in doubt: ${what}.`
    return streamError('unavailable', text)
  }

  /** Replaces the consumer after a while, unless that has been tried too often (NV3). */
  private tryAgain(error: StreamError): void {
    this.endSession()
    if (this.link.state !== 'up') return
    this.failures += 1
    if (this.failures > readerRetry.attemptsMax) {
      const what = `Reading stream ${this.request.stream} failed ${this.failures} times in a row`
      const text = `${what}. ${error.message}`
      this.fail(streamError('unavailable', text, { cause: error }))
      return
    }
    const waitMs = Math.min(readerRetry.waitMs * 2 ** (this.failures - 1), readerRetry.waitMaxMs)
    this.retry = setTimeout(() => this.open(), waitMs)
  }

  private replace(): void {
    this.endSession()
    if (this.link.state === 'up') this.open()
  }

  /** Also forgets an opening that is under way. */
  private endSession(): void {
    this.openings += 1
    clearTimeout(this.retry)
    clearInterval(this.ticker)
    const { session } = this
    if (session === undefined) return
    this.session = undefined
    session.subscription?.unsubscribe()
    dropConsumer(this.link, this.request.stream, session.consumer)
  }

  private fail(error: StreamError): void {
    if (this.closed) return
    this.close()
    try {
      this.request.onFailed(error)
    } catch (thrown) {
      crash(thrown)
    }
  }
}
