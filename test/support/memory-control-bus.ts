/** The control bus in memory: as lossy as a test wants it. */
import * as E from 'fp-ts/lib/Either.js'
import { checkPattern, checkSubject } from '../../lib/adapters/nats/subjects.js'
import type { ControlBus } from '../../lib/ports/control-bus.js'
import { overlap } from './memory-broker.js'
import type { MemoryWire } from './memory-wire.js'

interface Subscription {
  readonly pattern: string
  readonly wire: MemoryWire
  readonly handler: (payload: Uint8Array, subject: string) => void
}

/** What carries messages between the buses of all processes. */
export class MemoryPostOffice {
  readonly subscriptions = new Set<Subscription>()
  /**
   * How often and how late a message is delivered: one extra delay in ms per copy, none for a lost
   * message. Copies with a delay may come after younger messages.
   */
  fate: (subject: string, payload: Uint8Array) => readonly number[] = () => [0]

  deliver(subject: string, payload: Uint8Array): void {
    for (const delayMs of this.fate(subject, payload)) {
      for (const subscription of [...this.subscriptions]) {
        if (overlap(subscription.pattern, subject))
          this.hand(subscription, subject, payload, delayMs)
      }
    }
  }

  private hand(to: Subscription, subject: string, payload: Uint8Array, delayMs: number): void {
    const { wire, handler } = to
    const arrive = (): void => {
      if (this.subscriptions.has(to)) handler(payload, subject)
    }
    if (delayMs === 0) wire.bring(arrive)
    else wire.options.time.after(delayMs, () => wire.bring(arrive))
  }
}

export const memoryControlBus = (office: MemoryPostOffice, wire: MemoryWire): ControlBus => ({
  send: (subject, payload) => {
    checkSubject(subject)
    const bytes = payload.slice()
    wire.send(`send ${subject}`, fault => {
      if (fault !== 'lost') office.deliver(subject, bytes)
    })
  },
  subscribe: (pattern, handler) => {
    checkPattern(pattern)
    const subscription = { pattern, wire, handler }
    wire.send(`subscribe ${pattern}`, () => {
      if (!ended) office.subscriptions.add(subscription)
    })
    let ended = false
    return () => {
      ended = true
      office.subscriptions.delete(subscription)
    }
  },
  flush: () => wire.ask('flush', () => E.right(undefined)),
})
