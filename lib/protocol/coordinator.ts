/**
 * The coordinator: one job's life as pure steps. It decides; `actors/coordinator.ts` performs.
 *
 * Invariants
 *   O1. Every incarnation of the job's subtasks has its own generation, taken from the store together with
 *       what it restores; nothing of an older generation is listened to (P2).
 *   O2. Subtasks run only when every one of them is restored (P8), and sources with them.
 *   O3. A subtask's failure, or the loss of its worker, ends the generation: its pending checkpoints die with it.
 *       A worker that lives and denies having the generation it runs counts as lost.
 *   O4. A job ends only after its workers have let go, or are dead: nothing of it writes afterwards.
 *   O5. `finished` needs a completed final checkpoint whose output every subtask has published.
 *   O6. After `ended` or `fenced` nothing is done any more, whatever still comes in.
 *   O7. Terms, generations and epochs only rise. A worker that has followed a later term or generation than
 *       ours, or the same generation in another term, and a mailbox of a generation that is only now begun,
 *       are our successor's, or a store's that has since gone back to an older state. If the store, asked
 *       afterwards, confirms our claim, or if it restores less than has completed, it has gone back: the job
 *       stops. A number that is given again is not used; where nothing else is lost, the job goes on.
 *   O8. More checkpoints in a row that come to nothing than are tolerated end the generation, like any
 *       failure; where any number is, the job goes on.
 */
import type { StreamError } from '../errors.js'
import { absurd } from '../invariant.js'
import { allEnded, assign, subtaskState, unready } from './assignment.js'
import {
  type CheckpointEffect,
  type CheckpointEvent,
  nextCheckpointAt,
  startCheckpoints,
  stepCheckpoints,
} from './checkpoint.js'
import { type CheckpointOutcome, countOutcome, initialFailures } from './checkpoint-failures.js'
import {
  type Assignment,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorSettings,
  type CoordinatorState,
  type CoordinatorStep,
  type EndStatus,
  generationOf,
  type Note,
  type Phase,
  type RestoredFrom,
  type WorkerState,
} from './coordinator-state.js'
import type { Epoch, Generation, SubtaskId, WorkerId } from './ids.js'
import type { Manifest } from './manifest.js'
import { initialMembership, step as stepMembership } from './membership.js'
import type { Beat, SubtaskState } from './messages.js'
import { withOrders } from './orders.js'
import { answerTo, refusalOf, withAnswers } from './requests.js'
import { initialRetry, step as stepRetry } from './retry.js'
import {
  aheadOf,
  isGivenAgain,
  wentBack,
  withCompleted,
  withMailboxAhead,
} from './store-history.js'

export { unassignable } from './assignment.js'
export * from './coordinator-state.js'

/** How long to wait before asking the store again for a generation. */
const storeRetryMs = 500

/** The state of a coordinator that has just claimed its job. */
export const initialCoordinator = (settings: CoordinatorSettings): CoordinatorState => ({
  settings,
  phase: { type: 'beginning', retryAt: undefined },
  workers: new Map(),
  members: initialMembership({
    timeoutMs: settings.heartbeatTimeoutMs,
    stallTimeoutMs: settings.stallTimeoutMs,
    observerGapMs: Math.max(2 * settings.ordersEveryMs, 1_000),
  }),
  retry: initialRetry(settings.restart),
  restarts: 0,
  ordersDueAt: 0,
  newest: 0,
  completed: 0,
  failures: initialFailures(settings.tolerableFailures),
  answered: new Map(),
  ahead: undefined,
})

/** What one event does to a job, orders that have become due included. */
export const stepCoordinator = (
  state: CoordinatorState,
  event: CoordinatorEvent,
): CoordinatorStep => {
  if (state.phase.type === 'ended' || state.phase.type === 'fenced') return [state, []] // O6
  const [next, effects] = withAnswers(state, decide(state, event), event)
  return withOrders(state, next, effects, event.now)
}

/** The next instant at which a tick is of use. */
export const nextWakeAt = (state: CoordinatorState): number => {
  const { phase } = state
  const candidates = [state.ordersDueAt]
  if (phase.type === 'restarting') candidates.push(phase.at)
  if (phase.type === 'beginning' && phase.retryAt !== undefined) candidates.push(phase.retryAt)
  if (phase.type === 'running')
    candidates.push(nextCheckpointAt(phase.checkpoints) ?? Number.POSITIVE_INFINITY)
  return Math.min(...candidates)
}

const decide = (state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep => {
  switch (event.type) {
    case 'started':
      return [state, [{ type: 'begin-generation' }]]
    case 'tick':
      return onTick(state, event)
    case 'generation-begun':
      return onGenerationBegun(state, event)
    case 'generation-failed':
      return onGenerationFailed(state, event)
    case 'mailboxes-ready':
      return state.phase.type === 'assembling' && state.phase.generation === event.generation
        ? assemble({ ...state, phase: { ...state.phase, mailboxes: true } }, event.now)
        : [state, []]
    case 'mailboxes-failed':
      return generationOf(state) === event.generation
        ? fail(state, `its mailboxes could not be made: ${event.error.message}`, false, event)
        : [state, []]
    case 'mailboxes-ahead':
      return [withMailboxAhead(state, event.stream, event.now), []]
    case 'beat':
      return onBeat(state, event.beat, event)
    case 'heartbeat':
      return [seen(state, event.worker, event.now, event.lagMs), []]
    case 'worker-exited':
      return loseWorker(state, event.worker, event.reason, event)
    case 'epoch-allocated':
      return onAllocated(state, event)
    case 'allocation-failed': {
      const failed = { type: 'allocation-failed', now: event.now } as const
      const [next, effects] = checkpoints(state, event.generation, failed, event)
      const note: Note = {
        type: 'store-trouble',
        doing: 'starting a checkpoint',
        error: event.error,
      }
      return [next, [{ type: 'note', note }, ...effects]]
    }
    case 'committed': {
      const { type, generation, epoch, now } = event
      return checkpoints(withCompleted(state, epoch), generation, { type, epoch, now }, event)
    }
    case 'commit-refused': {
      const { type, generation, epoch, reason, facts, now } = event
      return checkpoints(state, generation, { type, epoch, reason, facts, now }, event)
    }
    case 'checkpoint-requested':
      return onRequested(state, event)
    case 'cancel-requested':
      return isEnding(state.phase) ? [state, []] : stop(state, 'canceled', undefined, event.now)
    case 'fenced':
      return [{ ...state, phase: { type: 'fenced', reason: event.reason } }, []]
    case 'store-lost':
      return onStoreLost(state, event.reason, event.now)
    case 'renewed':
      return onRenewed(state, event)
    case 'job-ended':
      return state.phase.type === 'stopping'
        ? [
            {
              ...state,
              phase: { type: 'ended', status: state.phase.status, reason: state.phase.reason },
            },
            [],
          ]
        : [state, []]
    default:
      return absurd(event)
  }
}

const onAllocated = (
  state: CoordinatorState,
  event: Extract<CoordinatorEvent, { type: 'epoch-allocated' }>,
): CoordinatorStep => {
  const { generation, epoch, now } = event
  // The next generation restores, and so tells whether anything that had completed is lost.
  if (isGivenAgain(state, generation, epoch))
    return fail(state, `the store gave checkpoint ${epoch} again`, false, event)
  return checkpoints(state, generation, { type: 'allocated', epoch, now }, event)
}

const onRequested = (
  state: CoordinatorState,
  event: Extract<CoordinatorEvent, { type: 'checkpoint-requested' }>,
): CoordinatorStep => {
  const { request } = event
  if (state.answered.has(request)) return [state, [answerTo(state, request)]] // Q1
  const reason = refusalOf(state)
  if (reason !== undefined)
    return [state, [{ type: 'answer', request, outcome: { type: 'refused', reason } }]] // Q2
  // The tick that begins it is due at once.
  const requested = { type: 'requested', request } as const
  const [next, effects] = checkpoints(state, generationOf(state), requested, event)
  return [next, [...effects, answerTo(next, request)]]
}

const onGenerationFailed = (
  state: CoordinatorState,
  { now, error }: { readonly now: number; readonly error: StreamError },
): CoordinatorStep => {
  if (state.phase.type !== 'beginning') return [state, []]
  const note: Note = { type: 'store-trouble', doing: 'starting a generation', error }
  const phase: Phase = { type: 'beginning', retryAt: now + storeRetryMs }
  return [{ ...state, phase }, [{ type: 'note', note }]]
}

const onStoreLost = (state: CoordinatorState, reason: string, now: number): CoordinatorStep => {
  if (isEnding(state.phase)) return [state, []]
  const [next, effects] = stop(state, 'failed', reason, now)
  const generation = generationOf(state)
  const note: Note = { type: 'failed', generation, reason, delayMs: undefined }
  return [next, [{ type: 'note', note }, ...effects]]
}

/** O7: no successor took the claim after the worker was heard of, so the store has forgotten. */
const onRenewed = (
  state: CoordinatorState,
  { askedAt, now }: { readonly askedAt: number; readonly now: number },
): CoordinatorStep => {
  const { ahead } = state
  if (ahead === undefined || askedAt <= ahead.since) return [state, []]
  return onStoreLost(state, wentBack(`knows nothing of ${ahead.what}`), now)
}

const isEnding = (phase: Phase): boolean =>
  phase.type === 'stopping' || phase.type === 'ended' || phase.type === 'fenced'

// --- time -----------------------------------------------------------------------------------

const onTick = (state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep => {
  const [live, effects] = loseSilent(state, event)
  const [next, more] = onPhaseTick(live, event)
  return [next, [...effects, ...more]]
}

const onPhaseTick = (state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep => {
  const { phase, settings } = state
  switch (phase.type) {
    case 'beginning':
      return phase.retryAt !== undefined && event.now >= phase.retryAt ? begin(state) : [state, []]
    case 'restarting':
      return event.now >= phase.at ? begin(state) : [state, []]
    case 'assembling':
      return assemble(state, event.now)
    case 'deploying':
      return event.now - phase.since > settings.deployTimeoutMs
        ? fail(
            state,
            `${unready(state, phase.assignment).join(', ')} did not get ready in time`,
            false,
            event,
          )
        : [state, []]
    case 'running': {
      const ended = allEnded(state, phase.assignment)
      const tick = { type: 'tick', now: event.now, allEnded: ended } as const
      return checkpoints(state, phase.generation, tick, event)
    }
    case 'stopping':
      return finishStopping(state, event.now)
    case 'ended':
    case 'fenced':
      return [state, []]
  }
}

const begin = (state: CoordinatorState): CoordinatorStep => [
  { ...state, phase: { type: 'beginning', retryAt: undefined } },
  [{ type: 'begin-generation' }],
]

const onGenerationBegun = (
  state: CoordinatorState,
  event: {
    readonly generation: Generation
    readonly restore: Manifest | undefined
    readonly now: number
  },
): CoordinatorStep => {
  if (state.phase.type !== 'beginning') return [state, []]
  const { generation, restore } = event
  const restored = restore?.epoch ?? 0
  if (restored < state.completed)
    return onStoreLost(state, wentBack(`restores ${restored} behind ${state.completed}`), event.now)
  // Workers know what they have let go of: numbers are asked for until there is a new one.
  if (generation <= state.newest) return begin(state)
  const misfit = restore === undefined ? undefined : misfitOf(state.settings, restore)
  if (misfit !== undefined) {
    const [next, effects] = stop(state, 'failed', misfit, event.now)
    const note: Note = { type: 'failed', generation, reason: misfit, delayMs: undefined }
    return [next, [{ type: 'note', note }, ...effects]]
  }
  const [next, effects] = assemble(
    {
      ...withCompleted(state, restored),
      newest: generation,
      phase: { type: 'assembling', generation, restore, mailboxes: false },
    },
    event.now,
  )
  return [
    next,
    [
      { type: 'prepare-mailboxes', generation },
      { type: 'note', note: { type: 'generation-begun', generation, restored: restore?.epoch } },
      ...effects,
    ],
  ]
}

/** Why a checkpoint cannot be restored into this graph; what lies inside its parts is for the parts' readers. */
export const misfitOf = (
  settings: Pick<CoordinatorSettings, 'maxParallelism' | 'subtasks'>,
  restore: Manifest,
): string | undefined => {
  if (restore.maxParallelism !== settings.maxParallelism) {
    return `checkpoint ${restore.epoch} was taken with maxParallelism ${restore.maxParallelism}, and the job now has ${settings.maxParallelism}: it is fixed for the state's life; set it back, or start from nothing with --fresh`
  }
  const stored = new Set(restore.parts.map(p => p.subtask))
  const added = settings.subtasks.filter(id => !stored.has(id))
  const gone = [...stored].filter(id => !settings.subtasks.includes(id))
  if (added.length === 0 && gone.length === 0) return undefined
  return `checkpoint ${restore.epoch} does not fit the job: it has ${[...stored].join(', ')}, and the job has ${settings.subtasks.join(', ')}; set ids and parallelism back to those of the checkpoint, or start from nothing with --fresh`
}

// --- workers --------------------------------------------------------------------------------

const seen = (
  state: CoordinatorState,
  worker: WorkerId,
  now: number,
  lagMs: number,
): CoordinatorState =>
  state.workers.has(worker)
    ? {
        ...state,
        members: stepMembership(state.members, { type: 'heartbeat', worker, now, lagMs })[0],
      }
    : state

const loseSilent = (state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep => {
  const [members, losses] = stepMembership(state.members, { type: 'tick', now: event.now })
  let current: CoordinatorState = { ...state, members }
  const effects: CoordinatorEffect[] = []
  for (const loss of losses) {
    if (loss.type !== 'worker-lost') continue
    const ms = Math.round(loss.forMs)
    const reason =
      loss.reason === 'silent'
        ? `no heartbeat for ${ms} ms`
        : `its event loop has been blocked for ${ms} ms`
    const [next, more] = loseWorker(current, loss.worker, reason, event)
    current = next
    effects.push(...more)
  }
  return [current, effects]
}

const loseWorker = (
  state: CoordinatorState,
  id: WorkerId,
  reason: string,
  event: CoordinatorEvent,
): CoordinatorStep => {
  if (!state.workers.has(id)) return [state, []]
  const workers = new Map(state.workers)
  workers.delete(id)
  const [members] = stepMembership(state.members, { type: 'left', worker: id })
  const without = { ...state, workers, members }
  const note: CoordinatorEffect = {
    type: 'note',
    note: { type: 'worker-lost', worker: id, reason },
  }
  const { phase } = state
  if (phase.type === 'stopping') {
    const [next, effects] = finishStopping(without, event.now)
    // One that has let go leaves in good order: nobody need be told of a loss.
    const isLoss = state.workers.get(id)?.stopped !== true
    return [next, isLoss ? [note, ...effects] : effects]
  }
  if (phase.type !== 'deploying' && phase.type !== 'running') return [without, [note]]
  const lost = [...phase.assignment]
    .filter(([, worker]) => worker === id)
    .map(([subtask]) => subtask)
  if (lost.length === 0) return [without, [note]]
  const [next, effects] = fail(
    without,
    `${lost.join(', ')} lost its worker: ${reason}`,
    false,
    event,
  )
  return [next, [note, ...effects]]
}

/** One beat may be old news; a worker that goes on denying has lost what it was given. */
const hasStrayed = ({ phase }: CoordinatorState, beat: Beat): boolean =>
  phase.type === 'running' &&
  beat.generation !== phase.generation &&
  [...phase.assignment.values()].includes(beat.worker)

const onBeat = (state: CoordinatorState, beat: Beat, event: CoordinatorEvent): CoordinatorStep => {
  const known = state.workers.get(beat.worker)
  const worker: WorkerState = {
    worker: beat.worker,
    pid: beat.pid,
    slots: beat.slots,
    only: beat.only,
    fits: beat.graph === state.settings.graph,
    generation: beat.generation,
    subtasks: new Map(beat.subtasks.map(s => [s.subtask, s])),
    stopped: beat.stopped,
    strayedAt: hasStrayed(state, beat) ? (known?.strayedAt ?? event.now) : undefined,
  }
  const workers = new Map(state.workers).set(beat.worker, worker)
  const joined: CoordinatorState = {
    ...seen({ ...state, workers }, beat.worker, event.now, 0),
    // A newcomer must not wait for the next period to learn what it is to do.
    ordersDueAt: known === undefined ? event.now : state.ordersDueAt,
    ahead: aheadOf(state, beat, event.now),
  }
  const notes: CoordinatorEffect[] =
    known === undefined
      ? [{ type: 'note', note: { type: 'worker-joined', worker: beat.worker, fits: worker.fits } }]
      : []
  const [next, effects] = onBeatPhase(joined, worker, event)
  return [next, [...notes, ...effects]]
}

const onBeatPhase = (
  state: CoordinatorState,
  worker: WorkerState,
  event: CoordinatorEvent,
): CoordinatorStep => {
  const { phase } = state
  if (phase.type === 'assembling') return assemble(state, event.now)
  if (phase.type === 'stopping') return finishStopping(state, event.now)
  if (phase.type !== 'deploying' && phase.type !== 'running') return [state, []]
  if (worker.generation !== phase.generation) return judgeStray(state, worker, event) // O1
  for (const subtask of worker.subtasks.values()) {
    if (phase.assignment.get(subtask.subtask) !== worker.worker || subtask.phase !== 'failed')
      continue
    const reason = `${subtask.subtask} failed: ${subtask.error?.message ?? 'no reason given'}`
    return fail(state, reason, subtask.error?.fatal ?? false, event)
  }
  return phase.type === 'deploying' ? startRunning(state, event) : collect(state, worker, event)
}

const judgeStray = (
  state: CoordinatorState,
  { worker, strayedAt }: WorkerState,
  event: CoordinatorEvent,
): CoordinatorStep => {
  const { heartbeatTimeoutMs } = state.settings
  if (strayedAt === undefined || event.now - strayedAt <= heartbeatTimeoutMs) return [state, []]
  return fail(state, `worker ${worker} no longer has its subtasks`, false, event) // O3
}

/** Gives every subtask a worker, once there are enough of them. */
const assemble = (state: CoordinatorState, now: number): CoordinatorStep => {
  const { phase } = state
  if (phase.type !== 'assembling' || !phase.mailboxes) return [state, []]
  const assignment = assign(state)
  if (assignment === undefined) return [state, []]
  const { generation, restore } = phase
  return [
    { ...state, phase: { type: 'deploying', generation, restore, assignment, since: now } },
    [],
  ]
}

const startRunning = (state: CoordinatorState, event: CoordinatorEvent): CoordinatorStep => {
  const { phase, settings } = state
  if (phase.type !== 'deploying' || unready(state, phase.assignment).length > 0) return [state, []] // O2
  const { generation, restore, assignment } = phase
  const checkpointState = startCheckpoints({
    rules: settings.checkpoints,
    generation,
    subtasks: settings.subtasks,
    restored: restore?.epoch ?? 0,
    now: event.now,
  })
  return [
    {
      ...state,
      phase: { type: 'running', generation, restore, assignment, checkpoints: checkpointState },
    },
    [
      { type: 'set-status', status: 'running', reason: undefined },
      { type: 'note', note: { type: 'running', generation, ...restoredFrom(state, assignment) } },
    ],
  ]
}

const restoredFrom = (
  { workers, settings }: CoordinatorState,
  assignment: Assignment,
): { readonly restored?: RestoredFrom } => {
  const from = [...assignment].map(
    ([id, worker]) => workers.get(worker)?.subtasks.get(id)?.restoredFrom,
  )
  const count = (where: SubtaskState['restoredFrom']): number =>
    from.filter(one => one === where).length
  if (!settings.localRecovery || count(undefined) === from.length) return {}
  const copied = { memory: count('local-copy'), disk: count('disk-copy') }
  const manifest = count('manifest')
  return {
    restored: { ...copied, store: count('store'), ...(manifest === 0 ? {} : { manifest }) },
  }
}

// --- checkpoints ----------------------------------------------------------------------------

const collect = (
  state: CoordinatorState,
  worker: WorkerState,
  event: CoordinatorEvent,
): CoordinatorStep => {
  let current = state
  const effects: CoordinatorEffect[] = []
  const feed = (more: CheckpointEvent): void => {
    const [next, produced] = checkpoints(current, generationOf(current), more, event)
    current = next
    effects.push(...produced)
  }
  for (const subtask of worker.subtasks.values()) {
    for (const report of subtask.reports) {
      // What this beat repeats because the news of its settling has not got through is no late report.
      if (isPending(current, report.part.epoch, subtask.subtask)) feed({ type: 'reported', report })
    }
    for (const decline of subtask.declines) {
      feed({
        type: 'declined',
        subtask: subtask.subtask,
        epoch: decline.epoch,
        reason: decline.reason,
        now: event.now,
      })
    }
  }
  if (current.phase.type !== 'running') return [current, effects]
  feed({ type: 'tick', now: event.now, allEnded: allEnded(current, current.phase.assignment) })
  const [next, more] = finishJob(current, event.now)
  return [next, [...effects, ...more]]
}

const isPending = (state: CoordinatorState, epoch: Epoch, subtask: SubtaskId): boolean =>
  state.phase.type === 'running' &&
  !state.phase.checkpoints.pending.some(p => p.epoch === epoch && p.reports.has(subtask))

const finishJob = (state: CoordinatorState, now: number): CoordinatorStep => {
  const { phase } = state
  if (phase.type !== 'running') return [state, []]
  const final = phase.checkpoints.finalCompleted
  if (final === undefined) return [state, []]
  const published = state.settings.subtasks.every(
    id => (subtaskState(state, phase.assignment, id)?.committed ?? 0) >= final,
  )
  return published ? stop(state, 'finished', undefined, now) : [state, []] // O5
}

const checkpoints = (
  state: CoordinatorState,
  generation: Generation,
  event: CheckpointEvent,
  cause: CoordinatorEvent,
): CoordinatorStep => {
  const { phase } = state
  if (phase.type !== 'running' || phase.generation !== generation) return [state, []] // O1
  const [next, produced] = stepCheckpoints(phase.checkpoints, event)
  const effects = produced.flatMap(effect => translate(generation, effect))
  const after = { ...state, phase: { ...phase, checkpoints: next } }
  return judgeOutcomes(after, effects, outcomesOf(produced, cause), cause)
}

const outcomesOf = (
  produced: readonly CheckpointEffect[],
  cause: CoordinatorEvent,
): readonly CheckpointOutcome[] =>
  cause.type === 'allocation-failed'
    ? [{ type: 'not-begun', facts: cause.error.message }]
    : produced.filter(effect => effect.type === 'completed' || effect.type === 'aborted')

/** O8: counts what came to nothing; one too many ends the generation. */
const judgeOutcomes = (
  state: CoordinatorState,
  effects: readonly CoordinatorEffect[],
  outcomes: readonly CheckpointOutcome[],
  cause: CoordinatorEvent,
): CoordinatorStep => {
  let { failures } = state
  let reason: string | undefined
  for (const outcome of outcomes) {
    // What comes after one too many ends with the generation (CF3).
    if (reason !== undefined) break
    const counted = countOutcome(failures, outcome)
    failures = counted[0]
    reason = counted[1]
  }
  const counted = { ...state, failures }
  if (reason === undefined) return [counted, effects]
  const [next, more] = fail(counted, reason, false, cause)
  // What was begun in the same step is not begun: nobody would see to it.
  const rest = effects.filter(({ type }) => type !== 'allocate-epoch' && type !== 'commit')
  return [next, [...rest, ...more]]
}

const translate = (
  generation: Generation,
  effect: CheckpointEffect,
): readonly CoordinatorEffect[] => {
  switch (effect.type) {
    case 'allocate-id':
      return [{ type: 'allocate-epoch', generation }]
    case 'commit':
      return [{ type: 'commit', generation, checkpoint: effect.checkpoint, parts: effect.parts }]
    case 'completed': {
      const { epoch, durationMs, bytes } = effect
      return [{ type: 'note', note: { type: 'checkpoint-completed', epoch, durationMs, bytes } }]
    }
    case 'aborted': {
      const { epoch, reason, facts } = effect
      return [
        { type: 'record-aborted', generation, aborted: effect },
        { type: 'note', note: { type: 'checkpoint-aborted', epoch, reason, facts } },
      ]
    }
  }
}

// --- failure and end ------------------------------------------------------------------------

const fail = (
  state: CoordinatorState,
  reason: string,
  fatal: boolean,
  event: { readonly now: number; readonly random: number },
): CoordinatorStep => {
  if (isEnding(state.phase) || state.phase.type === 'restarting') return [state, []]
  const generation = generationOf(state)
  const [retry, verdict] = stepRetry(state.retry, {
    type: 'failed',
    now: event.now,
    random: event.random,
  })
  if (fatal || verdict.type === 'give-up') {
    const [next, effects] = stop({ ...state, retry }, 'failed', reason, event.now)
    const note: Note = { type: 'failed', generation, reason, delayMs: undefined }
    return [next, [{ type: 'note', note }, ...effects]]
  }
  const note: Note = { type: 'failed', generation, reason, delayMs: verdict.delayMs }
  return [
    {
      ...state,
      retry,
      restarts: state.restarts + 1,
      phase: { type: 'restarting', generation, at: event.now + verdict.delayMs, reason },
    },
    [
      { type: 'note', note },
      { type: 'set-status', status: 'restarting', reason },
    ],
  ]
}

const stop = (
  state: CoordinatorState,
  status: EndStatus,
  reason: string | undefined,
  now: number,
): CoordinatorStep =>
  finishStopping(
    {
      ...state,
      phase: {
        type: 'stopping',
        generation: generationOf(state),
        status,
        reason,
        since: now,
        completed: state.phase.type === 'running' ? state.phase.checkpoints.completed : 0,
        ending: false,
      },
    },
    now,
  )

const finishStopping = (state: CoordinatorState, now: number): CoordinatorStep => {
  const { phase, settings } = state
  if (phase.type !== 'stopping' || phase.ending) return [state, []]
  const holding = [...state.workers.values()].some(w => w.fits && !w.stopped)
  if (holding && now - phase.since < settings.stopTimeoutMs) return [state, []] // O4
  return [
    { ...state, phase: { ...phase, ending: true } },
    [{ type: 'end-job', status: phase.status, reason: phase.reason }],
  ]
}
