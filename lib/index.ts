/** The public API: everything that a job file needs. Importing it starts nothing. */

export { job } from './job/builder.js'
export type { Configuration, ConfiguredBackend } from './job/configuration-codec.js'
export type {
  Actor,
  ActorOptions,
  CheckpointNotice,
  Context,
  Delivery,
  ErrorPolicy,
  IterableSource,
  IterableSourceOptions,
  JetStreamSink,
  JetStreamSinkOptions,
  JetStreamSource,
  JetStreamSourceOptions,
  KeyedState,
  Sink,
  Source,
  SourceEnd,
  SourceStart,
  StateSpec,
} from './job/contracts.js'
export { actor, iterable, jetstream } from './job/definitions.js'
export type {
  AnyActor,
  AnySource,
  Durability,
  Edge,
  Folders,
  Job,
  JobGraph,
  KeyOf,
  Vertex,
  When,
} from './job/graph.js'
export { isJob } from './job/graph.js'
export type { Limits } from './job/limits.js'
export type { Problem } from './job/problem.js'
export { problemText } from './job/problem.js'
export type {
  CheckpointConfig,
  CheckpointOptions,
  JobSettings,
  RestartOptions,
  Retention,
  StateBackendOptions,
} from './job/settings.js'
export type {
  IterateOptions,
  JobOptions,
  KeyedStream,
  NewJob,
  NotJson,
  OpenJob,
  OperatorOptions,
  SinkOptions,
  StateNeedsKey,
  Stream,
  StreamDoesNotFit,
} from './job/stream.js'
export { validate } from './job/validate.js'
export type { Key } from './protocol/ids.js'
