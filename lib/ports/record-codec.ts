import type { Either } from 'fp-ts/lib/Either.js'
import type { StreamError } from '../errors.js'

/** Turns values into bytes and back, faithfully: `undefined`, `NaN`, `Date`, `Map` and `__proto__` survive. */
export interface RecordCodec {
  serialize(value: unknown): Either<StreamError, Uint8Array>
  deserialize(bytes: Uint8Array): Either<StreamError, unknown>
  /** A frame's body. What two of the records share may arrive as two. */
  serializeBatch(records: readonly unknown[]): Either<StreamError, Uint8Array>
  /** What `serializeBatch` wrote; the frame's header says how many records that were. */
  deserializeBatch(bytes: Uint8Array, count: number): Either<StreamError, readonly unknown[]>
}

/** Fingerprints of bytes, for verification only. */
export interface Digests {
  /** Of one message. */
  readonly hash: (bytes: Uint8Array) => string
  /** Of a snapshot's chunks, as `PartRef.digest` wants it. */
  readonly part: (chunks: readonly Uint8Array[]) => string
}
