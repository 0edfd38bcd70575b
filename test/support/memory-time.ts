/**
 * Virtual time for whole jobs in one process: an ordered queue of events instead of a clock.
 *
 * Events happen one at a time, and everything that follows from one by promises happens before the
 * next. The same calls therefore give the same run, on every machine.
 */
import type { Scheduler } from '../../lib/ports/scheduler.js'
import { type Prng, prng } from './prng.js'

interface Planned {
  readonly at: number
  readonly order: number
  readonly happen: () => void
  canceled: boolean
}

const startOfTime = Date.parse('2026-01-01T00:00:00Z')

/** Resolves when all promises that can settle without another event have done so. */
// A tick runs when the queue of microtasks is empty, chained ones included, and costs no turn of the
// event loop.
const settled = (): Promise<void> => new Promise(resolve => process.nextTick(resolve))

export class VirtualTime {
  /** Soonest last. */
  readonly #planned: Planned[] = []
  readonly #random: Prng
  #now = 0
  #order = 0
  #free = false
  #stepping = false
  /** By how much people have set the servers' and processes' clocks forth or back. */
  skewMs = 0
  /** How many events have happened. */
  events = 0

  constructor(seed = 1) {
    this.#random = prng(seed)
  }

  /** Milliseconds since the world began. */
  get now(): number {
    return this.#now
  }

  get wallClock(): number {
    return startOfTime + this.#now + this.skewMs
  }

  random(): number {
    return this.#random.next()
  }

  /** Plans an event; returns what cancels it. Events of one instant happen in order of planning. */
  after(delayMs: number, happen: () => void): () => void {
    const event = {
      at: this.#now + Math.max(0, delayMs),
      order: this.#order++,
      happen,
      canceled: false,
    }
    let low = 0
    for (let high = this.#planned.length; low < high; ) {
      const middle = (low + high) >> 1
      const other = this.#planned[middle]
      if (other !== undefined && other.at > event.at) low = middle + 1
      else high = middle
    }
    this.#planned.splice(low, 0, event)
    if (this.#free) this.#step()
    return () => {
      event.canceled = true
    }
  }

  /** Computing takes time, too. */
  spend(ms: number): void {
    this.#now += ms
  }

  /** Lets events happen until the condition holds; throws when it does not within the limit. */
  async run(what: string, holds: () => boolean, limitMs = 600_000): Promise<void> {
    const limit = this.#now + limitMs
    for (;;) {
      await settled()
      if (holds()) return
      const next = this.#next()
      if (next === undefined) throw new Error(`nothing is left that could bring: ${what}`)
      if (next.at > limit) throw new Error(`not within ${limitMs} ms: ${what}`)
      this.#happen(next)
    }
  }

  /** Lets everything happen that happens within so many milliseconds. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    let over = false
    this.after(ms, () => {
      over = true
    })
    await this.run(`${ms} ms later`, () => over, ms)
    this.#now = Math.max(this.#now, end)
  }

  /** From here on events happen by themselves, as fast as they can. */
  flow(): void {
    this.#free = true
    this.#step()
  }

  #step(): void {
    if (this.#stepping) return
    this.#stepping = true
    setImmediate(() => {
      this.#stepping = false
      const next = this.#next()
      if (next === undefined) return
      this.#step()
      this.#happen(next)
    })
  }

  #next(): Planned | undefined {
    for (;;) {
      const next = this.#planned.pop()
      if (next === undefined || !next.canceled) return next
    }
  }

  #happen(event: Planned): void {
    this.#now = Math.max(this.#now, event.at)
    this.events += 1
    event.happen()
  }
}

/**
 * A process in virtual time. One that was killed does nothing more; one that is frozen does later,
 * in order, what came meanwhile, as after SIGSTOP.
 */
export class MemoryProcess {
  #alive = true
  #frozen: (() => void)[] | undefined
  #silentFromMs = Number.POSITIVE_INFINITY

  constructor(
    readonly name: string,
    private readonly time: VirtualTime,
  ) {}

  get alive(): boolean {
    return this.#alive
  }

  /** What it has sent and arrives from `silentFromMs` on dies with it. */
  kill(silentFromMs = Number.POSITIVE_INFINITY): void {
    this.#alive = false
    this.#frozen = undefined
    this.#silentFromMs = Math.min(this.#silentFromMs, silentFromMs)
  }

  /** Whether what it sent is still on its way to somebody. */
  get isHeard(): boolean {
    return this.time.now < this.#silentFromMs
  }

  freeze(): void {
    this.#frozen ??= []
  }

  thaw(): void {
    const missed = this.#frozen ?? []
    this.#frozen = undefined
    for (const callback of missed) this.time.after(0, () => this.enter(callback))
  }

  /** Everything that reaches a process from outside comes through here. */
  enter(callback: () => void): void {
    if (!this.#alive) return
    if (this.#frozen === undefined) callback()
    else this.#frozen.push(callback)
  }
}

/** The scheduler of one process. Reading the clock costs `readingMs`, so that long work takes time. */
export const memoryScheduler = (
  time: VirtualTime,
  process: MemoryProcess,
  readingMs = 0,
  random: () => number = () => time.random(),
): Scheduler => ({
  now: () => {
    time.spend(readingMs)
    return time.now
  },
  wallClock: () => Math.floor(time.wallClock),
  after: (delayMs, callback) => time.after(delayMs, () => process.enter(callback)),
  defer: callback => {
    time.after(0, () => process.enter(callback))
  },
  random,
})
