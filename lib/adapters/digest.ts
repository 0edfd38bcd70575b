/**
 * The digest of a snapshot part, shared by every store.
 *
 * It is taken over the digests of the chunks, so that bytes which move from one chunk to the next
 * change it, and a store may verify chunk by chunk.
 */
import { createHash } from 'node:crypto'

/** SHA-256, hexadecimal, over the concatenated SHA-256 of each chunk; what `PartRef.digest` holds. */
export const partDigest = (chunks: readonly Uint8Array[]): string => {
  const whole = createHash('sha256')
  for (const chunk of chunks) whole.update(createHash('sha256').update(chunk).digest())
  return whole.digest('hex')
}
