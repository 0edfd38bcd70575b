/**
 * Position of a delivered message, read from its reply subject:
 *
 *   `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`
 *   `$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.….<pending>[.<token>]`
 */

/** Reads positions; the result of `read` is valid until its next call. */
export class DeliveryPosition {
  streamSequence = 0
  consumerSequence = 0
  /** What comes before the stream sequence: the same for nearly every message of one consumer. */
  private prefix = ''
  private end = 0

  /** False when the subject has none of the known forms. */
  read(reply: string): boolean {
    if (this.prefix === '' || !reply.startsWith(this.prefix)) {
      this.prefix = prefixOf(reply)
      if (this.prefix === '') return false
    }
    this.end = this.prefix.length - 1
    this.streamSequence = this.number(reply)
    this.consumerSequence = this.number(reply)
    return this.streamSequence > 0 && this.consumerSequence > 0
  }

  /** The digits from behind `end` to the next dot; -1 when there is anything else. */
  private number(reply: string): number {
    let value = 0
    for (let at = this.end + 1; at < reply.length; at++) {
      const digit = reply.charCodeAt(at) - 48
      if (digit === -2) {
        this.end = at
        return value
      }
      if (digit < 0 || digit > 9) return -1
      value = value * 10 + digit
    }
    return -1
  }
}

/** When a delivered message was stored, in nanoseconds since 1970, from its reply subject. */
export const deliveryTime = (reply: string): string => {
  const rest = reply.slice(prefixOf(reply).length)
  return rest.split('.')[2] ?? ''
}

/** Everything in front of the stream sequence, or nothing for a subject of another form. */
const prefixOf = (reply: string): string => {
  const tokens = reply.split('.')
  const before = tokens.length === 9 ? 5 : tokens.length === 11 || tokens.length === 12 ? 7 : 0
  if (before === 0 || !reply.startsWith('$JS.ACK.')) return ''
  return `${tokens.slice(0, before).join('.')}.`
}
