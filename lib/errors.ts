/**
 * Expected failures. Each is plain data with its facts; `message` is one plain sentence and `next`
 * says what a person can do about it.
 */

/** The closed set of kinds of expected failures. */
export type StreamErrorType =
  | 'unavailable' // the server cannot be reached, or does not answer
  | 'refused' // the server answered no: credentials, permissions, JetStream not enabled
  | 'timed-out' // no answer in time: the outcome is unknown
  | 'missing' // a stream, message or key is not there
  | 'full' // a limit of the server or of ours was reached
  | 'fenced' // a newer owner exists: this writer must stop
  | 'conflict' // the same thing exists with other properties, or is held by somebody else
  | 'corrupt' // bytes do not verify
  | 'lost' // data that was promised to be there is gone
  | 'invalid' // input from the user is wrong
  | 'user-code' // an actor's own function threw

/** One expected failure, as data: what happened, and what a person can do about it. */
export interface StreamError {
  readonly type: StreamErrorType
  /** One plain sentence: what happened, to what, with which facts. */
  readonly message: string
  /** One plain sentence: what to do next. */
  readonly next?: string
  readonly cause?: unknown
}

/** Makes a failure; leaving `next` out means that the message says it all. */
export const streamError = (
  type: StreamErrorType,
  message: string,
  more: { readonly next?: string; readonly cause?: unknown } = {},
): StreamError => ({ type, message, ...more })

/** An expected failure that must cross a throwing boundary (a CLI, a user's promise). */
export class SluiceError extends Error {
  override readonly name = 'SluiceError'
  constructor(readonly error: StreamError) {
    super(error.message, error.cause === undefined ? {} : { cause: error.cause })
  }
}

/** The text of anything that was thrown. */
export const messageOf = (thrown: unknown): string =>
  thrown instanceof Error ? thrown.message : String(thrown)
