/** A random job among faults: what a seed stands for, run to its end in virtual time. */
import * as E from 'fp-ts/lib/Either.js'
import {
  completedKey,
  historyKey,
  jobsKey,
  manifestKey,
  metaKey,
  partKey,
} from '../../lib/adapters/redis/keys.js'
import type { PublishOutcome } from '../../lib/ports/event-log.js'
import { neededParts } from '../../lib/protocol/manifest.js'
import { exponentialDelay } from '../../lib/protocol/retry.js'
import { MemoryDisk } from '../support/memory-disk.js'
import { type Connection, coordinatorRole, JobWorld } from '../support/memory-job.js'
import type { MemoryProcess } from '../support/memory-time.js'
import type { Fault as WireFault } from '../support/memory-wire.js'
import type { Prng } from '../support/prng.js'
import { count, type Sometimes } from './counters.js'
import { between, drawsAt, hashText } from './draws.js'
import { type Fault, faultsUntilMs } from './faults.js'
import { Mischief } from './mischief.js'
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

const producerRetryMs = 10
/** A job that stands still until a channel gives it up is not alive, though it ends some time. */
const livenessMs = 25_000
/** What a job says that found out that something is gone which was promised to be kept. */
const namesLoss =
  /lost|gone back|is gone|was made again|ends at|begins at|holds another|later epoch|does not know|is not there|does not replay/
/** Longer than a lease, and than any sleep. */
const fencedWithinMs = 12_000
const fencedStepMs = 250
/** Of looks at the clock; longer than a turn of encoding, so that a snapshot takes several. */
const interruptionShare = 0.02
const interruptionMs = 5
/** Of a process's own copies of its snapshots. */
const damageShare = 0.2
/** Works of a disk that fail, and files whose bytes are others than were written. */
const diskTroubleShare = 0.1
const encoder = new TextEncoder()
const shortDelays = exponentialDelay({
  initialMs: 10,
  maxMs: 200,
  multiplier: 1.5,
  jitter: 0.1,
  resetAfterMs: 1_000,
})

export class SimWorld {
  readonly job: JobWorld
  readonly observer: Observer
  /** A fingerprint of all that has happened. */
  hash = 0x811c9dc5
  recoveries = 0
  endedAtMs = 0
  readonly #options: SimOptions
  readonly #trapdoor: Trapdoor = {
    armed: 0,
    onHeard: (what, epoch) => this.observer.onHeard(what, epoch),
  }
  readonly #mischief: Mischief
  /** Of the checkpoint that was committed last. */
  #newest = { generation: 0, completedAt: 0 }
  /** Every process that ever was. */
  readonly #all = new Set<MemoryProcess>()
  readonly #producers = new Map<string, number[]>()

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
      ...(shape.restart === undefined ? { restart: shortDelays } : {}),
      leaseMs: 600,
      requestTimeoutMs: 200,
      respawnMs: 20,
      sameNames: random.chance(0.15),
      onRefused: error => {
        // Where nothing was destroyed there is nothing that a person could have to do.
        if (!this.observer.destroyed) this.observer.broken('I13', `refused: ${error.message}`)
        this.tell(`a person is told: ${error.message}`)
        return error.type === 'lost' ? undefined : 'again'
      },
    })
    this.observer = new Observer(shape, reference, this.job, counters)
    this.#mischief = new Mischief({
      ...options,
      trace: options.trace,
      job: this.job,
      observer: this.observer,
      trapdoor: this.#trapdoor,
      producers: this.#producers,
      count: what => this.count(what),
      tell: line => this.tell(line),
    })
    this.#watch()
    this.#mischief.plan()
    this.#askByHand()
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
    this.#mischief.heal()
    const limitMs = livenessMs
    const { bounded } = this.#options.shape
    const isDone = (): boolean => this.#isOver() || (!bounded && observer.isComplete())
    try {
      await job.time.run('the end', isDone, limitMs)
      if (job.outcome === undefined && observer.violations.length === 0) {
        const before = this.#completed()
        const { timeoutMs, limits } = this.#options.shape
        // A worker may have been lost just now, and nobody has noticed.
        const lost = limits.heartbeatTimeoutMs + 2_000
        // A job that stops because of what it has found waits for workers that obey another term.
        const within = 3 * timeoutMs + (observer.destroyed ? livenessMs : lost)
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

  /** What an end leaves for ever. */
  #keptKeys(status: string): Set<string> {
    const { redis, plan } = this.job
    const { job } = plan
    const meta = redis.metas.get(job)
    const stays = plan.graph.checkpoint?.retention === 'retain-on-cancellation'
    if (!stays || status !== 'canceled' || meta === undefined) return new Set()
    const keys = new Set([metaKey(job)])
    if (redis.completed.get(job) !== undefined) keys.add(completedKey(job))
    if (redis.histories.get(job) !== undefined) keys.add(historyKey(job))
    for (const epoch of meta.kept) {
      const key = manifestKey(job, epoch)
      keys.add(key)
      const manifest = redis.manifests.get(key)
      for (const part of manifest === undefined ? [] : neededParts(manifest))
        keys.add(partKey(job, part))
    }
    this.count('checkpoints kept after the end')
    return keys
  }

  /** One that slept through the job's end finds out that it owns nothing, and takes back what it made. */
  async #letCoordinatorsGo(): Promise<void> {
    const { time, processes } = this.job
    const until = time.now + fencedWithinMs
    const last = processes.get(coordinatorRole)
    const isLeft = (): boolean =>
      [...this.#all].some(
        one => one !== last && one.alive && one.name.startsWith(`${coordinatorRole}-`),
      )
    while (isLeft() && time.now < until) await time.pass(fencedStepMs)
  }

  async #judge(): Promise<void> {
    const { job, observer } = this
    if (observer.violations.length > 0) return
    const outcome = job.outcome ?? { status: 'failed', reason: 'it has no outcome' }
    if (outcome.status === 'failed' || outcome.status === 'refused') {
      if (observer.destroyed && namesLoss.test(outcome.reason ?? ''))
        this.count('loss found and named')
      else observer.broken('I13', `the job is ${outcome.status}: ${outcome.reason}`)
      return
    }
    observer.checkComplete()
    await this.#letCoordinatorsGo()
    // What is left of the processes is ended by whoever started them.
    for (const process of this.#all) process.kill()
    const ttlMs = 3_600_000
    await job.time.pass(ttlMs + 60_000)
    const kept = this.#keptKeys(outcome.status)
    const left = job.redis.keys().filter(({ key }) => key !== jobsKey && !kept.delete(key))
    if (kept.size > 0) observer.broken('I10', `${[...kept].join(' ')} should have been kept`)
    if (left.length > 0 && !observer.destroyed)
      observer.broken('I10', `${left.length} keys are left: ${left[0]?.key}`)
    const mailboxes = [...job.broker.streams.keys()].filter(name => /_G\d+_/.test(name))
    if (mailboxes.length > 0) observer.broken('I10', `mailboxes are left: ${mailboxes.join(' ')}`)
  }

  /** In some runs somebody asks for a checkpoint now and then. */
  #askByHand(): void {
    const random = drawsAt(this.#options.seed, 'by hand')
    if (random.chance(0.6)) return
    for (let number = between(random, 1, 4); number > 0; number -= 1) {
      const request = `request-${number}`
      this.job.time.after(random.below(faultsUntilMs), () => {
        void this.job.checkpoint(request).then(answer => {
          this.tell(`${request} ${E.isRight(answer) ? answer.right.epoch : answer.left.message}`)
          this.count(
            E.isRight(answer) ? 'checkpoint by hand' : 'checkpoint by hand came to nothing',
          )
          if (E.isRight(answer)) this.observer.onAnswered(answer.right.epoch)
        })
      })
    }
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
        if (n !== undefined || !this.#mischief.isHealed)
          job.time.after(isStored ? paceMs : producerRetryMs, produce)
      }
      produce()
    }
  }

  #watch(): void {
    const { job, observer } = this
    this.#placeDisk()
    job.hooks.onRequest = (process, request) => this.#onRequest(process, request)
    job.hooks.onServed = (process, request) => this.#onServed(process, request)
    const publish = job.broker.publish.bind(job.broker)
    job.broker.publish = (subject, payload, options): PublishOutcome => {
      const outcome = publish(subject, payload, options)
      observer.onPublish(subject, payload, options, outcome, this.#mischief.isHeld('log-full'))
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
        if (note.type === 'generation-begun') {
          this.recoveries += 1
          observer.onRestored(note.restored)
        }
        if (note.type === 'running' && (note.restored?.memory ?? 0) > 0)
          this.count('restored from a local copy')
        if (note.type === 'running' && (note.restored?.disk ?? 0) > 0)
          this.count('restored from a copy on disk')
        if (note.type === 'failed' && /invariant \S+ is broken/.test(note.reason))
          observer.broken('I14', note.reason)
        if (note.type === 'checkpoint-aborted') observer.onAborted(note.epoch)
        if (note.type === 'checkpoint-aborted' && note.reason === 'timed-out')
          this.count('checkpoint aborted: timeout')
        if (note.type === 'failed' && /^(checkpoint \d+ was|no checkpoint could)/.test(note.reason))
          this.count('checkpoints ended a generation')
        if (note.type === 'checkpoint-aborted' && note.reason === 'declined')
          this.count('checkpoint aborted: declined')
        if (note.type === 'checkpoint-aborted' && note.reason === 'parts-missing')
          this.count('commit refused: parts are missing')
        if (note.type === 'failed' && /knows nothing of/.test(note.reason))
          this.count('others knew later numbers than the store')
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

  /** In some runs copies outlive processes, on a disk that fills up now and then, and loses bits. */
  #placeDisk(): void {
    const { seed, shape } = this.#options
    if (shape.snapshots?.localRecovery !== true || drawsAt(seed, 'disk').chance(0.3)) return
    const draws = new Map<string, Prng>()
    const randomOf = (process: string): Prng => {
      const random = draws.get(process) ?? drawsAt(seed, `disk ${process}`)
      draws.set(process, random)
      return random
    }
    const disk = new MemoryDisk(this.job.time)
    disk.latencyMs = process => {
      const random = randomOf(process)
      return (random.chance(0.1) ? 200 : 5) * random.next()
    }
    disk.fails = process => randomOf(process).chance(diskTroubleShare)
    disk.spoil = (process, chunks) => {
      const random = randomOf(process)
      const [first, ...rest] = chunks
      if (first === undefined || !random.chance(diskTroubleShare)) return chunks
      this.count('copy on disk damaged')
      // Half of them are cut off, the others have changed.
      return random.chance(0.5) ? rest : [first.map(byte => byte ^ 1), ...rest]
    }
    this.job.disk = disk
  }

  /** What a process is answered, looked at on its way. */
  #wrapped(ports: Connection): Connection {
    const { store } = ports
    return {
      ...ports,
      scheduler: this.#interrupted(ports),
      snapshots: this.#damaged(ports),
      store: {
        ...store,
        commit: (claim, manifest, options) => async () => {
          const outcome = await store.commit(claim, manifest, options)()
          const { generation, triggeredAt, completedAt } = manifest
          if (this.#newest.generation === generation && triggeredAt < this.#newest.completedAt)
            this.count('checkpoints overlapped')
          this.#newest = { generation, completedAt }
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

  /** In some runs the memory of a process does not keep what was written from it. */
  #damaged({ process, snapshots }: Connection): Connection['snapshots'] {
    const { seed, shape } = this.#options
    if (shape.snapshots?.localRecovery !== true) return snapshots
    if (drawsAt(seed, 'damages').chance(0.5)) return snapshots
    const random = drawsAt(seed, `damages ${process.name}`)
    return {
      ...snapshots,
      write: (job, part, chunks, ttlMs) => {
        const write = snapshots.write(job, part, chunks, ttlMs)
        const [first] = chunks
        if (first !== undefined && random.chance(damageShare)) {
          first.set([(first[0] ?? 0) ^ 1])
          this.count('local copy damaged')
        }
        return write
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

  #onRequest(process: MemoryProcess, request: string): WireFault | undefined {
    this.tell(`${process.name} ${request}`)
    return this.#mischief.fateOf(process, request)
  }

  #onServed(process: MemoryProcess, request: string): void {
    if (/^(commit|write|end|begin|acquire) /.test(request)) this.observer.onStore(request)
    this.#mischief.served(process, request)
  }
}
