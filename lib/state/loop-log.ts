/**
 * What a loop's head remembers while a barrier goes round: the records that come back before it does.
 * They were sent round before the barrier, and are in nobody's snapshot but the head's (Carbone et al.,
 * "Lightweight Asynchronous Snapshots for Distributed Dataflows", 2015).
 *
 * Invariants
 *   LL1. A log holds, of every feedback channel, the records that were taken between the head's own
 *       barrier and the return of that barrier on this channel, in their order, and no others.
 *   LL2. A log is whole once the barrier is back on all channels. A barrier proves that those before it
 *       went by, too, if only because they were given up.
 *   LL3. Several barriers may be under way: each has a log of its own.
 *   LL4. With several subtasks a barrier may come round from another head before the head's own has left. The
 *        channel then waits for that (kept by the mailbox), unless the mode is at least once.
 */
import { invariant } from '../invariant.js'
import type { ChannelId, Epoch } from '../protocol/ids.js'

interface Open {
  readonly epoch: Epoch
  readonly awaited: Set<ChannelId>
  readonly records: unknown[]
}

/** A log whose barrier has come back on every channel. */
export interface LoopRecords {
  readonly epoch: Epoch
  readonly records: readonly unknown[]
}

/** The logs of one loop's head in one subtask. */
export class LoopLog {
  #open: readonly Open[] = []

  constructor(private readonly channels: readonly ChannelId[]) {}

  /** Whether a record that is taken now has to be told to `take`. */
  get isOpen(): boolean {
    return this.#open.length > 0
  }

  /** The head has sent a barrier round. */
  begin(epoch: Epoch): void {
    const last = this.#open.at(-1)
    invariant(last === undefined || last.epoch < epoch, 'LL3', `${epoch} after ${last?.epoch}`)
    this.#open = [...this.#open, { epoch, awaited: new Set(this.channels), records: [] }]
  }

  /** A record that has come back is about to go on. */
  take(channel: ChannelId, record: unknown): void {
    for (const { awaited, records } of this.#open) if (awaited.has(channel)) records.push(record)
  }

  /** A barrier is back on a channel; answers the logs that are whole with it, oldest first. */
  returned(channel: ChannelId, epoch: Epoch): readonly LoopRecords[] {
    for (const log of this.#open) if (log.epoch <= epoch) log.awaited.delete(channel)
    const whole = this.#open.filter(({ awaited }) => awaited.size === 0)
    this.#open = this.#open.filter(({ awaited }) => awaited.size > 0)
    return whole.map(({ epoch: of, records }) => ({ epoch: of, records }))
  }

  /** A checkpoint was given up. */
  abort(epoch: Epoch): void {
    this.#open = this.#open.filter(log => log.epoch !== epoch)
  }
}
