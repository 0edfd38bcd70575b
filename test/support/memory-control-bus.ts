/** The control bus in memory: as lossy as a test wants it. */
import * as E from 'fp-ts/lib/Either.js'
import { checkPattern, checkSubject } from '../../lib/adapters/nats/subjects.js'
import type { ControlBus } from '../../lib/ports/control-bus.js'
import { Pattern, remember } from './memory-subjects.js'
import type { MemoryWire } from './memory-wire.js'

interface Subscription {
  readonly pattern: Pattern
  readonly wire: MemoryWire
  readonly handler: (payload: Uint8Array, subject: string) => void
}

/** What carries messages between the buses of all processes. */
export class MemoryPostOffice {
  readonly #subscriptions = new Set<Subscription>()
  /** Who gets messages on a subject, as far as somebody asked since the subscriptions changed. */
  readonly #routes = new Map<string, readonly Subscription[]>()
  /**
   * How often and how late a message is delivered: one extra delay in ms per copy, none for a lost
   * message. Copies with a delay may come after younger messages.
   */
  fate: (subject: string, payload: Uint8Array) => readonly number[] = () => [0]

  deliver(subject: string, payload: Uint8Array): void {
    for (const delayMs of this.fate(subject, payload)) {
      for (const to of this.#routeOf(subject)) this.#hand(to, subject, payload, delayMs)
    }
  }

  add(subscription: Subscription): void {
    this.#subscriptions.add(subscription)
    this.#routes.clear()
  }

  remove(subscription: Subscription): void {
    this.#subscriptions.delete(subscription)
    this.#routes.clear()
  }

  #routeOf(subject: string): readonly Subscription[] {
    const known = this.#routes.get(subject)
    if (known !== undefined) return known
    const route = [...this.#subscriptions].filter(({ pattern }) => pattern.overlaps(subject))
    remember(this.#routes, subject, route)
    return route
  }

  #hand(to: Subscription, subject: string, payload: Uint8Array, delayMs: number): void {
    const { wire, handler } = to
    const { process, time } = wire.options
    if (!process.alive) {
      this.remove(to)
      return
    }
    const arrive = (): void => {
      if (this.#subscriptions.has(to) && !wire.server.isDown) handler(payload, subject)
    }
    if (delayMs === 0) wire.bring(arrive)
    else time.after(delayMs, () => wire.bring(arrive))
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
    const subscription = { pattern: new Pattern(pattern), wire, handler }
    // Clients subscribe again when they reconnect: no outage loses a subscription.
    wire.send(`subscribe ${pattern}`, () => {
      if (!ended) office.add(subscription)
    })
    let ended = false
    return () => {
      ended = true
      office.remove(subscription)
    }
  },
  flush: () => wire.ask('flush', () => E.right(undefined)),
})
