/**
 * Credit of a reader: what it has asked the server for and what may still come. Pure.
 *
 * At most two requests are open, each for half of the limits, so that the next is on its way while
 * the last is served. The server does not say which request paid for a message, serves open
 * requests in turn (or oldest first), closes one whose messages are used up in silence, and says
 * when one ends for its bytes or its age. So the credit is kept as two sums, which are exact or too
 * high, never too low:
 *
 *   NR1. What may still come never exceeds the limits of the reader, except for NR3.
 *   NR2. The server counts subject, reply subject, headers and payload as the bytes of a message.
 *   NR3. A message that is larger than a whole request is asked for alone, without a limit of bytes.
 *   NR4. With two open, the older one (`a` messages left when the newer with `b` was sent) is over
 *       at the latest when `b - a` messages in all may still come: served in turn, both lost `a` by
 *       then.
 *   NR5. With no bytes left, nothing is open: an end by the very last byte is silent too. When one
 *       request ends so and the other by count, the sums stay too high and nothing is asked for;
 *       the heartbeats stop then, and silence makes the reader replace its consumer. Rare: both
 *       limits must bind.
 *
 * Time is counted in ticks of `tickMs`, not by the clock: after a pause of the process, what waits
 * in the socket is read before silence is concluded.
 */

/** Timing of pull requests. */
export const pullTiming = {
  tickMs: 500,
  expiresMs: 5_000,
  heartbeatMs: 500,
  /** Ticks after which a request is surely over; 2.9.10 does not always say so. */
  overTicks: 12,
  /** Ticks without a message or heartbeat after which the consumer counts as gone. */
  silentTicks: 4,
} as const

/** Largest credit in bytes: the server cuts off clients with 64 MiB unread. */
export const creditBytesMax = 32 * 1024 * 1024

/** One request for messages, as it is sent to the server. */
export interface PullRequest {
  readonly id: number
  readonly messages: number
  /** Undefined: no limit (NR3). */
  readonly bytes: number | undefined
}

interface OpenRequest extends PullRequest {
  /** The one before this one is over when no more messages than this may come (NR4). */
  readonly overBelow: number
  ticks: number
}

/** What one reader has asked for, may still get, and should ask for next. */
export class PullCredit {
  private readonly messagesEach: number
  private readonly bytesEach: number
  private readonly mayOverlap: boolean
  private open: OpenRequest[] = []
  private messages = 0
  private bytes = 0
  private ids = 0
  private alone = false

  constructor(limits: { readonly messages: number; readonly bytes: number }) {
    const bytes = Math.min(limits.bytes, creditBytesMax)
    this.messagesEach = Math.max(1, Math.floor(limits.messages / 2))
    // Odd, so that a run of messages of one even size never ends a request by its very last byte
    // (NR5).
    this.bytesEach = Math.max(1, Math.floor((bytes - 2) / 4) * 2 + 1)
    this.mayOverlap = limits.messages >= 2 && bytes >= 2
  }

  /** Whether anything may still come. */
  get isOpen(): boolean {
    return this.open.length > 0
  }

  /** The request to send now, if one is due. */
  next(): PullRequest | undefined {
    if (!this.isDue()) return undefined
    // The count of messages made it due with two open: then the older one is over (NR4).
    if (this.open.length === 2) this.forget(0)
    const left = this.messages
    const request: OpenRequest = {
      id: ++this.ids,
      messages: this.alone ? 1 : this.messagesEach,
      bytes: this.alone ? undefined : this.bytesEach,
      overBelow: this.messagesEach - left,
      ticks: 0,
    }
    this.open.push(request)
    this.messages += request.messages
    this.bytes += request.bytes ?? 1
    return request
  }

  private isDue(): boolean {
    if (this.open.length === 0) return true
    if (this.alone || !this.mayOverlap) return false
    const half = this.messagesEach >> 1
    if (this.open.length === 1) return this.messages <= half || this.bytes <= this.bytesEach >> 1
    return this.messages <= Math.min(half, this.open[1]?.overBelow ?? 0)
  }

  /** Counts a message of so many bytes (NR2). */
  take(bytes: number): void {
    if (this.open[0]?.bytes === undefined && this.open.length === 1) {
      // A run of large messages stays in this mode: each failed try would cost a round trip more.
      this.alone = bytes > this.bytesEach
      this.clear()
      return
    }
    this.messages -= 1
    this.bytes -= bytes
    if (this.messages <= 0 || this.bytes <= 0) this.clear()
  }

  /** The server says that a request ended with so much of it left. */
  ended(
    id: number,
    left: { readonly messages: number; readonly bytes: number },
    tooLarge: boolean,
  ) {
    const index = this.open.findIndex(request => request.id === id)
    const request = this.open[index]
    if (request === undefined) return
    this.open.splice(index, 1)
    this.messages -= left.messages
    this.bytes -= left.bytes
    if (this.open.length === 0 || this.messages <= 0 || this.bytes <= 0) this.clear()
    // Only a request of which nothing was used proves that the message fits none (NR3).
    if (tooLarge && request.bytes !== undefined && left.bytes >= request.bytes) this.alone = true
  }

  /** Counts a tick: requests that are surely over are forgotten. */
  tick(): void {
    for (const request of this.open) request.ticks += 1
    while ((this.open[0]?.ticks ?? 0) >= pullTiming.overTicks) this.forget(0)
  }

  private forget(index: number): void {
    this.open.splice(index, 1)
    const rest = this.open[0]
    if (rest === undefined) {
      this.clear()
      return
    }
    this.messages = Math.min(this.messages, rest.messages)
    this.bytes = Math.min(this.bytes, rest.bytes ?? this.bytes)
  }

  private clear(): void {
    this.open = []
    this.messages = 0
    this.bytes = 0
  }
}
