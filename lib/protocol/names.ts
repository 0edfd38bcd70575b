/**
 * Names from users on the wire. Every name becomes one token of `[A-Za-z0-9-]` and `_xx` escapes before it
 * reaches a NATS subject, a stream name or a Redis key, so that no name can forge a message, match a
 * wildcard or reach another job's keys. The escape is injective: two names never share a token.
 */
export const token = (name: string): string => {
  let out = ''
  for (const byte of new TextEncoder().encode(name)) {
    const plain =
      (byte >= 48 && byte <= 57) ||
      (byte >= 65 && byte <= 90) ||
      (byte >= 97 && byte <= 122) ||
      byte === 45
    out += plain ? String.fromCharCode(byte) : `_${byte.toString(16).padStart(2, '0')}`
  }
  return out
}
