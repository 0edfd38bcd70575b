/**
 * The checkpoints of one generation: when to trigger, who has reported, what to commit or abort.
 *
 * Invariants
 *   K1. Ids come from the store's one counter; an id at or below an earlier one is a defect (P1).
 *   K2. At most `maxConcurrent` attempts are pending or being allocated, whoever asked for them, and one
 *       of them is final at most. What is blocked meanwhile waits as one: ticks, and requests by hand.
 *   K3. A commit is asked for only when every subtask has reported, each for this generation and id (P2).
 *   K4. Once a commit was asked for, the attempt leaves only by the store's answer: neither the timeout
 *       nor a decline aborts it, since it may have been committed (P5). One commit is under way at a time,
 *       the oldest first: the store's answers come in the order of ids.
 *   K5. `completed` moves only after the commit point, and only up (P6).
 *   K6. No periodic trigger sooner than `minPauseMs` after a completion; no final one sooner than
 *       `finalRetryMs` after one that came to nothing. One by hand waits for neither.
 *   K7. A request by hand is served by an attempt that begins after it came, or by the final one.
 *   K8. A checkpoint that holds records of a loop is not the final one, whatever it was begun as.
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
  /** Requests by hand that it serves; none: it came of itself. */
  readonly requests: readonly string[]
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
  /** Whether all sources had ended at the last tick: only a final one can begin then. */
  readonly allEnded: boolean
  /** Not before this a final checkpoint is tried again. */
  readonly finalDueAt: number
  readonly lastCompletedAt: number | undefined
  /** An id was asked for and has not come. */
  readonly allocating: { readonly final: boolean; readonly requests: readonly string[] } | undefined
  /** Requests by hand that wait for the next attempt. */
  readonly queued: readonly string[]
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
  /** Somebody asks for a checkpoint, under a name of their own; may be repeated. */
  | { readonly type: 'requested'; readonly request: string }
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
  allEnded: false,
  finalDueAt: options.now,
  lastCompletedAt: undefined,
  allocating: undefined,
  queued: [],
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
      return trigger(...expire({ ...state, allEnded: event.allEnded }, event.now), event)
    case 'requested':
      return [requested(state, event.request), []]
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
      if (attempt === undefined) return [state, []]
      return commitNext(...abort(state, attempt, event.reason, event.facts, event.now))
    }
  }
}

/** K7: an attempt whose barriers are on their way has seen less than is asked for, unless nothing follows. */
const requested = (state: CheckpointState, request: string): CheckpointState => {
  const { allocating, pending } = state
  if (requestsOf(state).has(request)) return state
  if (allocating?.final === true)
    return { ...state, allocating: { ...allocating, requests: [...allocating.requests, request] } }
  const final = pending.find(p => p.final)
  return final === undefined
    ? { ...state, queued: [...state.queued, request] }
    : replace(state, { ...final, requests: [...final.requests, request] })
}

/** Requests by hand that are not settled, each with the attempt that serves it, if it has an id. */
export const requestsOf = (state: CheckpointState): ReadonlyMap<string, Epoch | undefined> => {
  const open = new Map<string, Epoch | undefined>()
  for (const request of state.queued) open.set(request, undefined)
  for (const request of state.allocating?.requests ?? []) open.set(request, undefined)
  for (const { epoch, requests } of state.pending)
    for (const request of requests) open.set(request, epoch)
  return open
}

const notAllocated = (state: CheckpointState, now: number): CheckpointState => ({
  ...state,
  allocating: undefined,
  dueAt: isDue(state, now) ? now + intervalOf(state.rules) : state.dueAt,
  finalDueAt: state.allocating?.final === true ? now + finalRetryMs : state.finalDueAt,
})

/** The instant at which a tick would change something, if nothing else happens before. */
export const nextCheckpointAt = (state: CheckpointState): number | undefined => {
  const deadlines = state.pending
    .filter(p => !p.committing)
    .map(p => p.registeredAt + state.rules.timeoutMs)
  if (!isBlocked(state)) {
    if (state.allEnded) deadlines.push(state.finalDueAt)
    else if (state.queued.length > 0) deadlines.push(0)
    else if (state.dueAt !== undefined)
      deadlines.push(Math.max(state.dueAt, earliestAfterPause(state)))
  }
  return deadlines.length === 0 ? undefined : Math.min(...deadlines)
}

/** K2: whether no attempt may begin now. */
const isBlocked = ({ rules, pending, allocating, finalCompleted }: CheckpointState): boolean =>
  finalCompleted !== undefined ||
  allocating !== undefined ||
  pending.length >= rules.maxConcurrent ||
  pending.some(p => p.final)

const isDue = ({ dueAt }: CheckpointState, now: number): boolean =>
  dueAt !== undefined && now >= dueAt

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
      missing.length === 0
        ? 'the store has not answered for the checkpoint before it'
        : `no report from ${missing.join(', ')}`,
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
  if (isBlocked(state)) return [state, effects] // K2
  const { queued } = state
  const begin = (final: boolean): CheckpointStep => [
    { ...state, queued: [], allocating: { final, requests: queued } },
    [...effects, { type: 'allocate-id' }],
  ]
  // A job whose sources have all ended needs one checkpoint more, at once, with everything in it.
  if (event.allEnded) return event.now < state.finalDueAt ? [state, effects] : begin(true) // K6
  if (queued.length > 0) return begin(false)
  const isPausing = event.now < earliestAfterPause(state)
  return isPausing || !isDue(state, event.now) ? [state, effects] : begin(false) // K6
}

const register = (state: CheckpointState, epoch: Epoch, now: number): CheckpointStep => {
  if (state.allocating === undefined) return [state, []]
  invariant(epoch > state.highest, 'K1', `${epoch} after ${state.highest}`)
  const interval = intervalOf(state.rules)
  const attempt: PendingCheckpoint = {
    epoch,
    final: state.allocating.final,
    requests: state.allocating.requests,
    registeredAt: now,
    reports: new Map(),
    committing: false,
  }
  const { dueAt } = state
  return [
    {
      ...state,
      allocating: undefined,
      highest: epoch,
      // What is asked for by hand is the periodic one, too, if that is due.
      dueAt: dueAt === undefined || now < dueAt ? dueAt : nextDue(dueAt, interval, now),
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
  return commitNext(replace(state, { ...attempt, reports }), [])
}

/** Asks for the next commit, unless one is under way (K4). */
const commitNext = (
  state: CheckpointState,
  effects: readonly CheckpointEffect[],
): CheckpointStep => {
  if (state.pending.some(p => p.committing)) return [state, effects]
  const attempt = state.pending.find(p => p.reports.size >= state.subtasks.size) // K3
  if (attempt === undefined) return [state, effects]
  const final = attempt.final && !isLooping(attempt) // K8
  const checkpoint: PendingCheckpoint = { ...attempt, final, committing: true }
  const parts = [...attempt.reports.values()].map(r => r.part)
  return [replace(state, checkpoint), [...effects, { type: 'commit', checkpoint, parts }]]
}

/** Whether records were on their way round a loop. */
const isLooping = ({ reports }: PendingCheckpoint): boolean =>
  [...reports.values()].some(({ looped }) => looped > 0)

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
    finalDueAt: isLooping(attempt) ? now + finalRetryMs : state.finalDueAt,
  }
  const bytes = [...attempt.reports.values()].reduce((sum, r) => sum + r.part.bytes, 0)
  const effects: CheckpointEffect[] = [
    { type: 'completed', epoch, durationMs: now - attempt.registeredAt, bytes },
  ]
  for (const older of current.pending.filter(p => p.epoch < epoch)) {
    const [next, more] = abort(current, older, 'superseded', `by ${epoch}`, now)
    current = next
    effects.push(...more)
  }
  return commitNext(current, effects)
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
    // One that loops is no longer the final one (K8), and would be followed at once all the same.
    finalDueAt: attempt.final || isLooping(attempt) ? now + finalRetryMs : state.finalDueAt,
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
