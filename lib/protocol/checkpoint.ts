/**
 * The checkpoints of one generation: when to trigger, who has reported, what to commit or abort.
 *
 * Invariants
 *   K1. Ids come from the store's one counter; an id at or below an earlier one is a defect (P1).
 *   K2. At most `maxConcurrent` attempts are pending or being allocated.
 *   K3. A commit is asked for only when every subtask has reported, each for this generation and id (P2).
 *   K4. Once a commit was asked for, the attempt leaves only by the store's answer: neither the timeout
 *       nor a decline aborts it, since it may have been committed (P5).
 *   K5. `completed` moves only after the commit point, and only up (P6).
 *   K6. No periodic trigger sooner than `minPauseMs` after a completion; no final one sooner than
 *       `finalRetryMs` after one that came to nothing.
 */
import { invariant } from '../invariant.js'
import type { Epoch, Generation, SubtaskId } from './ids.js'
import type { PartRef } from './manifest.js'
import type { Report } from './messages.js'

/** When checkpoints are taken, and how long they may take. */
export interface CheckpointRules {
  /** Undefined: no periodic checkpoints; final ones are still taken. */
  readonly intervalMs: number | undefined
  readonly minPauseMs: number
  readonly timeoutMs: number
  readonly maxConcurrent: number
}

/** The closed set of reasons for which an attempt ends without completing. */
export type AbortReason = 'timed-out' | 'declined' | 'parts-missing' | 'superseded' | 'failed'

/** An attempt that has an id and no outcome yet. */
export interface PendingCheckpoint {
  readonly epoch: Epoch
  readonly final: boolean
  /** Monotonic; the timeout's clock starts here, when the attempt is registered. */
  readonly registeredAt: number
  readonly reports: ReadonlyMap<SubtaskId, Report>
  /** The commit was sent and its outcome is not known. */
  readonly committing: boolean
}

/** The checkpoints of one generation. */
export interface CheckpointState {
  readonly rules: CheckpointRules
  readonly generation: Generation
  readonly subtasks: ReadonlySet<SubtaskId>
  /** When the next periodic checkpoint is due; it stays in the past while it is blocked (one tick, however long). */
  readonly dueAt: number | undefined
  /** Not before this a final checkpoint is tried again. */
  readonly finalDueAt: number
  readonly lastCompletedAt: number | undefined
  /** An id was asked for and has not come: true for a final checkpoint. */
  readonly allocating: { readonly final: boolean } | undefined
  readonly pending: readonly PendingCheckpoint[]
  /** The newest completed epoch; 0 when the job started empty. */
  readonly completed: Epoch
  readonly highest: Epoch
  /** The final checkpoint of the job has completed. */
  readonly finalCompleted: Epoch | undefined
  /** The last few aborted ids, newest last: subtasks are told. */
  readonly aborted: readonly Epoch[]
  readonly discardedReports: number
}

/** What happens to checkpoints. */
export type CheckpointEvent =
  | { readonly type: 'tick'; readonly now: number; readonly allEnded: boolean }
  | { readonly type: 'allocated'; readonly epoch: Epoch; readonly now: number }
  | { readonly type: 'allocation-failed'; readonly now: number }
  | { readonly type: 'reported'; readonly report: Report }
  | {
      readonly type: 'declined'
      readonly subtask: SubtaskId
      readonly epoch: Epoch
      readonly reason: string
      readonly now: number
    }
  | { readonly type: 'committed'; readonly epoch: Epoch; readonly now: number }
  | {
      readonly type: 'commit-refused'
      readonly epoch: Epoch
      readonly reason: AbortReason
      readonly facts: string
      readonly now: number
    }

/** What is to be done about them. */
export type CheckpointEffect =
  | { readonly type: 'allocate-id' }
  | {
      readonly type: 'commit'
      readonly checkpoint: PendingCheckpoint
      readonly parts: readonly PartRef[]
    }
  | {
      readonly type: 'completed'
      readonly epoch: Epoch
      readonly durationMs: number
      readonly bytes: number
    }
  | {
      readonly type: 'aborted'
      readonly epoch: Epoch
      readonly reason: AbortReason
      readonly facts: string
      readonly durationMs: number
      /** What had been reported: for people; decisions never use it. */
      readonly reports: readonly Report[]
    }

/** A new state, and effects to perform in order. */
export type CheckpointStep = readonly [CheckpointState, readonly CheckpointEffect[]]

const abortedKept = 16
/** Rest between two tries at the final checkpoint, which is due at once and would spin otherwise. */
const finalRetryMs = 500

/** The state of a generation that has just begun to run. */
export const startCheckpoints = (options: {
  readonly rules: CheckpointRules
  readonly generation: Generation
  readonly subtasks: readonly SubtaskId[]
  readonly restored: Epoch
  readonly now: number
}): CheckpointState => ({
  rules: options.rules,
  generation: options.generation,
  subtasks: new Set(options.subtasks),
  // A job that starts from nothing takes its first checkpoint at once: it fixes where its sources began.
  dueAt:
    options.rules.intervalMs === undefined
      ? undefined
      : options.restored === 0
        ? options.now
        : options.now + intervalOf(options.rules),
  finalDueAt: options.now,
  lastCompletedAt: undefined,
  allocating: undefined,
  pending: [],
  completed: options.restored,
  highest: options.restored,
  finalCompleted: undefined,
  aborted: [],
  discardedReports: 0,
})

/** A min-pause longer than the interval is the interval. */
const intervalOf = (rules: CheckpointRules): number =>
  Math.max(rules.intervalMs ?? 0, rules.minPauseMs)

/** What one event does to the checkpoints. */
export const stepCheckpoints = (state: CheckpointState, event: CheckpointEvent): CheckpointStep => {
  switch (event.type) {
    case 'tick':
      return trigger(...expire(state, event.now), event)
    case 'allocated':
      return register(state, event.epoch, event.now)
    case 'allocation-failed':
      return [notAllocated(state, event.now), []]
    case 'reported':
      return report(state, event.report)
    case 'declined': {
      const attempt = state.pending.find(p => p.epoch === event.epoch)
      if (attempt === undefined || attempt.committing) return [state, []] // K4
      return abort(state, attempt, 'declined', `${event.subtask}: ${event.reason}`, event.now)
    }
    case 'committed':
      return complete(state, event.epoch, event.now)
    case 'commit-refused': {
      const attempt = state.pending.find(p => p.epoch === event.epoch)
      return attempt === undefined
        ? [state, []]
        : abort(state, attempt, event.reason, event.facts, event.now)
    }
  }
}

const notAllocated = (state: CheckpointState, now: number): CheckpointState => ({
  ...state,
  allocating: undefined,
  dueAt: state.dueAt === undefined ? undefined : now + intervalOf(state.rules),
  finalDueAt: state.allocating?.final === true ? now + finalRetryMs : state.finalDueAt,
})

/** The instant at which a tick would change something, if nothing else happens before. */
export const nextCheckpointAt = (state: CheckpointState): number | undefined => {
  const deadlines = state.pending
    .filter(p => !p.committing)
    .map(p => p.registeredAt + state.rules.timeoutMs)
  const slotFree =
    state.allocating === undefined && state.pending.length < state.rules.maxConcurrent
  if (slotFree && state.dueAt !== undefined && state.finalCompleted === undefined) {
    deadlines.push(Math.max(state.dueAt, earliestAfterPause(state)))
  }
  return deadlines.length === 0 ? undefined : Math.min(...deadlines)
}

const earliestAfterPause = (state: CheckpointState): number =>
  state.lastCompletedAt === undefined ? 0 : state.lastCompletedAt + state.rules.minPauseMs

const expire = (state: CheckpointState, now: number): CheckpointStep => {
  let current = state
  const effects: CheckpointEffect[] = []
  for (const attempt of state.pending) {
    if (attempt.committing || now < attempt.registeredAt + state.rules.timeoutMs) continue
    const missing = [...state.subtasks].filter(id => !attempt.reports.has(id))
    const [next, more] = abort(
      current,
      attempt,
      'timed-out',
      `no report from ${missing.join(', ')}`,
      now,
    )
    current = next
    effects.push(...more)
  }
  return [current, effects]
}

const trigger = (
  state: CheckpointState,
  effects: readonly CheckpointEffect[],
  event: { readonly now: number; readonly allEnded: boolean },
): CheckpointStep => {
  const { rules, pending, allocating } = state
  if (state.finalCompleted !== undefined) return [state, effects]
  if (allocating !== undefined || pending.length >= rules.maxConcurrent) return [state, effects] // K2
  // A job whose sources have all ended needs one checkpoint more, at once, with everything in it.
  if (event.allEnded) {
    if (event.now < state.finalDueAt) return [state, effects] // K6
    return [{ ...state, allocating: { final: true } }, [...effects, { type: 'allocate-id' }]]
  }
  if (state.dueAt === undefined || event.now < state.dueAt) return [state, effects]
  if (event.now < earliestAfterPause(state)) return [state, effects] // K6
  return [{ ...state, allocating: { final: false } }, [...effects, { type: 'allocate-id' }]]
}

const register = (state: CheckpointState, epoch: Epoch, now: number): CheckpointStep => {
  if (state.allocating === undefined) return [state, []]
  invariant(epoch > state.highest, 'K1', `${epoch} after ${state.highest}`)
  const interval = intervalOf(state.rules)
  const attempt: PendingCheckpoint = {
    epoch,
    final: state.allocating.final,
    registeredAt: now,
    reports: new Map(),
    committing: false,
  }
  const dueAt = state.dueAt === undefined ? undefined : nextDue(state.dueAt, interval, now)
  return [
    {
      ...state,
      allocating: undefined,
      highest: epoch,
      dueAt,
      pending: [...state.pending, attempt],
    },
    [],
  ]
}

/** Fixed rate; ticks that were missed while blocked are one tick, not a backlog. */
const nextDue = (dueAt: number, interval: number, now: number): number =>
  dueAt + interval > now ? dueAt + interval : now + interval

const report = (state: CheckpointState, received: Report): CheckpointStep => {
  const { part } = received
  const attempt = state.pending.find(p => p.epoch === part.epoch)
  const known = part.generation === state.generation && state.subtasks.has(part.subtask)
  if (attempt === undefined || !known || attempt.committing || attempt.reports.has(part.subtask)) {
    return [{ ...state, discardedReports: state.discardedReports + 1 }, []]
  }
  const reports = new Map(attempt.reports).set(part.subtask, received)
  if (reports.size < state.subtasks.size) return [replace(state, { ...attempt, reports }), []]
  const checkpoint: PendingCheckpoint = { ...attempt, reports, committing: true }
  const parts = [...reports.values()].map(r => r.part)
  return [replace(state, checkpoint), [{ type: 'commit', checkpoint, parts }]] // K3
}

const complete = (state: CheckpointState, epoch: Epoch, now: number): CheckpointStep => {
  const attempt = state.pending.find(p => p.epoch === epoch)
  if (attempt === undefined) return [state, []]
  invariant(
    attempt.committing && epoch > state.completed,
    'K5',
    `${epoch} after ${state.completed}`,
  )
  let current: CheckpointState = {
    ...state,
    pending: state.pending.filter(p => p !== attempt),
    completed: epoch,
    lastCompletedAt: now,
    finalCompleted: attempt.final ? epoch : state.finalCompleted,
  }
  const bytes = [...attempt.reports.values()].reduce((sum, r) => sum + r.part.bytes, 0)
  const effects: CheckpointEffect[] = [
    { type: 'completed', epoch, durationMs: now - attempt.registeredAt, bytes },
  ]
  for (const older of current.pending.filter(p => p.epoch < epoch && !p.committing)) {
    const [next, more] = abort(current, older, 'superseded', `by ${epoch}`, now)
    current = next
    effects.push(...more)
  }
  return [current, effects]
}

const abort = (
  state: CheckpointState,
  attempt: PendingCheckpoint,
  reason: AbortReason,
  facts: string,
  now: number,
): CheckpointStep => [
  {
    ...state,
    pending: state.pending.filter(p => p.epoch !== attempt.epoch),
    finalDueAt: attempt.final ? now + finalRetryMs : state.finalDueAt,
    aborted: [...state.aborted, attempt.epoch].slice(-abortedKept),
  },
  [
    {
      type: 'aborted',
      epoch: attempt.epoch,
      reason,
      facts,
      durationMs: now - attempt.registeredAt,
      reports: [...attempt.reports.values()],
    },
  ],
]

const replace = (state: CheckpointState, attempt: PendingCheckpoint): CheckpointState => ({
  ...state,
  pending: state.pending.map(p => (p.epoch === attempt.epoch ? attempt : p)),
})
