/**
 * The one open pull request of a reader: what the server may still send for it.
 *
 * Only one is open at a time, on purpose. nats-server serves open requests in turn, a message does not
 * say which request paid for it, and a request that its last message exactly fills closes in silence; so
 * with two open the remaining credit of each is unknowable. The price is one round trip per request.
 *
 *   R1. A request is finished when its messages or its bytes are used up, when the server says so, or
 *       when its time is over (2.9.10 does not always say so).
 *   R2. The server counts subject, reply subject, headers and payload as the bytes of a message.
 *   R3. A message that is larger than a whole request is asked for alone, without a limit of bytes.
 *
 * Time is counted in ticks of `tickMs`, not by the clock: after a pause of the process, what waits in
 * the socket is read before silence is concluded.
 */

/** Timing of pull requests. */
export const pullTiming = {
  tickMs: 500,
  expiresMs: 5_000,
  heartbeatMs: 1_000,
  /** Ticks after which a request is surely over. */
  overTicks: 12,
  /** Ticks without a message or heartbeat after which the consumer counts as gone. */
  silentTicks: 6,
} as const

/** Largest request in bytes: the server cuts off clients with 64 MiB unread. */
export const pullBytesMax = 32 * 1024 * 1024

export class PullRequest {
  private readonly id: number
  private readonly alone: boolean
  private messages: number
  private bytes: number
  private ticks = 0
  private largest = 0
  private untouched = true

  constructor(
    id: number,
    limits: { readonly messages: number; readonly bytes: number },
    alone: boolean,
  ) {
    this.id = id
    this.alone = alone
    this.messages = alone ? 1 : limits.messages
    this.bytes = alone ? Number.POSITIVE_INFINITY : limits.bytes
  }

  /** Whether a status with this number is about this request. */
  is(id: number): boolean {
    return this.id === id
  }

  /** Body of the request. */
  encode(): string {
    return JSON.stringify({
      batch: this.messages,
      ...(this.alone ? {} : { max_bytes: this.bytes }),
      expires: pullTiming.expiresMs * 1e6,
      idle_heartbeat: pullTiming.heartbeatMs * 1e6,
    })
  }

  /** Counts a message; true when the request is finished by it (R1). */
  take(bytes: number): boolean {
    this.messages -= 1
    this.bytes -= bytes
    this.untouched = false
    if (bytes > this.largest) this.largest = bytes
    return this.messages <= 0 || this.bytes <= 0
  }

  /** Counts a tick; true when the request is surely over (R1). */
  tick(): boolean {
    this.ticks += 1
    return this.ticks >= pullTiming.overTicks
  }

  /** Whether the next request must ask for one message alone (R3), given how this one ended. */
  nextAlone(tooLarge: boolean, limitBytes: number): boolean {
    // A run of large messages stays in this mode: each failed try would cost a round trip more.
    return this.alone ? this.largest > limitBytes || this.untouched : tooLarge && this.untouched
  }
}
