/**
 * Control messages: what crosses process boundaries besides records.
 *
 * The bus loses, doubles and reorders, so both directions are level-triggered: a message carries the
 * sender's whole relevant state and is repeated until something newer replaces it. Receiving one twice, late
 * or never changes nothing but the time at which the other side learns.
 */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { PathReporter } from 'io-ts/lib/PathReporter.js'
import { type StreamError, streamError } from '../errors.js'
import { Manifest, PartRef } from './manifest.js'

const version = t.literal(1)

/** "My snapshot of this epoch is stored", or here it is. Names everything that a late or foreign one differs in (P2). */
export const Report = t.readonly(
  t.exact(
    t.intersection([
      t.type({
        part: PartRef,
        alignmentMs: t.number,
        syncMs: t.number,
        asyncMs: t.number,
        /** Records in it that were on their way round a loop: the job has not come to its end. */
        looped: t.number,
      }),
      // Why the worker cannot keep copies on disk, said once.
      t.partial({ copyTrouble: t.string }),
    ]),
  ),
)
export type Report = t.TypeOf<typeof Report>

/** "I cannot take part in this epoch." */
export const Decline = t.readonly(t.strict({ epoch: t.number, reason: t.string }))
export type Decline = t.TypeOf<typeof Decline>

/** All that the coordinator must know of a subtask. */
export const SubtaskState = t.readonly(
  t.strict({
    subtask: t.string,
    phase: t.union([
      t.literal('restoring'),
      t.literal('ready'),
      t.literal('running'),
      t.literal('failed'),
    ]),
    /** Snapshots, stored or carried here, that the coordinator has not yet settled. */
    reports: t.readonlyArray(Report),
    declines: t.readonlyArray(Decline),
    /** A bounded source has read everything. */
    ended: t.boolean,
    /** Highest completed epoch whose whole output is published. */
    committed: t.number,
    /** Why it failed. */
    error: t.union([
      t.undefined,
      t.strict({ type: t.string, message: t.string, fatal: t.boolean }),
    ]),
    records: t.number,
    /** Records that were dropped by the policy `skip`. */
    skipped: t.number,
    /** Where its snapshot came from; undefined: it had none to restore, or has not yet. */
    restoredFrom: t.union([
      t.undefined,
      t.literal('store'),
      t.literal('local-copy'),
      // The manifest brought all of it.
      t.literal('manifest'),
      t.literal('disk-copy'),
    ]),
  }),
)
export type SubtaskState = t.TypeOf<typeof SubtaskState>

/** Worker → coordinator: all that the worker is and has. */
export const Beat = t.readonly(
  t.strict({
    version,
    type: t.literal('beat'),
    worker: t.string,
    pid: t.number,
    slots: t.number,
    /** Subtasks that this worker is reserved for; empty: any. */
    only: t.readonlyArray(t.string),
    /** Fingerprint of the job graph that the worker has loaded. */
    graph: t.string,
    generation: t.number,
    /** The job, and the highest term and generation, whose orders it has followed. */
    jobId: t.union([t.undefined, t.string]),
    term: t.number,
    highest: t.number,
    /** The term in which the highest generation was deployed here. */
    deployedBy: t.number,
    subtasks: t.readonlyArray(SubtaskState),
    /** The worker has been told to stop and has let go of everything. */
    stopped: t.boolean,
  }),
)
export type Beat = t.TypeOf<typeof Beat>

/** Worker's heartbeat thread → coordinator: the process lives; its event loop was blocked for `lagMs`. */
export const Heartbeat = t.readonly(
  t.strict({ version, type: t.literal('heartbeat'), worker: t.string, lagMs: t.number }),
)
export type Heartbeat = t.TypeOf<typeof Heartbeat>

/** Supervisor → coordinator: the process of this worker is gone. */
export const WorkerExited = t.readonly(
  t.strict({ version, type: t.literal('worker-exited'), worker: t.string, reason: t.string }),
)
export type WorkerExited = t.TypeOf<typeof WorkerExited>

/** Anybody → coordinator: look into the store, a cancel was asked for. */
export const Nudge = t.readonly(t.strict({ version, type: t.literal('nudge') }))

/** Somebody → coordinator: take a checkpoint now. Repeated under one name until the answer is final. */
export const CheckpointRequest = t.readonly(
  t.strict({ version, type: t.literal('checkpoint-request'), request: t.string }),
)
export type CheckpointRequest = t.TypeOf<typeof CheckpointRequest>

/** Where a request for a checkpoint stands. The last three are final. */
export const RequestOutcome = t.union([
  t.readonly(t.strict({ type: t.literal('queued') })),
  t.readonly(t.strict({ type: t.literal('pending'), epoch: t.number })),
  t.readonly(
    t.strict({
      type: t.literal('completed'),
      epoch: t.number,
      durationMs: t.number,
      bytes: t.number,
    }),
  ),
  t.readonly(
    t.strict({
      type: t.literal('aborted'),
      epoch: t.union([t.undefined, t.number]),
      reason: t.string,
    }),
  ),
  t.readonly(t.strict({ type: t.literal('refused'), reason: t.string })),
])
export type RequestOutcome = t.TypeOf<typeof RequestOutcome>

/** Coordinator → who asked. */
export const CheckpointAnswer = t.readonly(
  t.strict({
    version,
    type: t.literal('checkpoint-answer'),
    request: t.string,
    outcome: RequestOutcome,
  }),
)
export type CheckpointAnswer = t.TypeOf<typeof CheckpointAnswer>

/** Coordinator → worker: all that the worker should be. */
export const Orders = t.readonly(
  t.strict({
    version,
    type: t.literal('orders'),
    term: t.number,
    /** What the order is about. To idle means to let go of this generation and of all before it. */
    generation: t.number,
    phase: t.union([t.literal('idle'), t.literal('deploy'), t.literal('run'), t.literal('stop')]),
    subtasks: t.readonlyArray(t.string),
    /** With the parts of `subtasks`; only in orders to deploy. */
    restore: t.union([t.undefined, Manifest]),
    jobId: t.string,
    /** Pending checkpoints, oldest first. */
    triggers: t.readonlyArray(
      t.readonly(t.strict({ epoch: t.number, final: t.boolean, triggeredAt: t.number })),
    ),
    /** The newest completed epoch of this generation; 0: none. */
    completed: t.number,
    aborted: t.readonlyArray(t.number),
  }),
)
export type Orders = t.TypeOf<typeof Orders>

/** Everything that a coordinator hears. */
export const ToCoordinator = t.union([Beat, Heartbeat, WorkerExited, Nudge, CheckpointRequest])
export type ToCoordinator = t.TypeOf<typeof ToCoordinator>

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

/** A control message as bytes. */
export const encodeMessage = (message: ToCoordinator | Orders | CheckpointAnswer): Uint8Array =>
  encoder.encode(JSON.stringify(message))

const parse = (payload: Uint8Array): E.Either<StreamError, unknown> => {
  try {
    const value: unknown = JSON.parse(decoder.decode(payload))
    return E.right(value)
  } catch (cause) {
    return E.left(streamError('corrupt', 'a control message is not JSON', { cause }))
  }
}

/** Decodes once, at the edge; inside, types are trusted. */
export const decodeMessage = <A>(
  codec: t.Type<A, unknown>,
  payload: Uint8Array,
): E.Either<StreamError, A> => {
  const parsed = parse(payload)
  if (E.isLeft(parsed)) return parsed
  const decoded = codec.decode(parsed.right)
  if (E.isRight(decoded)) return decoded
  const why = PathReporter.report(decoded)[0] ?? ''
  return E.left(streamError('corrupt', `a control message was refused: ${why}`))
}
