/**
 * The types that a job is wired with. They are where a wrong wiring fails to compile.
 *
 * A stream is a description, never data: every method answers a new one, and the last is the job.
 * What runs behind these types is in builder.ts.
 *
 * Rules
 *   WT1. An actor takes a stream whose every record it accepts, also one with more fields than it
 *       needs: records are validated at the source and not again between actors.
 *   WT2. An actor with state takes a keyed stream only: without a key no state can be chosen.
 *   WT3. A sink takes what JSON can hold.
 *   WT4. Behind an actor that emits nothing (`t.never`) there is no stream.
 */
import type { Key } from '../protocol/ids.js'
import type { Actor, Sink, Source } from './contracts.js'
import type { Durability, Job } from './graph.js'
import type { Limits } from './limits.js'
import type { CheckpointOptions, RestartOptions, StateBackendOptions } from './settings.js'

/** What `job` takes besides the name. */
export interface JobOptions {
  /**
   * Number of key groups, and the highest parallelism ever. Fixed for the state's life. Default
   * 128.
   */
  readonly maxParallelism?: number
  /** Default `process-crash`. */
  readonly durability?: Durability
  /** Storage of the mailboxes. Default `memory`: what they lose is replayed from the sources. */
  readonly mailboxStorage?: 'memory' | 'file'
  readonly limits?: Partial<Limits>
}

/** What `to` takes besides the actor. */
export interface OperatorOptions {
  /** Number of subtasks. Default 1. */
  readonly parallelism?: number
  /**
   * Names the operator in the job. Needed where one actor is used twice. Default: the actor's name.
   */
  readonly id?: string
}

/** What `into` takes besides the sink. */
export interface SinkOptions {
  /** Number of subtasks. Default 1. */
  readonly parallelism?: number
}

/** What `iterate` takes. */
export interface IterateOptions<A> {
  /** Names the loop in the job and in its checkpoints. */
  readonly id: string
  /**
   * Whether a record that has gone round goes round again. Deterministic, and false some time: a
   * bounded job ends when its loops are empty.
   */
  readonly again: (record: A) => boolean
  /** Number of subtasks of the loop's head. Default: that of what is before it. */
  readonly parallelism?: number
}

/** Compile error: the stream carries records that the actor does not accept (WT1). */
export interface StreamDoesNotFit<Carries, Accepts> {
  readonly 'the stream carries records that the actor does not accept': {
    readonly carries: Carries
    readonly accepts: Accepts
  }
}

/** Compile error: the actor keeps state, so it needs a stream with a key (WT2). */
export interface StateNeedsKey {
  readonly 'an actor with state needs a keyed stream: call keyBy first': never
}

/** Compile error: the stream carries values that JSON cannot hold (WT3). */
export interface NotJson<Carries> {
  readonly 'the stream carries values that JSON cannot hold': Carries
}

type Fits<Carries, Accepts> = [Carries] extends [Accepts]
  ? unknown
  : StreamDoesNotFit<Carries, Accepts>

type Stateless<S> = [S] extends [never] ? unknown : StateNeedsKey

type Json<A> = [Extract<A, NotInJson>] extends [never] ? unknown : NotJson<Extract<A, NotInJson>>
type NotInJson = undefined | bigint | symbol | ((...args: never) => unknown)

/** What follows an actor: a stream of what it emits, or nothing if it emits nothing (WT4). */
export type After<E> = [E] extends [never] ? OpenJob : Stream<E>

/** A job without a source. */
export interface NewJob {
  from<A>(source: Source<A>): Stream<A>
}

/** Records of type `A` on their way through a job. */
export interface Stream<A> {
  /** Chooses each record's key: equal keys meet in the same subtask, in order. */
  keyBy(keyOf: (record: A) => Key): KeyedStream<A>
  /** Sends the records through an actor without state. */
  to<In, Out, S>(
    actor: Actor<In, Out, S> & Fits<A, In> & Stateless<S>,
    options?: OperatorOptions,
  ): After<Out>
  /**
   * Sends the records round a loop: through what `body` makes of it, and back to its head for as long as
   * `again` says so. What leaves the loop goes on. With checkpoints the job needs `force: true`: a
   * checkpoint then waits until its barrier has gone round, and holds what came back before it.
   */
  iterate(options: IterateOptions<A>, body: (loop: Stream<A>) => Stream<A>): Stream<A>
  /** Sends the records into a sink. */
  into(sink: Sink & Json<A>, options?: SinkOptions): OpenJob
}

/** Records of type `A` with a key each. */
export interface KeyedStream<A> {
  /** Sends the records through an actor, which may keep state per key. */
  to<In, Out, S>(actor: Actor<In, Out, S> & Fits<A, In>, options?: OperatorOptions): After<Out>
  /** Sends the records into a sink; equal keys meet in the same subtask of it. */
  into(sink: Sink & Json<A>, options?: SinkOptions): OpenJob
}

/** A job that can run as it is, or be given another source, or said how to run. */
export interface OpenJob extends Job, NewJob {
  /** Checkpoints the job periodically. Without it nothing survives a crash. */
  checkpoint(options: CheckpointOptions): OpenJob
  /** Says what follows a failure. Default: growing delays with checkpoints, nothing without. */
  restart(options: RestartOptions): OpenJob
  /** Says where snapshots are kept. Default: where the configuration says, or else in Redis. */
  stateBackend(options: StateBackendOptions): OpenJob
}
