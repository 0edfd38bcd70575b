/** The channels into one mailbox, and whose turn it is. */
import type { ChannelReader } from '../lib/protocol/channel.js'
import type { FrameHeader } from '../lib/protocol/frame.js'
import type { ChannelId, Epoch } from '../lib/protocol/ids.js'

/** One channel into a mailbox. */
export interface MailboxInput {
  readonly channel: ChannelId
  readonly subject: string
  /** Whether it leads back to the head of a loop. */
  readonly isFeedback: boolean
  /** Takes one record of this channel. */
  readonly receive: (record: unknown) => void
  readonly sendCredit: (number: number) => void
}

/** A frame that was accepted and waits. */
export interface Waiting {
  readonly header: FrameHeader
  readonly body: Uint8Array
  readonly bytes: number
}

/** The reading end of one channel. */
export interface Inbound {
  readonly input: MailboxInput
  readonly reader: ChannelReader
  /** Accepted frames, oldest first; `next` is the index of the first not yet processed. */
  queue: Waiting[]
  next: number
  blocked: boolean
  /** Of a feedback channel: the epoch of a barrier that came before our own has left. */
  early: Epoch | undefined
}

/** Channels of one sort, one after the other, so that one that is always full starves no other's barriers. */
export class Turns {
  readonly inbounds: Inbound[] = []
  private turn = 0

  /** The next channel that may be read and has something. */
  next(): Inbound | undefined {
    const count = this.inbounds.length
    for (let step = 0; step < count; step += 1) {
      const inbound = this.inbounds[(this.turn + step) % count]
      if (inbound !== undefined && !inbound.blocked && inbound.next < inbound.queue.length) {
        this.turn = (this.turn + step + 1) % count
        return inbound
      }
    }
    return undefined
  }
}
