/** A random job among faults: what a seed stands for, run to its end in virtual time. */
import * as E from 'fp-ts/lib/Either.js'
import type { PublishOutcome } from '../../lib/ports/event-log.js'
import { coordinatorSubject } from '../../lib/protocol/addresses.js'
import { exponentialDelay } from '../../lib/protocol/retry.js'
import { type Connection, coordinatorRole, JobWorld } from '../support/memory-job.js'
import type { MemoryRedisBackup } from '../support/memory-redis.js'
import type { MemoryProcess } from '../support/memory-time.js'
import type { Fault as WireFault } from '../support/memory-wire.js'
import { count, type Sometimes } from './counters.js'
import { drawsAt, hashText, mix } from './draws.js'
import { describeFault, type Fault, faultsUntilMs, type Point, type Whom } from './faults.js'
import { Observer } from './observer.js'
import {
  itemOf,
  jobOf,
  type Shape,
  sourceStream,
  sourceSubject,
  type Trapdoor,
} from './random-job.js'
import type { Reference } from './reference.js'

export interface SimOptions {
  readonly seed: number
  readonly shape: Shape
  readonly reference: Reference
  readonly faults: readonly Fault[]
  readonly counters: Map<string, number>
  /** Hears every event, in words. */
  readonly trace?: (line: string) => void
}

type Timed = Exclude<Fault, { kind: 'bus' | 'wire' }>

const backupEveryMs = 100
const producerRetryMs = 10
/** A job that stands still until a channel gives it up is not alive, though it ends some time. */
const livenessMs = 25_000
/** Of the requests of a process whose way is bad: what gets lost, and what is done unheard. */
const lossyShares = { lost: 0.35, unanswered: 0.5 }
/** Control messages are read in every so many seeds: it takes time. */
const watchedSeeds = 8
/** Of looks at the clock; longer than a turn of encoding, so that a snapshot takes several. */
const interruptionShare = 0.02
const interruptionMs = 5
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class SimWorld {
  readonly job: JobWorld
  readonly observer: Observer
  /** A fingerprint of all that has happened. */
  hash = 0x811c9dc5
  recoveries = 0
  endedAtMs = 0
  readonly #options: SimOptions
  readonly #trapdoor: Trapdoor = { armed: 0 }
  readonly #reached = new Map<Point, number>()
  readonly #waiting = new Map<string, Timed[]>()
  readonly #backups: { readonly atMs: number; readonly backup: MemoryRedisBackup }[] = []
  /** How many faults hold a server in a state; the last one to end heals it. */
  readonly #held = new Map<string, number>()
  #healed = false

  constructor(options: SimOptions) {
    this.#options = options
    const { seed, shape, reference, counters } = options
    const random = drawsAt(seed, 'world')
    this.job = new JobWorld({
      job: jobOf(shape, this.#trapdoor),
      seed,
      latencyMs: 0.2 + random.next() * 3,
      readingMs: random.chance(0.5) ? 0.01 : 0,
      draws: edge => {
        const draws = drawsAt(seed, edge)
        return () => draws.next()
      },
      restart: exponentialDelay({
        initialMs: 10,
        maxMs: 200,
        multiplier: 1.5,
        jitter: 0.1,
        resetAfterMs: 1_000,
      }),
      leaseMs: 600,
      requestTimeoutMs: 200,
      respawnMs: 20,
      sameNames: random.chance(0.15),
      onRefused: error => {
        // A person starts it again, unless the error says that something is lost.
        if (error.type === 'lost' && this.observer.destroyed) return undefined
        this.tell(`a person is told: ${error.message}`)
        return 'again'
      },
    })
    this.observer = new Observer(shape, reference, this.job, counters)
    this.#watch()
    this.#plan()
  }

  count(what: Sometimes): void {
    count(this.#options.counters, what)
  }

  tell(line: string): void {
    const text = `${this.job.time.now.toFixed(3)} ${line}`
    this.hash = hashText(text, this.hash)
    this.#options.trace?.(text)
  }

  /** Runs to the end of the faults, and then until everything is as it must be. */
  async run(): Promise<void> {
    const { job, observer } = this
    this.#produce()
    job.start()
    await job.time.run(
      'the end of the faults',
      () => this.#isOver() || job.time.now >= faultsUntilMs,
    )
    this.#heal()
    const limitMs = livenessMs
    const { bounded } = this.#options.shape
    const isDone = (): boolean => this.#isOver() || (!bounded && observer.isComplete())
    try {
      await job.time.run('the end', isDone, limitMs)
      if (job.outcome === undefined && observer.violations.length === 0) {
        const before = this.#completed()
        const { timeoutMs, limits } = this.#options.shape
        // A worker may have been lost just now, and nobody has noticed.
        const within = 3 * timeoutMs + limits.heartbeatTimeoutMs + 2_000
        await job.time.run(
          'one more checkpoint',
          () => this.#isOver() || this.#completed() > before,
          within,
        )
        await job.cancel()
        await job.time.run('the end after a cancel', () => this.#isOver(), limitMs)
      }
    } catch (thrown) {
      observer.broken('I13', thrown instanceof Error ? thrown.message : String(thrown))
      return
    }
    this.endedAtMs = job.time.now
    await this.#judge()
  }

  #isOver(): boolean {
    return this.job.outcome !== undefined || this.observer.violations.length > 0
  }

  #completed(): number {
    return this.job.redis.metas.get(this.job.plan.job)?.completed ?? 0
  }

  async #judge(): Promise<void> {
    const { job, observer } = this
    if (observer.violations.length > 0) return
    const outcome = job.outcome ?? { status: 'failed', reason: 'it has no outcome' }
    if (outcome.status === 'failed' || outcome.status === 'refused') {
      if (observer.destroyed) this.count('loss found and named')
      else observer.broken('I13', `the job is ${outcome.status}: ${outcome.reason}`)
      return
    }
    observer.checkComplete()
    // What is left of the processes is ended by whoever started them.
    for (const process of this.#all) process.kill()
    const ttlMs = 3_600_000
    await job.time.pass(ttlMs + 60_000)
    const left = job.redis.keys().filter(({ ttlMs: ttl }) => ttl !== undefined)
    if (left.length > 0) observer.broken('I10', `${left.length} keys are left: ${left[0]?.key}`)
    const mailboxes = [...job.broker.streams.keys()].filter(name => /_G\d+_/.test(name))
    if (mailboxes.length > 0) observer.broken('I10', `mailboxes are left: ${mailboxes.join(' ')}`)
  }

  // --- the world --------------------------------------------------------------------------------

  /** Messages come into the sources' streams. */
  #produce(): void {
    const { job } = this
    if (this.#options.shape.sinksShare)
      job.broker.create({ name: 'OUT', subjects: ['out.>'], storage: 'file' })
    for (const [origin, source] of this.#options.shape.sources.entries()) {
      if (source.type !== 'stream') continue
      job.broker.create({
        name: sourceStream(source),
        subjects: [sourceSubject(source)],
        storage: 'file',
      })
      const subject = sourceSubject(source)
      const paceMs = source.overMs === 0 ? 0 : source.overMs / source.records
      const waiting = Array.from({ length: source.records }, (_, n) => n)
      this.#producers.set(sourceStream(source), waiting)
      // A producer sends again what was not taken, before anything else; what the log has lost later
      // on, it sends at the end.
      const produce = (): void => {
        const [n] = waiting
        let isStored = false
        if (n !== undefined) {
          const text = source.poison.includes(n) ? `poison ${n}` : JSON.stringify(itemOf(origin, n))
          isStored = job.broker.publish(subject, encoder.encode(text), {}).type === 'stored'
          if (isStored) waiting.shift()
        }
        if (n !== undefined || !this.#healed)
          job.time.after(isStored ? paceMs : producerRetryMs, produce)
      }
      produce()
    }
  }

  #watch(): void {
    const { job, observer } = this
    job.hooks.onRequest = (process, request) => this.#onRequest(process, request)
    job.hooks.onServed = (process, request) => this.#onServed(process, request)
    const publish = job.broker.publish.bind(job.broker)
    job.broker.publish = (subject, payload, options): PublishOutcome => {
      const outcome = publish(subject, payload, options)
      observer.onPublish(subject, payload, options, outcome, this.#isHeld('log-full'))
      return outcome
    }
    const connect = job.connect.bind(job)
    job.connect = name => {
      const ports = connect(name)
      this.#all.add(ports.process)
      return this.#wrapped(ports)
    }
    const { notes } = job
    const push = notes.push.bind(notes)
    notes.push = (...added) => {
      for (const note of added) {
        this.tell(`note ${JSON.stringify(note)}`)
        if (note.type === 'generation-begun') this.recoveries += 1
        if (note.type === 'checkpoint-aborted') observer.onAborted(note.epoch)
        if (note.type === 'checkpoint-aborted' && note.reason === 'timed-out')
          this.count('checkpoint aborted: timeout')
        if (note.type === 'checkpoint-aborted' && note.reason === 'declined')
          this.count('checkpoint aborted: declined')
        if (note.type === 'checkpoint-aborted' && note.reason === 'parts-missing')
          this.count('commit refused: parts are missing')
        if (note.type === 'worker-lost' && /silent|heartbeat/.test(note.reason))
          this.count('worker lost by silence')
      }
      return push(...added)
    }
    const told = job.told.push.bind(job.told)
    job.told.push = (...lines) => {
      for (const line of lines) {
        this.tell(line)
        if (line.endsWith('is fenced')) this.count('coordinator fenced')
      }
      return told(...lines)
    }
  }

  /** What a process is answered, looked at on its way. */
  #wrapped(ports: Connection): Connection {
    const { store } = ports
    return {
      ...ports,
      scheduler: this.#interrupted(ports),
      store: {
        ...store,
        commit: (claim, manifest, options) => async () => {
          const outcome = await store.commit(claim, manifest, options)()
          if (E.isLeft(outcome)) {
            if (outcome.left.type === 'timed-out') this.count('commit of unknown outcome')
          } else if (outcome.right.type === 'fenced') this.count('commit refused: fenced')
          else if (outcome.right.type === 'already-committed')
            this.count('commit repeated: it had happened')
          else if (outcome.right.type === 'parts-missing')
            this.count('commit refused: parts are missing')
          return outcome
        },
      },
    }
  }

  /** In some runs the system takes a process's turn away now and then, in the middle of its work. */
  #interrupted({ process, scheduler }: Connection): Connection['scheduler'] {
    const { seed } = this.#options
    if (drawsAt(seed, 'interruptions').chance(0.5)) return scheduler
    const random = drawsAt(seed, `interruptions ${process.name}`)
    return {
      ...scheduler,
      now: () => {
        if (random.chance(interruptionShare)) this.job.time.spend(interruptionMs)
        return scheduler.now()
      },
      // What waits for its turn may see others have theirs first.
      defer: callback => {
        scheduler.after(random.chance(0.3) ? random.next() * 2 * interruptionMs : 0, callback)
      },
    }
  }

  // --- faults -----------------------------------------------------------------------------------

  #plan(): void {
    const { faults, trace } = this.#options
    for (const fault of faults) {
      trace?.(`planned: ${describeFault(fault)}`)
      if (fault.kind === 'bus' || fault.kind === 'wire') continue
      if (fault.when.type === 'time') {
        const { atMs } = fault.when
        this.job.time.after(atMs, () => this.#strike(fault, undefined))
      } else {
        const key = `${fault.when.point} ${fault.when.nth}`
        this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), fault])
      }
    }
    this.#routeBus(faults.find(fault => fault.kind === 'bus'))
    if (!faults.some(({ kind }) => kind === 'store-back')) return
    const { redis, time } = this.job
    const backUp = (): void => {
      this.#backups.push({ atMs: time.now, backup: redis.backup() })
      if (!this.#healed) time.after(backupEveryMs, backUp)
    }
    backUp()
  }

  #routeBus(fault: Extract<Fault, { kind: 'bus' }> | undefined): void {
    const { seed } = this.#options
    const drawn = new Map<string, () => number>()
    const toCoordinator = coordinatorSubject(this.job.plan.job)
    const isWatched = seed % watchedSeeds === 0
    this.job.office.fate = (subject, payload) => {
      if (isWatched && subject === toCoordinator) this.observer.onBeat(payload)
      if (this.#healed) return [0]
      let next = drawn.get(subject)
      if (next === undefined) {
        const place = drawsAt(seed, `bus ${subject}`)
        next = () => place.next()
        drawn.set(subject, next)
      }
      const isDeaf = this.job.time.now < this.#deafUntilMs && subject.includes('.worker.')
      if (isDeaf && next() < 0.5) return []
      if (fault === undefined) return [0]
      if (next() < fault.loss) return []
      const late = next() < fault.lateness ? next() * fault.lateMs : 0
      return next() < fault.doubling ? [late, next() * fault.lateMs] : [late]
    }
  }

  readonly #all = new Set<MemoryProcess>()
  /** By stream: numbers of the records that are still to be sent. */
  readonly #producers = new Map<string, number[]>()
  readonly #wires = new Map<string, () => number>()
  #deafUntilMs = 0

  #wireFate(process: MemoryProcess): WireFault | undefined {
    const fault = this.#options.faults.find(one => one.kind === 'wire')
    const isLossy = this.#isHeld(`lossy ${roleIn(process.name)}`)
    if (this.#healed || (fault?.kind !== 'wire' && !isLossy)) return undefined
    let next = this.#wires.get(process.name)
    if (next === undefined) {
      const place = drawsAt(this.#options.seed, `wire ${process.name}`)
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

  #onRequest(process: MemoryProcess, request: string): WireFault | undefined {
    this.tell(`${process.name} ${request}`)
    let fate = this.#wireFate(process)
    const point = pointBefore(request)
    if (point !== undefined) fate = this.#reach(point, process) ?? fate
    return fate
  }

  #onServed(process: MemoryProcess, request: string): void {
    if (/^(commit|write|end|begin|acquire) /.test(request)) this.observer.onStore(request)
    const point = pointAfter(request)
    if (point !== undefined) this.#reach(point, process)
  }

  #reach(point: Point, process: MemoryProcess): WireFault | undefined {
    if (this.#healed) return undefined
    const nth = (this.#reached.get(point) ?? 0) + 1
    this.#reached.set(point, nth)
    let fate: WireFault | undefined
    for (const fault of this.#waiting.get(`${point} ${nth}`) ?? []) {
      if (fault.kind === 'lost' || fault.kind === 'unanswered' || fault.kind === 'torn') {
        fate = fault.kind
        if (fate === 'torn') this.count('request torn')
      } else this.#strike(fault, process)
    }
    return fate
  }

  #roleOf(whom: Whom, at: MemoryProcess | undefined): string {
    if (whom === 'self' && at !== undefined) return roleIn(at.name)
    const number = whom === 'self' ? 0 : whom
    const subtasks = this.job.plan.subtasks
    if (number % 4 === 0) return coordinatorRole
    return subtasks[mix(number) % subtasks.length]?.id ?? coordinatorRole
  }

  #strike(fault: Timed, at: MemoryProcess | undefined): void {
    const { job } = this
    if (this.#healed || job.outcome !== undefined) return
    this.tell(`fault ${describeFault(fault)}`)
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
        this.count(
          role === coordinatorRole
            ? 'two coordinators at once'
            : 'two workers of a subtask at once',
        )
        return
      }
      case 'throw':
        this.#trapdoor.armed += 1
        this.count('operator threw')
        return
      case 'clock':
        job.time.skewMs += fault.byMs
        this.count('clock jumped')
        return
      case 'deaf':
        this.#deafUntilMs = Math.max(this.#deafUntilMs, job.time.now + fault.forMs)
        this.count('workers were hard of hearing')
        return
      case 'slow': {
        const role = this.#roleOf(fault.whom, undefined)
        job.delaysMs.set(role, fault.byMs)
        this.count('slow way')
        job.time.after(fault.forMs, () => job.delaysMs.delete(role))
        return
      }
      case 'expire':
        job.redis.expireNow()
        this.observer.onStore('expire')
        this.count('part expired')
        return
      default:
        this.#strikeServer(fault)
    }
  }

  #crash(whom: Whom, at: MemoryProcess | undefined): void {
    const { job } = this
    const role = this.#roleOf(whom, at)
    this.count(role === coordinatorRole ? 'crash of a coordinator' : 'crash of a worker')
    // One that was abandoned has no supervisor any more.
    if (whom === 'self' && at !== undefined && job.processes.get(role) !== at) at.kill()
    else job.kill(role)
  }

  #pause(whom: Whom, at: MemoryProcess | undefined, forMs: number): void {
    const { job } = this
    const role = this.#roleOf(whom, at)
    const process = whom === 'self' ? at : job.processes.get(role)
    if (process === undefined) return
    this.count(role === coordinatorRole ? 'pause of a coordinator' : 'pause of a worker')
    process.freeze()
    job.time.after(forMs, () => {
      this.tell(`${process.name} goes on`)
      process.thaw()
    })
  }

  #strikeServer(fault: Timed): void {
    const { job } = this
    switch (fault.kind) {
      case 'log-restart':
        this.count('log restarted')
        if (this.#options.shape.mailboxStorage === 'memory') this.count('memory streams lost')
        job.broker.restart({})
        this.#hold('log-down', fault.downMs, down => job.broker.setDown(down))
        return
      case 'log-tail':
        this.#loseTail(fault.of, fault.messages)
        return
      case 'log-down':
        this.count('log cut off')
        this.#hold('log-down', fault.forMs, down => job.broker.setDown(down))
        return
      case 'lossy':
        this.count('lossy way')
        this.#hold(`lossy ${this.#roleOf(fault.whom, undefined)}`, fault.forMs, () => {})
        return
      case 'log-hung':
        this.count('log hung')
        this.#hold('log-hung', fault.forMs, hung => job.broker.setHung(hung))
        return
      case 'store-hung':
        this.count('store hung')
        this.#hold('store-hung', fault.forMs, hung => job.redis.setHung(hung))
        return
      case 'consumers':
        this.count('consumers lost')
        job.broker.dropConsumers()
        return
      case 'log-full':
        this.count('log full')
        this.#hold('log-full', fault.forMs, full => job.broker.setFull(full))
        return
      case 'store-down':
        this.count('store down')
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
        this.observer.destroyed = true
        this.count('store went back in time')
        job.redis.restore(backup.backup)
        this.observer.forget()
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
    this.count(counted[kind])
    // One mode at a time: a second one takes the place of the first, and they end together.
    this.job.redis.setMode(mode[kind])
    this.#hold('store-mode', forMs, on => {
      if (!on) this.job.redis.setMode('ok')
    })
  }

  #loseTail(of: number, messages: number): void {
    const { job } = this
    const { shape } = this.#options
    const outputs = [...job.broker.streams.keys()].filter(name =>
      job.broker.streams.get(name)?.config.subjects.some(subject => subject.startsWith('out.')),
    )
    const inputs = shape.sources.filter(({ type }) => type === 'stream').map(sourceStream)
    const names = of === 0 ? inputs : outputs
    const name = names[messages % Math.max(1, names.length)]
    const stream = name === undefined ? undefined : job.broker.streams.get(name)
    if (name === undefined || stream === undefined || stream.lastSequence === 0) return
    this.observer.destroyed = true
    this.count(of === 0 ? 'tail of a source lost' : 'tail of an output lost')
    const above = Math.max(0, stream.lastSequence - messages)
    if (of === 0) {
      for (const { sequence, payload } of job.broker.content(name)) {
        const known = /"n":(\d+)|poison (\d+)/.exec(decoder.decode(payload))
        if (sequence > above) this.#producers.get(name)?.push(Number(known?.[1] ?? known?.[2]))
      }
      this.observer.inputLost = true
    } else this.observer.loseOutput(name, above)
    job.broker.restart({ loseAbove: new Map([[name, above]]) })
    if (of !== 0) this.observer.recount()
  }

  #isHeld(what: string): boolean {
    return (this.#held.get(what) ?? 0) > 0
  }

  #hold(what: string, forMs: number, set: (on: boolean) => void): void {
    this.#held.set(what, (this.#held.get(what) ?? 0) + 1)
    set(true)
    this.job.time.after(forMs, () => {
      this.#held.set(what, (this.#held.get(what) ?? 0) - 1)
      if (this.#isHeld(what)) return
      this.tell(`${what} is over`)
      set(false)
    })
  }

  /** From here on nothing goes wrong that has not begun; what has ends by itself. */
  #heal(): void {
    this.#healed = true
    this.#trapdoor.armed = 0
    this.tell('faults are over')
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
