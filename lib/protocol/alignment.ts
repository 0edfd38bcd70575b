/**
 * Barrier alignment of one subtask.
 *
 * A subtask snapshots epoch `e` once barrier `e` has arrived on every open input channel. Until
 * then, in exactly-once mode, a channel that has delivered its barrier is *blocked*: its next
 * records belong to epoch `e + 1`, and letting them into the state before the snapshot would count
 * them twice after a restore. At-least-once mode only counts barriers and accepts that.
 *
 * Invariants
 *   A1. Blocked channels all wait for the same epoch; at-least-once blocks none.
 *   A2. A channel delivers the barrier of a pending epoch once, and nothing while it is blocked or
 *       after it has ended.
 *   A3. An epoch at or below `closedThrough` never acts again: snapshots strictly ascend (P3).
 *   A4. In exactly-once mode a newer barrier supersedes an older alignment on all inputs. The older
 *       epoch can no longer complete: its barrier is lost, or its abort is on the way. Of epochs that
 *       overlap, each channel brings the older barrier first; behind it the channel is closed.
 *   A5. `take-snapshot` precedes `unblock-channels`: the owner performs effects in order and in one
 *       turn, so no record behind a barrier enters the state before the capture (P4).
 *   A6. A late barrier of an aborted epoch does nothing. The newest `abortedMax` are remembered;
 *       one that is forgotten can at worst open an alignment that the next barrier supersedes.
 *   A7. At-least-once keeps at most `pendingMax` epochs; completing one drops all older ones.
 *   A8. A channel that has ended is not waited for.
 */
import { absurd, invariant } from '../invariant.js'
import type { ChannelId, Epoch } from './ids.js'

/**
 * Whether alignment blocks channels, or lets records after a barrier into the snapshot before it.
 */
export type AlignmentMode = 'exactly-once' | 'at-least-once'

/** An epoch whose barrier has arrived on some channels and is awaited on others. */
export interface PendingEpoch {
  readonly epoch: Epoch
  /** Whether every barrier so far was final. */
  readonly final: boolean
  /** When the first barrier arrived. */
  readonly since: number
  readonly arrived: ReadonlySet<ChannelId>
}

interface Inputs {
  readonly mode: AlignmentMode
  /** Channels that have not ended. */
  readonly open: ReadonlySet<ChannelId>
  /** Every epoch up to this one is done with, whether snapshotted, superseded or never seen. */
  readonly closedThrough: Epoch
  /** Aborted epochs above `closedThrough`. */
  readonly aborted: readonly Epoch[]
}

/** Where a subtask stands between two snapshots. */
export type Alignment =
  | (Inputs & { readonly type: 'flowing' })
  /** `pending` ascends; in exactly-once mode it holds one epoch, and what arrived is blocked. */
  | (Inputs & { readonly type: 'aligning'; readonly pending: readonly PendingEpoch[] })

/** What happens to a subtask's inputs. `now` is monotonic, in milliseconds. */
export type AlignmentEvent =
  | {
      readonly type: 'barrier-received'
      readonly channel: ChannelId
      readonly epoch: Epoch
      readonly final: boolean
      readonly now: number
    }
  /** May be repeated, and may come before, between or after the epoch's barriers. */
  | { readonly type: 'checkpoint-aborted'; readonly epoch: Epoch }
  | { readonly type: 'channel-ended'; readonly channel: ChannelId; readonly now: number }

/** What the subtask must do, in order and in one turn (A5). */
export type AlignmentEffect =
  | { readonly type: 'block-channel'; readonly channel: ChannelId }
  | { readonly type: 'unblock-channels'; readonly channels: readonly ChannelId[] }
  /** Emit the barrier on every output and capture the state, in the same turn. */
  | {
      readonly type: 'take-snapshot'
      readonly epoch: Epoch
      readonly final: boolean
      /** From the epoch's first barrier to its last. */
      readonly alignmentMs: number
    }
  | {
      readonly type: 'alignment-dropped'
      readonly epoch: Epoch
      readonly reason: 'superseded' | 'aborted'
    }
  | { readonly type: 'barrier-ignored'; readonly channel: ChannelId; readonly epoch: Epoch }

/** Aborted epochs that are remembered (A6). */
export const abortedMax = 64
/** Epochs that at-least-once mode counts at a time (A7). */
export const pendingMax = 50

type Step = readonly [Alignment, readonly AlignmentEffect[]]
type Barrier = Extract<AlignmentEvent, { type: 'barrier-received' }>

/**
 * The state of a subtask that has just started; `closedThrough` is the epoch it was restored from.
 */
export const initialAlignment = (options: {
  readonly mode: AlignmentMode
  readonly channels: readonly ChannelId[]
  readonly closedThrough: Epoch
}): Alignment => ({
  type: 'flowing',
  mode: options.mode,
  open: new Set(options.channels),
  closedThrough: options.closedThrough,
  aborted: [],
})

/** What one event does to an alignment. An event that breaks A2 is a defect and throws. */
export const step = (state: Alignment, event: AlignmentEvent): Step => {
  switch (event.type) {
    case 'barrier-received':
      return onBarrier(state, event)
    case 'checkpoint-aborted':
      return onAborted(state, event.epoch)
    case 'channel-ended':
      return onEnded(state, event.channel, event.now)
    default:
      return absurd(event)
  }
}

/** Channels that must not be read now. */
export const blockedChannels = (state: Alignment): ReadonlySet<ChannelId> =>
  state.mode === 'exactly-once' ? (pendingOf(state)[0]?.arrived ?? none) : none

const none: ReadonlySet<ChannelId> = new Set()

const pendingOf = (state: Alignment): readonly PendingEpoch[] =>
  state.type === 'aligning' ? state.pending : []

const onBarrier = (state: Alignment, barrier: Barrier): Step => {
  const { channel, epoch } = barrier
  invariant(state.open.has(channel), 'A2', `barrier ${epoch} on ${channel}, which is not open`)
  invariant(!blockedChannels(state).has(channel), 'A2', `barrier ${epoch} on blocked ${channel}`)
  if (epoch <= state.closedThrough || state.aborted.includes(epoch)) {
    return [state, [{ type: 'barrier-ignored', channel, epoch }]]
  }
  return state.mode === 'exactly-once' ? align(state, barrier) : count(state, barrier)
}

const align = (state: Alignment, barrier: Barrier): Step => {
  const { channel, epoch } = barrier
  const current = pendingOf(state)[0]
  // Beginning an epoch closes all before it, so a barrier that gets here is never an older one.
  const superseded = current !== undefined && current.epoch < epoch ? current : undefined
  const joined = join(superseded === undefined ? current : undefined, barrier)
  const inputs = { ...inputsOf(state), closedThrough: epoch - 1 }
  const [next, effects] = settle(inputs, [joined], barrier)
  const blocks = next.type === 'aligning'
  return [
    next,
    [
      ...(superseded === undefined ? [] : [dropped(superseded.epoch, 'superseded')]),
      ...(blocks ? [{ type: 'block-channel', channel } as const] : []),
      ...effects,
      ...unblock(superseded?.arrived ?? none),
    ],
  ]
}

const count = (state: Alignment, barrier: Barrier): Step => {
  const pending = pendingOf(state)
  const current = pending.find(each => each.epoch === barrier.epoch)
  const others = pending.filter(each => each !== current)
  const counted = [...others, join(current, barrier)].sort((a, b) => a.epoch - b.epoch)
  const oldest = counted[0]
  if (counted.length <= pendingMax || oldest === undefined) {
    return settle(inputsOf(state), counted, barrier)
  }
  const inputs = { ...inputsOf(state), closedThrough: oldest.epoch }
  const [next, effects] = settle(inputs, counted.slice(1), barrier)
  return [next, [dropped(oldest.epoch, 'superseded'), ...effects]]
}

const onAborted = (state: Alignment, epoch: Epoch): Step => {
  if (epoch <= state.closedThrough || state.aborted.includes(epoch)) return [state, []]
  const aborted = [...state.aborted, epoch].sort((a, b) => a - b).slice(-abortedMax)
  const pending = pendingOf(state)
  const next = stateOf(
    { ...inputsOf(state), aborted },
    pending.filter(each => each.epoch !== epoch),
  )
  if (!pending.some(each => each.epoch === epoch)) return [next, []]
  return [next, [dropped(epoch, 'aborted'), ...unblock(blockedChannels(state))]]
}

const onEnded = (state: Alignment, channel: ChannelId, now: number): Step => {
  invariant(state.open.has(channel), 'A2', `${channel} ended, and is not open`)
  invariant(!blockedChannels(state).has(channel), 'A2', `${channel} ended while it is blocked`)
  const open = new Set(state.open)
  open.delete(channel)
  return settle({ ...inputsOf(state), open }, pendingOf(state), { channel, now })
}

/** The pending epoch with one more barrier. */
const join = (current: PendingEpoch | undefined, barrier: Barrier): PendingEpoch => {
  const { channel, epoch, final, now } = barrier
  if (current === undefined) return { epoch, final, since: now, arrived: new Set([channel]) }
  invariant(!current.arrived.has(channel), 'A2', `barrier ${epoch} came twice on ${channel}`)
  const arrived = new Set(current.arrived).add(channel)
  return { ...current, final: current.final && final, arrived }
}

/** Completes every pending epoch that waits for no open channel any more, oldest first. */
const settle = (
  inputs: Inputs,
  pending: readonly PendingEpoch[],
  cause: { readonly channel: ChannelId; readonly now: number },
): Step => {
  const effects: AlignmentEffect[] = []
  let { closedThrough } = inputs
  for (const each of pending) {
    if (![...inputs.open].every(channel => each.arrived.has(channel))) continue
    for (const { epoch } of pending) {
      if (epoch > closedThrough && epoch < each.epoch) effects.push(dropped(epoch, 'superseded'))
    }
    const { epoch, final } = each
    effects.push({ type: 'take-snapshot', epoch, final, alignmentMs: cause.now - each.since })
    // The channel that completes the epoch was never blocked: its barrier is handled right now.
    const blocked = [...each.arrived].filter(channel => channel !== cause.channel)
    if (inputs.mode === 'exactly-once') effects.push(...unblock(new Set(blocked)))
    closedThrough = epoch
  }
  const rest = pending.filter(each => each.epoch > closedThrough)
  return [stateOf({ ...inputs, closedThrough }, rest), effects]
}

const inputsOf = ({ mode, open, closedThrough, aborted }: Inputs): Inputs => ({
  mode,
  open,
  closedThrough,
  aborted,
})

const stateOf = (inputs: Inputs, pending: readonly PendingEpoch[]): Alignment => {
  const aborted = inputs.aborted.filter(epoch => epoch > inputs.closedThrough)
  if (pending.length === 0) return { ...inputs, aborted, type: 'flowing' }
  return { ...inputs, aborted, type: 'aligning', pending }
}

const dropped = (epoch: Epoch, reason: 'superseded' | 'aborted'): AlignmentEffect => ({
  type: 'alignment-dropped',
  epoch,
  reason,
})

const unblock = (channels: ReadonlySet<ChannelId>): readonly AlignmentEffect[] =>
  channels.size === 0 ? [] : [{ type: 'unblock-channels', channels: [...channels] }]
