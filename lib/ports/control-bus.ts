import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../errors.js'

/**
 * Carries small control messages. Lossy by contract: a message may be lost, doubled, reordered or
 * delayed, so that every protocol on it repeats its state instead of trusting one delivery.
 */
export interface ControlBus {
  send(subject: string, payload: Uint8Array): void
  /** The handler must not throw. Returns what ends the subscription. */
  subscribe(subject: string, handler: (payload: Uint8Array, subject: string) => void): () => void
  /** Resolves when everything sent so far has reached the server. */
  flush(): TaskEither<StreamError, void>
}
