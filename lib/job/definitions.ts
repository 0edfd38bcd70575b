/**
 * Makes the definitions that jobs are built from: actors, sources, sinks.
 *
 * A definition keeps what the user wrote, unknown options too, and fills in the defaults. Nothing
 * is judged here: `validate` sees everything and reports all of it at once. For the same reason
 * nothing here throws, whatever a caller without a type checker passes.
 */
import type {
  Actor,
  ActorOptions,
  IterableSource,
  IterableSourceOptions,
  JetStreamSink,
  JetStreamSinkOptions,
  JetStreamSource,
  JetStreamSourceOptions,
  SourceStart,
} from './contracts.js'

/**
 * Defines an actor: a function over records, by name, with state per key if it declares some.
 *
 * @example
 * const counts = actor({
 *   name: 'counts',
 *   accepts: t.type({ word: t.string }),
 *   emits: t.type({ word: t.string, count: t.number }),
 *   state: { codec: t.type({ count: t.number }), initial: () => ({ count: 0 }) },
 *   receive: (ctx, { word }) => {
 *     ctx.state.update(draft => { draft.count += 1 })
 *     ctx.emit({ word, count: ctx.state.get().count })
 *   },
 * })
 */
export const actor = <A, E, S = never>(options: ActorOptions<A, E, S>): Actor<A, E, S> =>
  Object.freeze({
    ...options,
    type: 'actor',
    state: frozenCopy(options?.state),
    onError: options?.onError ?? 'fail',
  })

const jetstreamSource = <A>(options: JetStreamSourceOptions<A>): JetStreamSource<A> =>
  Object.freeze({
    ...options,
    type: 'jetstream-source',
    subject: options?.subject,
    start: frozenCopy<SourceStart>(options?.start ?? { at: 'first' }),
    end: frozenCopy(options?.end),
    onRefused: options?.onRefused ?? 'dead-letter',
  })

const jetstreamSink = (options: JetStreamSinkOptions): JetStreamSink =>
  Object.freeze({
    ...options,
    type: 'jetstream-sink',
    stream: options?.stream,
    delivery: options?.delivery ?? 'transactional',
  })

const iterableSource = <A>(options: IterableSourceOptions<A>): IterableSource<A> =>
  Object.freeze({ ...options, type: 'iterable-source' })

/** NATS JetStream as a source and as a sink of records. */
export const jetstream = Object.freeze({
  /** Defines a source that reads a stream and validates every message once. */
  source: jetstreamSource,
  /** Defines a sink that publishes every record exactly once, as JSON. */
  sink: jetstreamSink,
})

/** Arrays, generators and other iterables as a source of records. */
export const iterable = Object.freeze({
  /** Defines a source that can be opened again after any number of records. */
  source: iterableSource,
})

// A copy, because freezing what the user passed would be felt outside.
const frozenCopy = <T>(value: T): T =>
  typeof value === 'object' && value !== null ? Object.freeze({ ...value }) : value
