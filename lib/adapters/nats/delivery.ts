/**
 * Position of a delivered message, read from its reply subject without splitting it:
 *
 *   `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`
 *   `$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.….<pending>[.<token>]`
 */

/** Reads positions; the result of `read` is valid until its next call. */
export class DeliveryPosition {
  streamSequence = 0
  consumerSequence = 0
  private readonly dots = new Int32Array(12)

  /** False when the subject has none of the known forms. */
  read(reply: string): boolean {
    let count = 0
    for (let at = 0; at < reply.length; at++) {
      if (reply.charCodeAt(at) !== 46) continue
      if (count === 12) return false
      this.dots[count++] = at
    }
    // 9 tokens have 8 dots; 11 and 12 tokens have 10 and 11 and two more tokens in front.
    const first = count === 8 ? 4 : count === 10 || count === 11 ? 6 : -1
    if (first < 0 || !reply.startsWith('$JS.ACK.')) return false
    this.streamSequence = this.number(reply, first)
    this.consumerSequence = this.number(reply, first + 1)
    return this.streamSequence > 0 && this.consumerSequence > 0
  }

  /** The digits between a dot and the next one; -1 when there is anything else. */
  private number(reply: string, dot: number): number {
    const end = this.dots[dot + 1] ?? 0
    let value = 0
    for (let at = (this.dots[dot] ?? 0) + 1; at < end; at++) {
      const digit = reply.charCodeAt(at) - 48
      if (digit < 0 || digit > 9) return -1
      value = value * 10 + digit
    }
    return value
  }
}
