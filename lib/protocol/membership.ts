/**
 * Which workers live, judged by their heartbeats. Like traffic lights: a worker is *alive*, then
 * *late* at half of a limit, which is for people to see, then lost, which the coordinator acts on.
 *
 * Heartbeats come from a thread of their own, so they prove that a process lives even while its
 * event loop is busy. They carry for how long the loop has been blocked: a process that lives and
 * does nothing must not hold up a job for ever either, but deserves a longer limit.
 *
 * Invariants
 *   M1. A worker is lost when it was silent for more than `timeoutMs` or its event loop was blocked
 *       for more than `stallTimeoutMs`, and is then reported exactly once.
 *   M2. A worker that left is lost at once, and not again.
 *   M3. A heartbeat of a worker that is not a member makes it join; a lost one comes back as new. A
 *       heartbeat that tells of a stalled event loop admits nobody.
 *   M4. Time during which the observer itself slept is nobody's silence. After a sleep the timers
 *       run before the heartbeats that have piled up are read, and everybody would be declared
 *       lost.
 */
import { absurd } from '../invariant.js'
import type { WorkerId } from './ids.js'

/** The limits that workers are judged by, in milliseconds. */
export interface MembershipOptions {
  /** Silence after which a worker is lost. */
  readonly timeoutMs: number
  /** Event-loop lag above which a worker is lost though it sends heartbeats. */
  readonly stallTimeoutMs: number
  /**
   * Events further apart than this mean that the observer slept (M4). More than its period of
   * ticks.
   */
  readonly observerGapMs: number
}

/** A worker that is not lost. */
export interface Member {
  readonly type: 'alive' | 'late'
  readonly lastSeenAt: number
  /** For how long its event loop had been blocked at its last heartbeat. */
  readonly lagMs: number
}

/** Who is a member, and how each fares. */
export interface Membership {
  readonly options: MembershipOptions
  readonly workers: ReadonlyMap<WorkerId, Member>
  /** When the last event was observed; undefined: never. */
  readonly observedAt: number | undefined
}

/** What the observer sees. `now` is its own monotonic time, in milliseconds. */
export type MembershipEvent =
  | {
      readonly type: 'heartbeat'
      readonly worker: WorkerId
      readonly now: number
      readonly lagMs: number
    }
  | { readonly type: 'tick'; readonly now: number }
  /** The worker said good-bye, or its exit was seen. */
  | { readonly type: 'left'; readonly worker: WorkerId }

/** What the coordinator must know. */
export type MembershipEffect =
  | { readonly type: 'worker-joined'; readonly worker: WorkerId }
  | {
      readonly type: 'worker-lost'
      readonly worker: WorkerId
      readonly reason: 'silent' | 'stalled' | 'left'
      /** What it was judged by: silence or lag in milliseconds, 0 for one that left. */
      readonly forMs: number
    }

type Step = readonly [Membership, readonly MembershipEffect[]]

/** Nobody has joined yet. */
export const initialMembership = (options: MembershipOptions): Membership => ({
  options,
  workers: new Map(),
  observedAt: undefined,
})

/** What one event says about the workers. */
export const step = (state: Membership, event: MembershipEvent): Step => {
  switch (event.type) {
    case 'heartbeat':
      return onHeartbeat(forgiveSleep(state, event.now), event)
    case 'tick':
      return onTick(forgiveSleep(state, event.now), event.now)
    case 'left':
      return onLeft(state, event.worker)
    default:
      return absurd(event)
  }
}

/** How a worker fares; one that never joined, or is no longer a member, is lost. */
export const healthOf = (state: Membership, worker: WorkerId): 'alive' | 'late' | 'lost' =>
  state.workers.get(worker)?.type ?? 'lost'

const onHeartbeat = (
  state: Membership,
  { worker, now, lagMs }: Extract<MembershipEvent, { type: 'heartbeat' }>,
): Step => {
  const known = state.workers.has(worker)
  if (!known && lagMs > state.options.stallTimeoutMs) return [state, []]
  const member = judged(state.options, { type: 'alive', lastSeenAt: now, lagMs }, now)
  const workers = new Map(state.workers).set(worker, member)
  return [{ ...state, workers }, known ? [] : [{ type: 'worker-joined', worker }]]
}

const onTick = (state: Membership, now: number): Step => {
  const { timeoutMs, stallTimeoutMs } = state.options
  const effects: MembershipEffect[] = []
  const workers = new Map<WorkerId, Member>()
  for (const [worker, member] of state.workers) {
    const silentMs = now - member.lastSeenAt
    if (silentMs > timeoutMs) {
      effects.push({ type: 'worker-lost', worker, reason: 'silent', forMs: silentMs })
    } else if (member.lagMs > stallTimeoutMs) {
      effects.push({ type: 'worker-lost', worker, reason: 'stalled', forMs: member.lagMs })
    } else {
      workers.set(worker, judged(state.options, member, now))
    }
  }
  return [{ ...state, workers }, effects]
}

const onLeft = (state: Membership, worker: WorkerId): Step => {
  if (!state.workers.has(worker)) return [state, []]
  const workers = new Map(state.workers)
  workers.delete(worker)
  return [{ ...state, workers }, [{ type: 'worker-lost', worker, reason: 'left', forMs: 0 }]]
}

const judged = (options: MembershipOptions, member: Member, now: number): Member => {
  const late =
    now - member.lastSeenAt > options.timeoutMs / 2 || member.lagMs > options.stallTimeoutMs / 2
  return { ...member, type: late ? 'late' : 'alive' }
}

/** Moves every worker's last sign of life by the time that the observer slept (M4). */
const forgiveSleep = (state: Membership, now: number): Membership => {
  const sleptMs = state.observedAt === undefined ? 0 : now - state.observedAt
  if (sleptMs <= state.options.observerGapMs) return { ...state, observedAt: now }
  const workers = new Map<WorkerId, Member>()
  for (const [worker, member] of state.workers) {
    workers.set(worker, { ...member, lastSeenAt: member.lastSeenAt + sleptMs })
  }
  return { ...state, workers, observedAt: now }
}
