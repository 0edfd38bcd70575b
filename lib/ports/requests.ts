import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../errors.js'

/**
 * Asks one other process and waits for its answer. A failure may mean that the question was heard and
 * the answer lost: whoever answers must bear being asked twice.
 */
export type Ask = (question: Uint8Array) => TaskEither<StreamError, Uint8Array>

/** Answers one question. Must not reject. */
export type Answer = (question: Uint8Array) => Promise<Uint8Array>
