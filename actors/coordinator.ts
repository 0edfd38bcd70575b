/**
 * The coordinator actor: performs what `lib/protocol/coordinator.ts` decides.
 *
 * Every outcome comes back as an event, and so does time. Nothing here decides anything but how often
 * to ask a server that does not answer.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../lib/errors.js'
import type { Plan } from '../lib/job/plan.js'
import type { ControlBus } from '../lib/ports/control-bus.js'
import type { EventLog } from '../lib/ports/event-log.js'
import type {
  Claim,
  CommitOutcome,
  HistoryEntry,
  JobStore,
  SubtaskHistory,
} from '../lib/ports/job-store.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import {
  answerSubject,
  coordinatorSubject,
  deadLetterStream,
  generationOfStream,
  identityStream,
  jobStreamPrefix,
  mailboxStream,
  mailboxSubjects,
  ordersSubject,
} from '../lib/protocol/addresses.js'
import type { AbortReason } from '../lib/protocol/checkpoint.js'
import {
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorSettings,
  type CoordinatorState,
  initialCoordinator,
  type Note,
  nextWakeAt,
  stepCoordinator,
} from '../lib/protocol/coordinator.js'
import type { Generation } from '../lib/protocol/ids.js'
import { chainOf } from '../lib/protocol/increment.js'
import { inlineBytesOf } from '../lib/protocol/inline.js'
import type { Manifest, PartRef } from '../lib/protocol/manifest.js'
import {
  decodeMessage,
  encodeMessage,
  type Report,
  ToCoordinator,
} from '../lib/protocol/messages.js'
import { leftBy, supersededTtlOf } from '../lib/protocol/retention.js'

/** What a coordinator needs of the world. */
export interface CoordinatorPorts {
  readonly store: JobStore
  readonly log: EventLog
  readonly bus: ControlBus
  readonly scheduler: Scheduler
}

/** What a coordinator runs, under which claim, and whom it tells. */
export interface CoordinatorOptions {
  readonly plan: Plan
  readonly claim: Claim
  /** Identity of the run that holds the lease. */
  readonly run: string
  readonly leaseMs: number
  /** The state backend, for the manifests. Default: Redis. */
  readonly backend?: string
  readonly settings: CoordinatorSettings
  readonly ports: CoordinatorPorts
  readonly onNote: (note: Note) => void
  /** After every step, for progress. */
  readonly onState: (state: CoordinatorState) => void
  /** Called once: the job ended, or another coordinator owns it. */
  readonly onEnded: (state: CoordinatorState) => void
}

const isGone = ({ type }: StreamError): boolean => type === 'lost' || type === 'corrupt'

type Unstamped = CoordinatorEvent extends infer Event
  ? Event extends CoordinatorEvent
    ? Omit<Event, 'now' | 'random'>
    : never
  : never

/** Between tries at a store that does not answer. */
const retryMs = 500
const mailboxSlackBytes = 4 * 1024 * 1024

/** What a history says of the state that was reported: what a restore reads, and what was written. */
const stateOf = (
  reports: readonly Report[],
): Required<Pick<HistoryEntry, 'bytes' | 'writtenBytes' | 'subtasks'>> &
  Pick<HistoryEntry, 'inlineBytes'> => {
  const subtasks = reports.map(({ part, looped: _, ...said }): SubtaskHistory => {
    const bytes = chainOf(part).reduce((sum, stored) => sum + stored.bytes, 0)
    const { subtask, bytes: writtenBytes } = part
    return { subtask, bytes, writtenBytes, ...inlineIn([part]), ...said }
  })
  const sumOf = (size: 'bytes' | 'writtenBytes'): number =>
    subtasks.reduce((sum, subtask) => sum + subtask[size], 0)
  const parts = reports.map(({ part }) => part)
  return {
    bytes: sumOf('bytes'),
    writtenBytes: sumOf('writtenBytes'),
    ...inlineIn(parts),
    subtasks,
  }
}

const inlineIn = (parts: readonly PartRef[]): { readonly inlineBytes?: number } => {
  const inlineBytes = inlineBytesOf(parts)
  return inlineBytes === 0 ? {} : { inlineBytes }
}

/** One coordinator at work. */
export class CoordinatorActor {
  private state: CoordinatorState
  private readonly queue: Unstamped[] = []
  private stepping = false
  private cancelWake: () => void = () => {}
  private cancelRenew: () => void = () => {}
  private unsubscribe: () => void = () => {}
  private ended = false
  private cancelSeen = false
  /** The mailboxes that were asked for, and the asking. */
  private made: string[] = []
  private making: Promise<void> = Promise.resolve()
  /** The job ends: no mailbox more is made. */
  private ending = false

  constructor(private readonly options: CoordinatorOptions) {
    this.state = initialCoordinator(options.settings)
  }

  start(): void {
    const { plan, ports } = this.options
    this.unsubscribe = ports.bus.subscribe(coordinatorSubject(plan.job), payload =>
      this.hear(payload),
    )
    this.renewPeriodically()
    this.dispatch({ type: 'started' })
  }

  /** Stops without a word to the store: what a crash does, or a process that is told to leave. */
  dispose(): void {
    this.ended = true
    this.cancelWake()
    this.cancelRenew()
    this.unsubscribe()
  }

  requestCancel(): void {
    this.dispatch({ type: 'cancel-requested' })
  }

  private hear(payload: Uint8Array): void {
    const decoded = decodeMessage(ToCoordinator, payload)
    if (E.isLeft(decoded)) {
      this.note({ type: 'store-trouble', doing: 'reading a control message', error: decoded.left })
      return
    }
    const message = decoded.right
    switch (message.type) {
      case 'beat':
        this.dispatch({ type: 'beat', beat: message })
        return
      case 'heartbeat':
        this.dispatch({ type: 'heartbeat', worker: message.worker, lagMs: message.lagMs })
        return
      case 'worker-exited':
        this.dispatch({ type: 'worker-exited', worker: message.worker, reason: message.reason })
        return
      case 'checkpoint-request':
        this.dispatch({ type: 'checkpoint-requested', request: message.request })
        return
      case 'nudge':
        void this.renew()
    }
  }

  /** One event at a time; effects of one are under way before the next is looked at. */
  private dispatch(event: Unstamped): void {
    this.queue.push(event)
    if (this.stepping || this.ended) return
    this.stepping = true
    const { scheduler } = this.options.ports
    for (
      let next = this.queue.shift();
      next !== undefined && !this.ended;
      next = this.queue.shift()
    ) {
      const stamped = {
        ...next,
        now: scheduler.now(),
        random: scheduler.random(),
      } as CoordinatorEvent
      const [state, effects] = stepCoordinator(this.state, stamped)
      this.state = state
      for (const effect of effects) this.perform(effect)
    }
    this.stepping = false
    this.afterSteps()
  }

  private afterSteps(): void {
    if (this.ended) return
    this.options.onState(this.state)
    const { type } = this.state.phase
    if (type === 'ended' || type === 'fenced') {
      const state = this.state
      this.dispose()
      if (type === 'ended') this.options.onEnded(state)
      else void this.withdraw().finally(() => this.options.onEnded(state))
      return
    }
    const { scheduler } = this.options.ports
    this.cancelWake()
    const delayMs = Math.max(1, nextWakeAt(this.state) - scheduler.now())
    this.cancelWake = scheduler.after(delayMs, () => this.dispatch({ type: 'tick' }))
  }

  private perform(effect: CoordinatorEffect): void {
    const { ports, plan } = this.options
    switch (effect.type) {
      case 'begin-generation':
        void this.beginGeneration()
        return
      case 'prepare-mailboxes':
        this.making = this.prepareMailboxes(effect.generation)
        return
      case 'send-orders':
        ports.bus.send(ordersSubject(plan.job, effect.worker), encodeMessage(effect.orders))
        return
      case 'allocate-epoch':
        void this.allocate(effect.generation)
        return
      case 'commit':
        void this.commit(effect)
        return
      case 'record-aborted':
        void this.recordAborted(effect)
        return
      case 'set-status':
        void this.setStatus(effect)
        return
      case 'end-job':
        void this.endJob(effect)
        return
      case 'answer': {
        const { request, outcome } = effect
        const answer = { version: 1, type: 'checkpoint-answer', request, outcome } as const
        ports.bus.send(answerSubject(plan.job, request), encodeMessage(answer))
        return
      }
      case 'note':
        this.note(effect.note)
    }
  }

  private note(note: Note): void {
    this.options.onNote(note)
  }

  /**
   * A fenced claim ends this coordinator, whatever it was doing; a store that has lost the job ends the
   * job, which could never again complete a checkpoint. True if it was one of these.
   */
  private endedBy(error: StreamError): boolean {
    if (error.type === 'fenced') this.dispatch({ type: 'fenced', reason: error.message })
    else if (isGone(error)) {
      const next = error.next === undefined ? '' : `. ${error.next}`
      this.dispatch({ type: 'store-lost', reason: `${error.message}${next}` })
    } else return false
    return true
  }

  private async beginGeneration(): Promise<void> {
    const begun = await this.options.ports.store.beginGeneration(this.options.claim)()
    if (E.isRight(begun)) this.dispatch({ type: 'generation-begun', ...begun.right })
    else if (!this.endedBy(begun.left))
      this.dispatch({ type: 'generation-failed', error: begun.left })
  }

  /** Removes what older generations left, makes what this one needs. */
  private async prepareMailboxes(generation: Generation): Promise<void> {
    const { plan, ports } = this.options
    const { limits, mailboxStorage } = plan.graph
    const failed = (error: StreamError): void =>
      this.dispatch({ type: 'mailboxes-failed', generation, error })
    this.made = []
    const later = await this.removeMailboxes(generation)
    if (E.isLeft(later)) return failed(later.left)
    if (later.right !== undefined) {
      // What lies in it would be taken for this generation's.
      this.dispatch({ type: 'mailboxes-ahead', stream: later.right })
      return failed(streamError('conflict', `there is a mailbox ${later.right} already`))
    }
    for (const subtask of plan.subtasks) {
      const chain = plan.chains.find(c => c.id === subtask.chain)
      const writers = (chain?.inputs ?? []).reduce(
        (sum, edge) => sum + plan.subtasks.filter(s => s.chain === edge.from).length,
        0,
      )
      if (writers === 0) continue
      if (this.ended || this.ending) return
      const name = mailboxStream(plan.job, generation, subtask.id)
      this.made.push(name)
      const created = await ports.log.create({
        name,
        subjects: [mailboxSubjects(plan.job, generation, subtask.id)],
        storage: mailboxStorage,
        bytesMax: writers * limits.channelBytesMax * 2 + mailboxSlackBytes,
      })()
      if (E.isLeft(created)) return failed(created.left)
    }
    this.dispatch({ type: 'mailboxes-ready', generation })
  }

  /**
   * What a coordinator makes that was fenced meanwhile, nobody would ever remove: its successor may have
   * looked before it was there, and ended the job.
   */
  private async withdraw(): Promise<void> {
    await this.making
    for (const stream of this.made) {
      const removed = await this.options.ports.log.remove(stream)()
      if (E.isRight(removed)) continue
      this.note({ type: 'store-trouble', doing: `removing ${stream}`, error: removed.left })
      return
    }
  }

  /** Removes those of older generations; answers one that is not older, if there is any. */
  private async removeMailboxes(
    below: Generation,
  ): Promise<E.Either<StreamError, string | undefined>> {
    const { plan, ports } = this.options
    const streams = await ports.log.list(jobStreamPrefix(plan.job))()
    if (E.isLeft(streams)) return streams
    let later: string | undefined
    for (const stream of streams.right) {
      const generation = generationOfStream(plan.job, stream)
      if (generation === undefined) continue
      if (generation >= below) {
        later = stream
        continue
      }
      const removed = await ports.log.remove(stream)()
      if (E.isLeft(removed)) return removed
    }
    return E.right(later)
  }

  private async allocate(generation: Generation): Promise<void> {
    const epoch = await this.options.ports.store.allocate(this.options.claim, generation)()
    if (E.isRight(epoch)) this.dispatch({ type: 'epoch-allocated', generation, epoch: epoch.right })
    else if (this.isAt(generation) && !this.endedBy(epoch.left))
      this.dispatch({ type: 'allocation-failed', generation, error: epoch.left })
  }

  /** The manifest is made once: a repeated commit must be known as the same one (P5). */
  private commit(effect: Extract<CoordinatorEffect, { type: 'commit' }>): Promise<void> {
    const { claim, plan, ports, backend = 'redis' } = this.options
    const { generation, checkpoint, parts } = effect
    const now = ports.scheduler.wallClock()
    const durationMs = ports.scheduler.now() - checkpoint.registeredAt
    const { epoch, final } = checkpoint
    const triggeredAt = now - durationMs
    const manifest: Manifest = {
      version: 1,
      job: plan.job,
      jobId: claim.jobId,
      epoch,
      generation,
      maxParallelism: plan.graph.maxParallelism,
      graph: plan.fingerprint,
      triggeredAt,
      completedAt: now,
      parts,
      final,
      ...(backend === 'redis' ? {} : { backend }),
    }
    return this.tryCommit(manifest, {
      epoch,
      generation,
      status: 'completed',
      triggeredAt,
      durationMs,
      ...stateOf([...checkpoint.reports.values()]),
    })
  }

  private async tryCommit(manifest: Manifest, history: HistoryEntry): Promise<void> {
    const { claim, plan, ports } = this.options
    const { generation, epoch } = manifest
    const { historyMax } = plan.graph.limits
    const { numRetained = 1 } = plan.graph.checkpoint ?? {}
    const supersededTtlMs = supersededTtlOf(
      plan.graph.limits.supersededTtlMs,
      plan.graph.checkpoint,
    )
    const options = { supersededTtlMs, numRetained, history, historyMax }
    const outcome = await ports.store.commit(claim, manifest, options)()
    if (E.isRight(outcome)) return this.committed(manifest, outcome.right)
    const error = outcome.left
    if (this.endedBy(error)) return
    this.note({ type: 'store-trouble', doing: `completing checkpoint ${epoch}`, error })
    if (error.type === 'timed-out' || error.type === 'unavailable') {
      // Unknown outcome: asked again, never assumed (P5). A newer generation re-reads the truth itself.
      this.retry(() => {
        if (this.isAt(generation)) void this.tryCommit(manifest, history)
      })
      return
    }
    const facts = error.message
    this.dispatch({ type: 'commit-refused', generation, epoch, reason: 'failed', facts })
  }

  private committed({ generation, epoch }: Manifest, outcome: CommitOutcome): void {
    const refused = (reason: AbortReason, facts: string): void =>
      this.dispatch({ type: 'commit-refused', generation, epoch, reason, facts })
    switch (outcome.type) {
      case 'committed':
      case 'already-committed':
        this.dispatch({ type: 'committed', generation, epoch })
        return
      case 'parts-missing':
        refused('parts-missing', `the store has lost the parts of ${outcome.subtasks.join(', ')}`)
        return
      case 'superseded':
        refused('superseded', `checkpoint ${outcome.latest} completed before`)
        return
      case 'fenced': {
        const reason = `term ${outcome.term}, generation ${outcome.generation} own the job`
        // A newer generation of our own is no other coordinator.
        if (outcome.term === this.options.claim.term) refused('failed', reason)
        else this.dispatch({ type: 'fenced', reason })
      }
    }
  }

  private isAt(generation: Generation): boolean {
    const { phase } = this.state
    return 'generation' in phase && phase.generation === generation
  }

  private async recordAborted({
    generation,
    aborted,
  }: Extract<CoordinatorEffect, { type: 'record-aborted' }>): Promise<void> {
    const { claim, plan, ports } = this.options
    const { epoch, durationMs, reason, facts, reports } = aborted
    const entry: HistoryEntry = {
      epoch,
      generation,
      status: 'aborted',
      triggeredAt: ports.scheduler.wallClock() - durationMs,
      durationMs,
      ...stateOf(reports),
      reason: `${reason}: ${facts}`,
    }
    const recorded = await ports.store.recordAborted(claim, entry, plan.graph.limits.historyMax)()
    if (E.isLeft(recorded) && !this.endedBy(recorded.left)) {
      this.note({
        type: 'store-trouble',
        doing: `recording aborted checkpoint ${epoch}`,
        error: recorded.left,
      })
    }
  }

  private async setStatus({
    status,
    reason,
  }: Extract<CoordinatorEffect, { type: 'set-status' }>): Promise<void> {
    const { claim, ports } = this.options
    const set = await ports.store.setStatus(claim, status, reason)()
    if (E.isLeft(set) && !this.endedBy(set.left)) {
      this.note({ type: 'store-trouble', doing: `recording status '${status}'`, error: set.left })
    }
  }

  /**
   * The store's word last: a coordinator that dies before it is followed by one that does all of this
   * again, and after it by none.
   */
  private async endJob(effect: Extract<CoordinatorEffect, { type: 'end-job' }>): Promise<void> {
    const { claim, plan, ports } = this.options
    const { status, reason } = effect
    const left = leftBy(status, plan.graph.checkpoint?.retention ?? 'none')
    this.ending = true
    // A job that is canceled while a generation begins: what is made after a look at what is there stays.
    await this.making
    const tidied = await this.tidy(left.resumes && left.ttlMs === undefined)
    if (E.isLeft(tidied)) {
      this.note({ type: 'store-trouble', doing: "removing the job's streams", error: tidied.left })
      // Out of reach for now; after any other answer asking again is of no use.
      if (tidied.left.type === 'unavailable' || tidied.left.type === 'timed-out') {
        this.retry(() => void this.endJob(effect))
        return
      }
    }
    const ended = await ports.store.end(claim, status, {
      ...(reason === undefined ? {} : { reason }),
      ...left,
    })()
    if (E.isLeft(ended)) {
      if (this.endedBy(ended.left) && ended.left.type === 'fenced') return
      this.note({ type: 'store-trouble', doing: 'ending the job', error: ended.left })
      if (!isGone(ended.left)) {
        this.retry(() => void this.endJob(effect))
        return
      }
    }
    this.dispatch({ type: 'job-ended' })
  }

  /**
   * Removes the job's own streams; those of a kept job's identity and dead letters are kept. So is the
   * identity of a job whose record is lost: nothing else would tell a coordinator that comes after this
   * one that the job must not start from nothing (P10).
   */
  private async tidy(keep: boolean): Promise<E.Either<StreamError, void>> {
    const { plan, ports } = this.options
    const { job } = plan
    // Mailboxes of a later generation than ours are a successor's, and none of our business.
    const removed = await this.removeMailboxes(this.state.newest + 1)
    if (E.isLeft(removed)) return removed
    if (keep) return E.right(undefined)
    const dead = await ports.log.facts(deadLetterStream(job))()
    if (E.isLeft(dead) && dead.left.type !== 'missing') return dead
    // Dead letters outlive the job; a stream without any is of no use to anybody.
    if (E.isRight(dead) && dead.right.messages === 0) {
      const gone = await ports.log.remove(deadLetterStream(job))()
      if (E.isLeft(gone)) return gone
    }
    const record = await ports.store.describe(job)()
    if (E.isLeft(record)) return record
    return record.right === undefined ? E.right(undefined) : ports.log.remove(identityStream(job))()
  }

  private retry(action: () => void): void {
    this.options.ports.scheduler.after(retryMs, () => {
      if (!this.ended) action()
    })
  }

  private renewPeriodically(): void {
    const { scheduler } = this.options.ports
    this.cancelRenew = scheduler.after(this.options.leaseMs / 4, () => {
      void this.renew().then(() => {
        if (!this.ended) this.renewPeriodically()
      })
    })
  }

  private async renew(): Promise<void> {
    const { ports, claim, run, leaseMs } = this.options
    const { phase } = this.state
    // The job's end gives the lease up; renewing it after that would be taking it again.
    if (this.ended || (phase.type === 'stopping' && phase.ending)) return
    const askedAt = ports.scheduler.now()
    const renewed = await ports.store.renew(claim, run, leaseMs)()
    if (E.isLeft(renewed)) {
      const ending = this.state.phase.type === 'stopping' && this.state.phase.ending
      if (ending || this.endedBy(renewed.left)) return
      this.note({ type: 'store-trouble', doing: 'renewing the lease', error: renewed.left })
      return
    }
    this.dispatch({ type: 'renewed', askedAt })
    if (renewed.right.cancelRequested && !this.cancelSeen) {
      this.cancelSeen = true
      this.dispatch({ type: 'cancel-requested' })
    }
  }
}
