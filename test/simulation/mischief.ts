/** Makes a list of faults come true in a simulated world. */
import { coordinatorSubject, ordersSubject } from '../../lib/protocol/addresses.js'
import { coordinatorRole, type JobWorld } from '../support/memory-job.js'
import type { MemoryRedisBackup } from '../support/memory-redis.js'
import type { MemoryProcess } from '../support/memory-time.js'
import type { Fault as WireFault } from '../support/memory-wire.js'
import type { Sometimes } from './counters.js'
import { drawsAt, mix } from './draws.js'
import { describeFault, type Fault, type Point, type Whom } from './faults.js'
import type { Observer } from './observer.js'
import { type Shape, sourceStream, type Trapdoor } from './random-job.js'

/** Where it happens, and who is told. */
export interface MischiefWorld {
  readonly seed: number
  readonly shape: Shape
  readonly faults: readonly Fault[]
  readonly job: JobWorld
  readonly observer: Observer
  readonly trapdoor: Trapdoor
  /** By stream: numbers of the records that are still to be sent. */
  readonly producers: ReadonlyMap<string, number[]>
  readonly count: (what: Sometimes) => void
  readonly tell: (line: string) => void
  readonly trace: ((line: string) => void) | undefined
}

type Timed = Exclude<Fault, { kind: 'bus' | 'wire' }>

const backupEveryMs = 100
/** Of the requests of a process whose way is bad: what gets lost, and what is done unheard. */
const lossyShares = { lost: 0.35, unanswered: 0.5 }
/** Control messages are read in every so many seeds: it takes time. */
const watchedSeeds = 8
/** How far apart messages leave that were sent at once. */
const buffersMs = 4
const decoder = new TextDecoder()

export class Mischief {
  readonly #of: MischiefWorld
  readonly #reached = new Map<Point, number>()
  readonly #waiting = new Map<string, Timed[]>()
  readonly #wires = new Map<string, () => number>()
  readonly #backups: { readonly atMs: number; readonly backup: MemoryRedisBackup }[] = []
  /** How many faults hold something in a state; the last one to end heals it. */
  readonly #held = new Map<string, number>()
  #deafUntilMs = 0
  /** Beginnings of subjects on which nothing is heard, and until when. */
  readonly #deaf = new Map<string, number>()
  #crashes = 0
  #healed = false

  constructor(of: MischiefWorld) {
    this.#of = of
  }

  /** Everything that is to happen at a time is put into the queue of events. */
  plan(): void {
    const { faults, trace } = this.#of
    for (const fault of faults) {
      trace?.(`planned: ${describeFault(fault)}`)
      if (fault.kind === 'bus' || fault.kind === 'wire') continue
      if (fault.when.type === 'time') {
        const { atMs } = fault.when
        this.#of.job.time.after(atMs, () => this.#strike(fault, undefined))
      } else {
        const key = `${fault.when.point} ${fault.when.nth}`
        this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), fault])
      }
    }
    this.#routeBus(faults.find(fault => fault.kind === 'bus'))
    if (!faults.some(({ kind }) => kind === 'store-back')) return
    const { redis, time } = this.#of.job
    const backUp = (): void => {
      this.#backups.push({ atMs: time.now, backup: redis.backup() })
      if (!this.#healed) time.after(backupEveryMs, backUp)
    }
    backUp()
  }

  #routeBus(fault: Extract<Fault, { kind: 'bus' }> | undefined): void {
    const { seed } = this.#of
    const drawn = new Map<string, () => number>()
    const toCoordinator = coordinatorSubject(this.#of.job.plan.job)
    const isWatched = seed % watchedSeeds === 0
    this.#of.job.office.fate = (subject, payload) => {
      if (isWatched && subject === toCoordinator) this.#of.observer.onBeat(payload)
      if (this.#healed) return [0]
      let next = drawn.get(subject)
      if (next === undefined) {
        const place = drawsAt(seed, `bus ${subject}`)
        next = () => place.next()
        drawn.set(subject, next)
      }
      if (subject.includes('.worker.') && this.#isUnheard(subject, next)) return []
      if (fault === undefined) return [0]
      if (next() < fault.loss) return []
      const late = next() < fault.lateness ? next() * fault.lateMs : 0
      return next() < fault.doubling ? [late, next() * fault.lateMs] : [late]
    }
  }

  #isUnheard(orders: string, next: () => number): boolean {
    const { now } = this.#of.job.time
    if (now < this.#deafUntilMs && next() < 0.5) return true
    for (const [subject, untilMs] of this.#deaf)
      if (now < untilMs && orders.startsWith(subject)) return true
    return false
  }

  #wireFate(process: MemoryProcess): WireFault | undefined {
    const fault = this.#of.faults.find(one => one.kind === 'wire')
    const isLossy = this.isHeld(`lossy ${roleIn(process.name)}`)
    if (this.#healed || (fault?.kind !== 'wire' && !isLossy)) return undefined
    let next = this.#wires.get(process.name)
    if (next === undefined) {
      const place = drawsAt(this.#of.seed, `wire ${process.name}`)
      next = () => place.next()
      this.#wires.set(process.name, next)
    }
    const drawn = next()
    if (isLossy && drawn < lossyShares.unanswered)
      return drawn < lossyShares.lost ? 'lost' : 'unanswered'
    if (fault?.kind !== 'wire') return undefined
    if (drawn < fault.loss) return 'lost'
    return drawn < fault.loss + fault.silence ? 'unanswered' : undefined
  }

  /** What becomes of a request that is about to be served; things may happen on the way. */
  fateOf(process: MemoryProcess, request: string): WireFault | undefined {
    const fate = this.#wireFate(process)
    const point = pointBefore(request)
    return point === undefined ? fate : (this.#reach(point, process) ?? fate)
  }

  /** A request was served. */
  served(process: MemoryProcess, request: string): void {
    const point = pointAfter(request)
    if (point !== undefined) this.#reach(point, process)
  }

  /** Faults are over some time, but for the loss of an output: many publish nothing before. */
  #isOver(fault: Timed): boolean {
    return this.#healed && !(fault.kind === 'log-tail' && fault.of === 1)
  }

  #reach(point: Point, process: MemoryProcess): WireFault | undefined {
    const nth = (this.#reached.get(point) ?? 0) + 1
    this.#reached.set(point, nth)
    let fate: WireFault | undefined
    for (const fault of this.#waiting.get(`${point} ${nth}`) ?? []) {
      if (this.#isOver(fault)) continue
      if (fault.kind === 'lost' || fault.kind === 'unanswered' || fault.kind === 'torn') {
        fate = fault.kind
        if (fate === 'torn') this.#of.count('request torn')
      } else this.#strike(fault, process)
    }
    return fate
  }

  #roleOf(whom: Whom, at: MemoryProcess | undefined): string {
    if (whom === 'self' && at !== undefined) return roleIn(at.name)
    const number = whom === 'self' ? 0 : whom
    const subtasks = this.#of.job.plan.subtasks
    if (number % 4 === 0) return coordinatorRole
    return subtasks[mix(number) % subtasks.length]?.id ?? coordinatorRole
  }

  #strike(fault: Timed, at: MemoryProcess | undefined): void {
    const { job } = this.#of
    if (this.#isOver(fault) || job.outcome !== undefined) return
    this.#of.tell(`fault ${describeFault(fault)}`)
    this.#of.count('fault struck')
    switch (fault.kind) {
      case 'crash':
        this.#crash(fault.whom, at)
        return
      case 'pause':
        this.#pause(fault.whom, at, fault.forMs)
        return
      case 'abandon': {
        const role = this.#roleOf(fault.whom, at)
        if (!job.processes.has(role)) return
        job.abandon(role)
        this.#of.count(
          role === coordinatorRole
            ? 'two coordinators at once'
            : 'two workers of a subtask at once',
        )
        return
      }
      case 'throw':
        this.#of.trapdoor.armed += 1
        this.#of.count('operator threw')
        return
      case 'clock':
        job.time.skewMs += fault.byMs
        this.#of.count('clock jumped')
        return
      case 'deaf':
        this.#deafen(fault.whom, job.time.now + fault.forMs)
        return
      case 'slow': {
        const role = this.#roleOf(fault.whom, undefined)
        job.delaysMs.set(role, fault.byMs)
        this.#of.count('slow way')
        job.time.after(fault.forMs, () => job.delaysMs.delete(role))
        return
      }
      case 'expire':
        // The record of a job that is over is kept for an hour: whoever died at its end looks it up.
        if (job.redis.metas.get(job.plan.job)?.ended === 'expires') return
        job.redis.expireNow()
        this.#of.observer.onStore('expire')
        this.#of.count('part expired')
        return
      default:
        this.#strikeServer(fault)
    }
  }

  #deafen(whom: number | undefined, untilMs: number): void {
    if (whom === undefined) {
      this.#deafUntilMs = Math.max(this.#deafUntilMs, untilMs)
      this.#of.count('workers were hard of hearing')
      return
    }
    const { job, subtasks } = this.#of.job.plan
    const role = subtasks[mix(whom) % subtasks.length]?.id ?? ''
    const subject = ordersSubject(job, `${role}-`)
    this.#deaf.set(subject, Math.max(this.#deaf.get(subject) ?? 0, untilMs))
    this.#of.count('a worker heard nothing')
  }

  #crash(whom: Whom, at: MemoryProcess | undefined): void {
    const { job } = this.#of
    const role = this.#roleOf(whom, at)
    this.#of.count(role === coordinatorRole ? 'crash of a coordinator' : 'crash of a worker')
    // One that was abandoned has no supervisor any more.
    const silentFromMs = this.#silentFromMs(role)
    if (whom === 'self' && at !== undefined && job.processes.get(role) !== at) at.kill(silentFromMs)
    else job.kill(role, silentFromMs)
  }

  /** What a process had sent may still be in its own buffers when it dies. */
  #silentFromMs(role: string): number | undefined {
    const { time } = this.#of.job
    this.#crashes += 1
    const random = drawsAt(this.#of.seed, `buffers ${role} ${this.#crashes}`)
    return random.chance(0.5) ? undefined : time.now + random.next() * buffersMs
  }

  #pause(whom: Whom, at: MemoryProcess | undefined, forMs: number): void {
    const { job } = this.#of
    const role = this.#roleOf(whom, at)
    const process = whom === 'self' ? at : job.processes.get(role)
    if (process === undefined) return
    this.#of.count(role === coordinatorRole ? 'pause of a coordinator' : 'pause of a worker')
    process.freeze()
    job.time.after(forMs, () => {
      this.#of.tell(`${process.name} goes on`)
      process.thaw()
    })
  }

  #strikeServer(fault: Timed): void {
    const { job } = this.#of
    switch (fault.kind) {
      case 'log-restart':
        this.#of.count('log restarted')
        if (this.#of.shape.mailboxStorage === 'memory') this.#of.count('memory streams lost')
        job.broker.restart({})
        this.#hold('log-down', fault.downMs, down => job.broker.setDown(down))
        return
      case 'log-tail':
        this.#loseTail(fault.of, fault.messages)
        return
      case 'log-down':
        this.#of.count('log cut off')
        this.#hold('log-down', fault.forMs, down => job.broker.setDown(down))
        return
      case 'lossy':
        this.#of.count('lossy way')
        this.#hold(`lossy ${this.#roleOf(fault.whom, undefined)}`, fault.forMs, () => {})
        return
      case 'log-hung':
        this.#of.count('log hung')
        this.#hold('log-hung', fault.forMs, hung => job.broker.setHung(hung))
        return
      case 'store-hung':
        this.#of.count('store hung')
        this.#hold('store-hung', fault.forMs, hung => job.redis.setHung(hung))
        return
      case 'consumers':
        this.#of.count('consumers lost')
        job.broker.dropConsumers()
        return
      case 'log-full':
        this.#of.count('log full')
        this.#hold('log-full', fault.forMs, full => job.broker.setFull(full))
        return
      case 'store-down':
        this.#of.count('store down')
        this.#hold('store-down', fault.forMs, down => job.redis.setDown(down))
        return
      case 'store-oom':
      case 'store-readonly':
      case 'store-loading':
        this.#setMode(fault.kind, fault.forMs)
        return
      case 'store-back': {
        const [empty] = this.#backups
        const backup =
          this.#backups.findLast(({ atMs }) => atMs <= job.time.now - fault.byMs) ?? empty
        if (backup === undefined) return
        this.#of.observer.destroyed = true
        this.#of.count('store went back in time')
        job.redis.restore(backup.backup)
        this.#of.observer.forget()
      }
    }
  }

  #setMode(kind: 'store-oom' | 'store-readonly' | 'store-loading', forMs: number): void {
    const mode = {
      'store-oom': 'oom',
      'store-readonly': 'readonly',
      'store-loading': 'loading',
    } as const
    const counted = {
      'store-oom': 'store out of memory',
      'store-readonly': 'store read-only',
      'store-loading': 'store loading',
    } as const
    this.#of.count(counted[kind])
    // One mode at a time: a second one takes the place of the first, and they end together.
    this.#of.job.redis.setMode(mode[kind])
    this.#hold('store-mode', forMs, on => {
      if (!on) this.#of.job.redis.setMode('ok')
    })
  }

  #loseTail(of: number, messages: number): void {
    const { job } = this.#of
    const { shape } = this.#of
    const outputs = [...job.broker.streams.keys()].filter(name =>
      job.broker.streams.get(name)?.config.subjects.some(subject => subject.startsWith('out.')),
    )
    const inputs = shape.sources.filter(({ type }) => type === 'stream').map(sourceStream)
    const names = of === 0 ? inputs : outputs
    const name = names[messages % Math.max(1, names.length)]
    const stream = name === undefined ? undefined : job.broker.streams.get(name)
    if (name === undefined || stream === undefined || stream.lastSequence === 0) return
    this.#of.observer.destroyed = true
    this.#of.count(of === 0 ? 'tail of a source lost' : 'tail of an output lost')
    const above = Math.max(0, stream.lastSequence - messages)
    if (of === 0) {
      for (const { sequence, payload } of job.broker.content(name)) {
        const known = /"n":(\d+)|poison (\d+)/.exec(decoder.decode(payload))
        if (sequence > above) this.#of.producers.get(name)?.push(Number(known?.[1] ?? known?.[2]))
      }
      this.#of.observer.inputLost = true
    } else this.#of.observer.loseOutput(name, above)
    job.broker.restart({ loseAbove: new Map([[name, above]]) })
    if (of !== 0) this.#of.observer.recount()
  }

  isHeld(what: string): boolean {
    return (this.#held.get(what) ?? 0) > 0
  }

  #hold(what: string, forMs: number, set: (on: boolean) => void): void {
    this.#held.set(what, (this.#held.get(what) ?? 0) + 1)
    set(true)
    this.#of.job.time.after(forMs, () => {
      this.#held.set(what, (this.#held.get(what) ?? 0) - 1)
      if (this.isHeld(what)) return
      this.#of.tell(`${what} is over`)
      set(false)
    })
  }

  /** From here on nothing goes wrong that has not begun; what has ends by itself. */
  heal(): void {
    this.#healed = true
    this.#of.trapdoor.armed = 0
    this.#of.tell('faults are over')
  }

  get isHealed(): boolean {
    return this.#healed
  }
}

const roleIn = (process: string): string => process.slice(0, process.lastIndexOf('-'))

const pointBefore = (request: string): Point | undefined => {
  if (request.startsWith('publish out.')) return 'publish'
  if (request.startsWith('publish ')) return 'emit'
  if (request.startsWith('allocate ')) return 'trigger.before'
  if (request.startsWith('commit ')) return 'commit.before'
  if (request.startsWith('begin ')) return 'begin'
  if (request.startsWith('end ')) return 'end'
  if (request.startsWith('create SLUICE_')) return 'mailbox'
  return /^read .* \d+$/.test(request) ? 'restore' : undefined
}

const pointAfter = (request: string): Point | undefined => {
  if (request.startsWith('write ')) return 'report.before'
  return request.startsWith('commit ') ? 'commit.reply' : undefined
}
