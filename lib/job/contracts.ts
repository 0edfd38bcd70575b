/**
 * What users write: actors, sources, sinks and checkpointing, as types.
 *
 * Definitions are plain frozen data around the user's own functions and codecs; making one starts
 * nothing. `actor`, `jetstream` and `iterable` (definitions.ts) make them, `validate` judges them.
 */
import type * as t from 'io-ts'
import type { Epoch, Key } from '../protocol/ids.js'

/** What `receive` may do with the state of the current record's key. Values are immutable. */
export interface KeyedState<S> {
  /** The value of the current key; the actor's `initial()` if it has none. */
  get(): S
  /** Replaces the value. Cheaper than `update`; never mutate what you passed afterwards. */
  set(value: S): void
  /** Replaces the value by what an immer recipe makes of it. */
  update(recipe: (draft: S) => void): void
  /** Removes the value: the next `get` answers `initial()`. */
  clear(): void
}

/** What an actor sees while it handles one record. Valid only during the call. */
export interface Context<E, S> {
  /** State of the current record's key. Of type `never` in an actor that declares no `state`. */
  readonly state: [S] extends [never] ? never : KeyedState<S>
  /** The current record's key. Undefined when the input is not keyed. */
  readonly key: Key | undefined
  /** Index of this parallel instance, from 0. */
  readonly subtask: number
  /** Sends a record downstream. */
  emit(record: E): void
}

/**
 * What happens to a record whose `receive` throws: `fail` (default) restarts the job from its
 * latest checkpoint, `skip` drops and counts it, `dead-letter` keeps it in the job's dead-letter
 * stream.
 */
export type ErrorPolicy = 'fail' | 'skip' | 'dead-letter'

/** Keyed state of an actor: how it is checked when restored, and what a new key starts with. */
export interface StateSpec<S> {
  readonly codec: t.Type<S, unknown, unknown>
  /** The value of a key that has none yet. */
  readonly initial: () => NoInfer<S>
  /** Raise it when the meaning of the state changes. Default 1. */
  readonly version?: number
}

/** Which checkpoint an actor is told of, and in which parallel instance. */
export interface CheckpointNotice {
  /** The checkpoint's number. */
  readonly epoch: Epoch
  /** Index of this parallel instance, from 0. */
  readonly subtask: number
}

/** What `actor` takes. `A` is what it accepts, `E` what it emits, `S` its state per key. */
export interface ActorOptions<A, E, S> {
  /** Names the actor in its job, its checkpoints and its metrics. At most 128 bytes. */
  readonly name: string
  readonly accepts: t.Type<A, unknown, unknown>
  /** `t.never` for an actor that only consumes. */
  readonly emits: t.Type<E, unknown, unknown>
  /** Left out by an actor that keeps nothing between records. Needs a keyed stream. */
  readonly state?: StateSpec<S>
  /**
   * Handles one record. Synchronous: what a promise does after the call would belong to no
   * checkpoint, so an async function does not compile.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: plain `void` would let an async function pass.
  readonly receive: (ctx: Context<NoInfer<E>, NoInfer<S>>, record: NoInfer<A>) => void | undefined
  /** What happens to a record whose `receive` throws. Default `fail`. */
  readonly onError?: ErrorPolicy
  /**
   * Called in every parallel instance once a checkpoint has completed: all that was handled before
   * its barrier will never be handled again (Flink: `CheckpointListener.notifyCheckpointComplete`).
   * Best effort: a crash may swallow a call. Numbers rise, and each stands for all below it, so
   * that the next call makes up for one that was lost. Neither state nor `emit` may be used here.
   * Synchronous; what it throws restarts the job from its latest checkpoint.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: plain `void` would let an async function pass.
  readonly onCheckpointComplete?: (notice: CheckpointNotice) => void | undefined
  /**
   * Called when a checkpoint came to nothing (Flink: `notifyCheckpointAborted`), at most once for
   * each, and never after the completion of a later one. Otherwise as `onCheckpointComplete`.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: plain `void` would let an async function pass.
  readonly onCheckpointAborted?: (notice: CheckpointNotice) => void | undefined
}

/**
 * An actor: a stateful function over records, by name. Plain data; importing it starts nothing.
 * `S` is `never` for an actor without state.
 */
export interface Actor<A, E, S> {
  readonly type: 'actor'
  readonly name: string
  readonly accepts: t.Type<A, unknown, unknown>
  readonly emits: t.Type<E, unknown, unknown>
  readonly state: StateSpec<S> | undefined
  readonly receive: (ctx: Context<E, S>, record: A) => void
  readonly onError: ErrorPolicy
  /** Called once a checkpoint has completed. */
  readonly onCheckpointComplete?: NonNullable<ActorOptions<A, E, S>['onCheckpointComplete']>
  /** Called when a checkpoint came to nothing. */
  readonly onCheckpointAborted?: NonNullable<ActorOptions<A, E, S>['onCheckpointAborted']>
}

/** Where a source starts when its job has no checkpoint yet. Default: the first stored message. */
export type SourceStart =
  | { readonly at: 'first' }
  /** The last message that is stored when the job first starts. */
  | { readonly at: 'last' }
  /** Only messages stored after the job first started. */
  | { readonly at: 'new' }
  | { readonly at: 'sequence'; readonly sequence: number }
  /** ISO 8601 with a zone, `2026-01-31T12:00:00Z`. */
  | { readonly at: 'time'; readonly time: string }

/** Where a bounded source ends. `last`: the stream's last message when the job first started. */
export type SourceEnd =
  | { readonly at: 'last' }
  | { readonly at: 'sequence'; readonly sequence: number }

/** What `jetstream.source` takes. */
export interface JetStreamSourceOptions<A> {
  /** Names the source in its job and its checkpoints. At most 128 bytes. */
  readonly id: string
  readonly stream: string
  /** Only messages on this subject (wildcards allowed). Default: every message. */
  readonly subject?: string
  readonly accepts: t.Type<A, unknown, unknown>
  /** Default `{ at: 'first' }`. */
  readonly start?: SourceStart
  /** Left out: unbounded. */
  readonly end?: SourceEnd
  /** What happens to a message that `accepts` refuses. Default `dead-letter`. */
  readonly onRefused?: ErrorPolicy
}

/** A JetStream stream as a source of validated records; its position lives in the checkpoint. */
export interface JetStreamSource<A> {
  readonly type: 'jetstream-source'
  readonly id: string
  readonly stream: string
  /** Only messages on this subject (wildcards allowed). */
  readonly subject: string | undefined
  readonly accepts: t.Type<A, unknown, unknown>
  readonly start: SourceStart
  /** Undefined: unbounded. */
  readonly end: SourceEnd | undefined
  /** What happens to a message that `accepts` refuses. Default `dead-letter`. */
  readonly onRefused: ErrorPolicy
}

/** What `iterable.source` takes. */
export interface IterableSourceOptions<A> {
  /** Names the source in its job and its checkpoints. At most 128 bytes. */
  readonly id: string
  /** Yields everything after the first `offset` records, the same ones every time it is called. */
  readonly open: (offset: number) => Iterable<A>
}

/** Records made in the process itself; `open(n)` yields everything after the first `n` records. */
export interface IterableSource<A> {
  readonly type: 'iterable-source'
  readonly id: string
  readonly open: (offset: number) => Iterable<A>
}

/** Anything that records of type `A` come from. */
export type Source<A> = JetStreamSource<A> | IterableSource<A>

/** What `jetstream.sink` takes. */
export interface JetStreamSinkOptions {
  /** Names the sink in its job and its checkpoints. At most 128 bytes. */
  readonly id: string
  /** No wildcards. With a parallelism above 1, subtask `i` publishes on `subject.i`. */
  readonly subject: string
  /**
   * The stream that captures the subject. Default: the token of the upper-cased id, made if none
   * does.
   */
  readonly stream?: string
  /** How records come to be published exactly once. Default `transactional`. */
  readonly delivery?: Delivery
}

/**
 * How a sink's records come to be published exactly once.
 *
 * `transactional`: with the checkpoint that covers them. Holds for every job; a record waits for up to
 * the checkpoint interval (Flink's two-phase commit sink).
 *
 * `idempotent`: at once, each under a number that it has again when it is replayed, so that it is
 * published no second time. For jobs whose records come in the same order, with the same content,
 * whenever they are replayed: actors depend on nothing but their records and their state, and every
 * subtask on the way to the sink reads one channel. The order is checked before the job starts, the
 * content whenever it restarts: records that differ end the job.
 */
export type Delivery = 'transactional' | 'idempotent'

/** A JetStream subject as a sink: every record is published exactly once, as JSON. */
export interface JetStreamSink {
  readonly type: 'jetstream-sink'
  readonly id: string
  /**
   * With a parallelism above 1, subtask `i` publishes on `subject.i`: one writer owns a subject.
   */
  readonly subject: string
  /**
   * The stream that captures the subject; made when no stream captures it. Default: the token of
   * the upper-cased id.
   */
  readonly stream: string | undefined
  /** How records come to be published exactly once. */
  readonly delivery: Delivery
}

/** Anything that records go to. */
export type Sink = JetStreamSink
