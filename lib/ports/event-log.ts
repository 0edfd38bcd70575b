import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../errors.js'

/** One stored message of an event log. */
export interface LogMessage {
  readonly sequence: number
  readonly subject: string
  readonly payload: Uint8Array
  /** Undefined when the message has none. */
  readonly headers: Readonly<Record<string, string>> | undefined
}

/** What a stream is and holds, as it was when it was asked. */
export interface StreamFacts {
  readonly name: string
  readonly subjects: readonly string[]
  /** When the stream was created, as the server writes it: the stream's identity (P12). */
  readonly createdAt: string
  readonly firstSequence: number
  readonly lastSequence: number
  readonly messages: number
  readonly retention: 'limits' | 'interest' | 'workqueue'
  readonly storage: 'file' | 'memory'
  readonly maxAgeMs: number
  readonly duplicateWindowMs: number
}

/** A stream to be made. */
export interface StreamConfig {
  readonly name: string
  readonly subjects: readonly string[]
  readonly storage: 'file' | 'memory'
  /** Hard limit; at the limit publishes are refused (`discard: new`), never dropped. */
  readonly bytesMax?: number
  readonly messagesPerSubjectMax?: number
  readonly duplicateWindowMs?: number
  /** Free text kept with the stream, 4 KiB at most. */
  readonly description?: string
}

/** What a publish demands of the stream, and what it carries besides its payload. */
export interface PublishOptions {
  /** The server refuses the message unless the subject's last sequence is this one (0: none yet). */
  readonly expectedLastSubjectSequence?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** What became of one publish. `failed` with `timed-out` or `unavailable` means: outcome unknown. */
export type PublishOutcome =
  | { readonly type: 'stored'; readonly sequence: number }
  | { readonly type: 'wrong-last-sequence'; readonly actual: number }
  | { readonly type: 'failed'; readonly error: StreamError }

/** Where a reader begins. */
export type LogStart =
  | { readonly at: 'first' }
  | { readonly at: 'new' }
  | { readonly at: 'sequence'; readonly sequence: number }
  | { readonly at: 'time'; readonly time: string }

/** What a reader reads, how much of it at a time, and whom it tells. */
export interface ReadRequest {
  readonly stream: string
  readonly subject?: string
  readonly start: LogStart
  readonly headersOnly?: boolean
  /** Most messages asked for and not yet delivered. */
  readonly messagesMax: number
  /** Most bytes asked for and not yet delivered. A larger single message still arrives, alone. */
  readonly bytesMax: number
  /** Called once per message, in stream order, no gap and no repeat; must not throw. */
  readonly onMessage: (message: LogMessage) => void
  /** Called at most once; the reader is closed then. */
  readonly onFailed: (error: StreamError) => void
}

/** A reader at work. */
export interface LogReader {
  /** Asks for no more messages; those asked for already still arrive (bounded by the request's limits). */
  pause(): void
  resume(): void
  close(): void
}

/** A replayable, ordered log of messages: JetStream, or its simulation. */
export interface EventLog {
  /** Largest payload that the log accepts. */
  readonly payloadBytesMax: number
  /** Sends at once and never throws; publishes to one subject are stored in order of calls. */
  publish(
    subject: string,
    payload: Uint8Array,
    options: PublishOptions,
    onOutcome: (outcome: PublishOutcome) => void,
  ): void
  read(request: ReadRequest): LogReader
  facts(stream: string): TaskEither<StreamError, StreamFacts>
  /** The stream that captures a subject, if any. */
  streamOf(subject: string): TaskEither<StreamError, string | undefined>
  last(stream: string, subject: string): TaskEither<StreamError, LogMessage | undefined>
  at(stream: string, sequence: number): TaskEither<StreamError, LogMessage | undefined>
  /** Creates a stream; one that exists with the same subjects is left as it is. */
  create(config: StreamConfig): TaskEither<StreamError, StreamFacts>
  /** Removes a stream; one that is not there is no failure. */
  remove(stream: string): TaskEither<StreamError, void>
  /** Names of the streams that start with a prefix. */
  list(prefix: string): TaskEither<StreamError, readonly string[]>
  /** Removes every message below a sequence. */
  purge(stream: string, below: number): TaskEither<StreamError, void>
}
