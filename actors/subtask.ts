/**
 * One subtask: a chain of operators between a head (source or mailbox) and its outputs.
 *
 * Owns the turn of work, the barrier's atomic step and the snapshot beside it. All that arrives — messages,
 * credits, orders, acknowledgements — enters through callbacks that end in `drive` or `guard`: what is
 * thrown in them fails this subtask and nothing else.
 */
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, SluiceError, type StreamError, streamError } from '../lib/errors.js'
import { invariant } from '../lib/invariant.js'
import { inlineRulesOf } from '../lib/job/checkpoint-rules.js'
import type { Vertex } from '../lib/job/graph.js'
import type { Chain, ChainEdge, Plan, Subtask } from '../lib/job/plan.js'
import {
  type ChainProgram,
  type Collector,
  compileChain,
  UserCodeError,
} from '../lib/operators/chain.js'
import { CheckpointListeners } from '../lib/operators/listeners.js'
import { UnlikeItself } from '../lib/operators/twice.js'
import type { ControlBus } from '../lib/ports/control-bus.js'
import type { EventLog } from '../lib/ports/event-log.js'
import type { SnapshotStore } from '../lib/ports/job-store.js'
import type { Digests, RecordCodec } from '../lib/ports/record-codec.js'
import type { Scheduler } from '../lib/ports/scheduler.js'
import {
  channelId,
  channelSubject,
  creditRequestSubject,
  creditSubject,
  mailboxStream,
  parseSubtaskId,
} from '../lib/protocol/addresses.js'
import type { ChannelId, Epoch, Generation, SubtaskId } from '../lib/protocol/ids.js'
import {
  baseOf,
  chainOf,
  type Increments,
  startIncrements,
  withAborted,
  withCompleted,
  withPart,
} from '../lib/protocol/increment.js'
import {
  type Inlined,
  startInlined,
  withBase,
  withInline,
  withSettled,
} from '../lib/protocol/inline.js'
import {
  type Manifest,
  type PartRef,
  type StoredPart,
  writtenAs,
} from '../lib/protocol/manifest.js'
import type { Decline, Report, SubtaskState } from '../lib/protocol/messages.js'
import { SourcePosition } from '../lib/protocol/source-position.js'
import { type CapturedState, KeyedStateStore } from '../lib/state/keyed-state.js'
import { LoopLog } from '../lib/state/loop-log.js'
import {
  decodeSnapshot,
  type ExpectedSection,
  type SectionInput,
  type Snapshot,
} from '../lib/state/snapshot.js'
import { mergeSnapshots } from '../lib/state/snapshot-merge.js'
import { ChannelOut } from './channel-out.js'
import type { Copies, CopyPlace } from './copies.js'
import { Gate } from './gate.js'
import type { Head } from './head.js'
import type { MailboxInput } from './inbound.js'
import { inlineChunks } from './inline-part.js'
import { Mailbox, type MailboxLoop } from './mailbox.js'
import { type OpenOutput, type Output, openOutput } from './output.js'
import {
  type DeadLetter,
  deadLetterPayload,
  recordBytesMaxOf,
  sinkPayload,
  tooMuchPending,
} from './payloads.js'
import { collectorOf, receiverOf } from './routing.js'
import { type SnapshotFailure, writeSnapshot } from './snapshot-writer.js'
import {
  IterableHead,
  openJetStreamSource,
  type RefusedMessage,
  type SourceHead,
  type SourceHost,
} from './source.js'
import { deadLetters, wantedOutputs } from './wanted-outputs.js'

/** What a subtask needs of the world. */
export interface SubtaskPorts {
  readonly log: EventLog
  readonly bus: ControlBus
  readonly snapshots: SnapshotStore
  readonly scheduler: Scheduler
  readonly codec: RecordCodec
  readonly digests: Digests
}

/** What a subtask runs, in which generation, and what it restores. */
export interface SubtaskOptions {
  readonly plan: Plan
  readonly jobId: string
  readonly subtask: SubtaskId
  readonly generation: Generation
  readonly restore: Manifest | undefined
  /** Freezes state values, so that a function that changes one fails at once. */
  readonly freeze: boolean
  /** Actors handle each record twice, and must do the same both times. */
  readonly twice?: boolean
  readonly ports: SubtaskPorts
  /** What was written here and is still here, to be restored before the store is asked. */
  readonly copies?: Copies | undefined
  /** Something that a beat tells has changed. */
  readonly onChange: () => void
}

/** What a barrier has captured, and what a snapshot of it builds on. */
interface Captured {
  readonly epoch: Epoch
  readonly sections: readonly SectionInput[]
  readonly base: PartRef | undefined
  /** Records of a loop among them. */
  readonly looped: number
}

/** A snapshot whose barrier is on its way round a loop. */
interface Round {
  readonly onReturned: (records: readonly unknown[]) => void
  readonly release: () => void
}

interface SnapshotTimes {
  readonly alignmentMs: number
  readonly syncMs: number
  readonly capturedAt: number
}

/** A turn of work: long enough to be efficient, short enough for orders and credits to get through. */
const turnMs = 8
const tickMs = 50
const encoder = new TextEncoder()

/** One subtask at work, from its restore to its end or failure. */
export class SubtaskActor {
  readonly id: SubtaskId
  private readonly chain: Chain
  private readonly subtask: Subtask
  private readonly gate = new Gate(() => this.drive())
  private readonly states = new Map<string, KeyedStateStore<unknown>>()
  private readonly outs = new Map<ChannelId, ChannelOut>()
  private readonly outputs = new Map<string, Output>()
  private readonly listeners: CheckpointListeners
  private loop: LoopLog | undefined
  /** Snapshots of a loop's head that wait for their barrier to come round. */
  private readonly round = new Map<Epoch, Round>()
  private restoredFrom: SubtaskState['restoredFrom']
  private head: Head | undefined
  private source: SourceHead | undefined
  private mailbox: Mailbox | undefined
  private program: ChainProgram | undefined
  private readonly subscriptions: (() => void)[] = []
  private cancelTick: () => void = () => {}
  private cancelLinger: (() => void) | undefined
  private phase: SubtaskState['phase'] = 'restoring'
  private error: SubtaskState['error']
  private reports: Report[] = []
  private declines: Decline[] = []
  private completed: Epoch
  private increments: Increments
  private inlined: Inlined
  /** Snapshots in a row that could not be made of the state. */
  private refusedInRow = 0
  private lastEpoch: Epoch
  /** Snapshots that are being encoded or written, oldest first: no more than may be pending. */
  private readonly encoding = new Map<Epoch, { cancelled: boolean }>()
  private driving = false
  private deferred = false
  private disposed = false
  private records = 0
  private skipped = 0
  /** Told to run before it was restored: whoever had its name was. */
  private runsOnceReady = false
  /** Triggers that came before it ran: they are not repeated. */
  private early: { readonly epoch: Epoch; readonly final: boolean; readonly at: number }[] = []

  constructor(private readonly options: SubtaskOptions) {
    this.id = options.subtask
    const { chain } = parseSubtaskId(options.subtask)
    const foundChain = options.plan.chains.find(c => c.id === chain)
    const foundSubtask = options.plan.subtasks.find(s => s.id === options.subtask)
    invariant(foundChain !== undefined && foundSubtask !== undefined, 'plan', options.subtask)
    this.chain = foundChain
    this.subtask = foundSubtask
    this.lastEpoch = options.restore?.epoch ?? 0
    this.completed = this.lastEpoch
    const { members } = foundChain
    this.listeners = new CheckpointListeners(members, foundSubtask.index, this.lastEpoch)
    this.increments = startIncrements(options.plan.graph.limits.incrementalChainMax)
    this.inlined = startInlined(inlineRulesOf(options.plan, options.ports.log.payloadBytesMax))
  }

  get state(): SubtaskState {
    return {
      subtask: this.id,
      phase: this.phase,
      reports: this.reports,
      declines: this.declines,
      ended: this.head?.ended ?? false,
      committed: this.committed,
      error: this.error,
      records: this.records,
      skipped: this.skipped,
      restoredFrom: this.restoredFrom,
    }
  }

  private get isIncremental(): boolean {
    return this.options.plan.graph.checkpoint?.incremental ?? false
  }

  private get committed(): Epoch {
    let lowest = this.completed
    for (const output of this.outputs.values()) lowest = Math.min(lowest, output.committedUpTo)
    return lowest
  }

  /** Restores everything; ends in phase `ready` or `failed`. */
  async restore(): Promise<void> {
    try {
      const opened = await this.open()
      if (this.disposed) return
      if (E.isLeft(opened)) {
        this.fail(opened.left, isFinal(opened.left))
        return
      }
      this.cancelTick = this.options.ports.scheduler.after(tickMs, () => this.tick())
      for (const output of this.outputs.values()) output.start()
      this.settleRestore()
    } catch (thrown) {
      this.fail(errorOf(thrown), isUnlike(thrown))
    }
  }

  /** Every subtask of the generation is restored: records may flow. */
  run(): void {
    // The word of a process of the same name that has died since may have made the coordinator think so.
    if (this.phase === 'restoring') this.runsOnceReady = true
    if (this.phase !== 'ready') return
    this.phase = 'running'
    this.guard(() => this.head?.start())
    for (const { epoch, final, at } of this.early.splice(0)) this.trigger(epoch, final, at)
    this.options.onChange()
  }

  /** A source's share of a checkpoint: the barrier enters the stream of records here. */
  trigger(epoch: Epoch, final: boolean, triggeredAt: number): void {
    if (this.phase === 'restoring' || this.phase === 'ready')
      this.early.push({ epoch, final, at: triggeredAt })
    if (this.source === undefined || this.phase !== 'running') return
    this.guard(() => this.snapshot(epoch, final, Math.round(triggeredAt), 0))
  }

  abort(epoch: Epoch): void {
    this.early = this.early.filter(each => each.epoch !== epoch)
    this.giveUp(each => each === epoch)
    this.reports = this.reports.filter(r => r.part.epoch !== epoch)
    this.inlined = withSettled(this.inlined, each => each === epoch)
    this.increments = withAborted(this.increments, epoch)
    for (const state of this.states.values()) state.mergeChanges(epoch)
    this.declines = this.declines.filter(d => d.epoch !== epoch)
    this.guard(() => this.head?.abort(epoch))
    if (this.phase === 'running') this.guard(() => this.listeners.abort(epoch))
    this.drive()
  }

  /** Everything up to `epoch` is durable; what it prepared may be seen. */
  complete(epoch: Epoch): void {
    this.completed = epoch
    this.giveUp(each => each <= epoch)
    this.increments = withCompleted(this.increments, epoch)
    const upTo = this.increments.completed?.epoch ?? 0
    for (const state of this.states.values()) state.forgetChanges(upTo)
    this.reports = this.reports.filter(r => r.part.epoch > epoch)
    this.inlined = withSettled(this.inlined, each => each <= epoch)
    this.declines = this.declines.filter(d => d.epoch > epoch)
    this.guard(() => {
      for (const output of this.outputs.values()) output.completed(epoch)
      if (this.phase === 'running') this.listeners.complete(epoch)
    })
    this.options.onChange()
  }

  /** Reads no more, but publishes what has completed; true once that is done. */
  quiesce(): boolean {
    this.head?.dispose()
    return this.phase !== 'running' || this.committed >= this.completed
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    this.cancelTick()
    this.cancelLinger?.()
    this.giveUp(() => true)
    for (const end of this.subscriptions) end()
    this.head?.dispose()
    for (const out of this.outs.values()) out.dispose()
    for (const output of this.outputs.values()) output.dispose()
  }

  // --- restoring --------------------------------------------------------------------------------

  private async open(): Promise<E.Either<StreamError, void>> {
    const snapshot = await this.readSnapshot()
    if (E.isLeft(snapshot)) return snapshot
    this.makeStates(snapshot.right)
    const outputs = await this.openOutputs(snapshot.right)
    if (E.isLeft(outputs) || this.disposed) return outputs
    this.makeOuts()
    this.program = this.compile()
    return this.openHead(snapshot.right)
  }

  private async readSnapshot(): Promise<E.Either<StreamError, Snapshot | undefined>> {
    const { plan, restore, ports } = this.options
    const part = restore?.parts.find(p => p.subtask === this.id)
    if (restore === undefined) return E.right(undefined)
    if (part === undefined) return E.left(nothingToRestore(this.id, restore.epoch))
    const chain: Snapshot[] = []
    const places = new Set<RestorePlace>()
    for (const one of chainOf(part)) {
      const inline = inlineChunks(one, ports.digests.part)
      const copy = inline === undefined ? await this.options.copies?.find(one) : undefined
      places.add(inline === undefined ? (copy?.place ?? 'store') : 'manifest')
      const found = inline ?? (copy === undefined ? undefined : E.right(copy.chunks))
      const chunks = found ?? (await ports.snapshots.read(plan.job, one)())
      if (E.isLeft(chunks)) return chunks
      const snapshot = this.decode(one, chunks.right)
      if (E.isLeft(snapshot)) return snapshot
      chain.push(snapshot.right)
    }
    this.restoredFrom = placeOf(places)
    return mergeSnapshots(chain)
  }

  private decode(part: StoredPart, chunks: readonly Uint8Array[]): E.Either<StreamError, Snapshot> {
    const { plan, ports } = this.options
    return decodeSnapshot(chunks, bytes => ports.codec.deserialize(bytes), {
      ...writtenAs(plan.job, part),
      maxParallelism: plan.graph.maxParallelism,
      keyGroups: this.subtask.keyGroups,
      sections: [
        ...this.chain.members.flatMap(sectionsOf),
        ...(this.chain.inputs.some(edge => edge.isFeedback)
          ? [{ kind: 'loop', operator: this.chain.id } as const]
          : []),
        { kind: 'output', operator: deadLetters },
      ],
    })
  }

  private makeStates(snapshot: Snapshot | undefined): void {
    for (const vertex of this.chain.members) {
      if (vertex.type !== 'operator' || vertex.actor.state === undefined) continue
      const state = new KeyedStateStore<unknown>({
        operator: vertex.id,
        tracksChanges: this.isIncremental,
        initial: vertex.actor.state.initial,
        keyGroups: this.subtask.keyGroups,
        freeze: this.options.freeze,
      })
      for (const [group, entries] of snapshot?.keyed.get(vertex.id) ?? [])
        state.restore(group, entries)
      this.states.set(vertex.id, state)
    }
  }

  private async openOutputs(snapshot: Snapshot | undefined): Promise<E.Either<StreamError, void>> {
    const { ports, restore } = this.options
    for (const options of this.wanted()) {
      const prepared = snapshot?.outputs.get(options.id) ?? []
      // An output without checkpoints has nothing to restore, though the job's last one is a checkpoint.
      const isNew = restore === undefined || options.mode === 'direct'
      const isCopy = restore?.origin !== undefined
      const restored = isNew ? undefined : { epoch: restore.epoch, prepared, isCopy }
      const output = await openOutput({ ...options, restored }, ports, {
        onRecovered: () => this.settleRestore(),
        onCommitted: () => this.options.onChange(),
        onFull: full => this.gate.change(full),
        // What the stream says against the store does not heal by restoring once more.
        onFailed: error => this.fail(error, error.type === 'lost' || error.type === 'corrupt'),
      })
      if (E.isLeft(output)) return output
      this.outputs.set(options.id, output.right)
    }
    return E.right(undefined)
  }

  private wanted(): readonly OpenOutput[] {
    const { plan, generation, jobId, restore } = this.options
    const { chain, subtask } = this
    const origin = restore?.origin
    return wantedOutputs({ plan, chain, subtask, generation, jobId, origin })
  }

  private makeOuts(): void {
    const { plan, generation, ports } = this.options
    for (const edge of this.chain.outputs) {
      for (const to of this.readersOf(edge)) {
        const channel = channelId(edge.index, this.id, to)
        const out = new ChannelOut({
          channel,
          subject: channelSubject(plan.job, generation, edge.index, this.id, to),
          generation,
          limits: plan.graph.limits,
          log: ports.log,
          codec: ports.codec,
          scheduler: ports.scheduler,
          gate: this.gate,
          onFailed: error => this.fail(error, false),
          requestCredit: () =>
            ports.bus.send(creditRequestSubject(plan.job, generation, to), encoder.encode(channel)),
        })
        this.outs.set(channel, out)
      }
    }
    if (this.outs.size === 0) return
    const end = ports.bus.subscribe(creditSubject(plan.job, generation, this.id), payload =>
      this.onCredit(payload),
    )
    this.subscriptions.push(end)
  }

  private readersOf(edge: ChainEdge): readonly SubtaskId[] {
    return this.options.plan.subtasks.filter(s => s.chain === edge.to).map(s => s.id)
  }

  private channelsOf(edge: ChainEdge): readonly ChannelOut[] {
    return this.readersOf(edge)
      .map(to => this.outs.get(channelId(edge.index, this.id, to)))
      .filter(out => out !== undefined)
  }

  private compile(): ChainProgram {
    const { plan, ports } = this.options
    return compileChain(this.chain, plan.graph, this.subtask.index, {
      edges: member =>
        this.chain.outputs
          .filter(e => e.fromMember === member)
          .map(e => collectorOf(e, this.channelsOf(e), plan.graph.maxParallelism)),
      sink: vertex => this.sinkCollector(vertex),
      state: vertex => this.states.get(vertex),
      onDeadLetter: (operator, record, reason) => this.deadLetter({ operator, reason, record }),
      onSkipped: () => {
        this.skipped += 1
      },
      same: this.options.twice === true ? sameBy(ports.codec) : undefined,
    })
  }

  private sinkCollector(id: string): Collector {
    const vertex = this.chain.members.find(v => v.id === id)
    const output = this.outputs.get(id)
    invariant(vertex?.type === 'sink' && output !== undefined, 'plan', id)
    const { codec } = vertex
    const bytesMax = this.options.plan.graph.limits.sinkPendingBytesMax
    const recordBytesMax = recordBytesMaxOf(this.options.ports.log)
    return record => {
      output.add(sinkPayload(id, codec, record, recordBytesMax))
      if (output.pendingBytes > bytesMax) throw tooMuchPending(id, bytesMax)
    }
  }

  private async openHead(snapshot: Snapshot | undefined): Promise<E.Either<StreamError, void>> {
    const first = this.chain.members[0]
    if (first?.type !== 'source') {
      this.mailbox = this.makeMailbox(snapshot?.loops.get(this.chain.id) ?? [])
      this.head = this.mailbox
      return E.right(undefined)
    }
    const stored = snapshot?.sources.get(first.id)
    const position = stored === undefined ? E.right(undefined) : SourcePosition.decode(stored)
    if (
      E.isLeft(position) ||
      (position.right !== undefined && `${position.right.type}-source` !== first.source.type)
    ) {
      return E.left(
        streamError(
          'conflict',
          `source '${first.id}' is a ${first.source.type} now; the checkpoint holds another kind of position`,
        ),
      )
    }
    const { right } = position
    if (first.source.type === 'iterable-source') {
      this.source = new IterableHead(
        first.source,
        right?.type === 'iterable' ? right : undefined,
        this.sourceHost(),
      )
    } else {
      const restored = right?.type === 'jetstream' ? right : undefined
      const head = await openJetStreamSource(first.source, restored, this.sourceHost())
      if (E.isLeft(head)) return head
      this.source = head.right
    }
    this.head = this.source
    return E.right(undefined)
  }

  private sourceHost(): SourceHost {
    const { ports } = this.options
    const program = this.program
    invariant(program !== undefined, 'plan', this.id)
    return {
      gate: this.gate,
      log: ports.log,
      digests: ports.digests,
      scheduler: ports.scheduler,
      receive: record => {
        this.records += 1
        program.receive(record, undefined, 0)
      },
      onRefused: message => this.refused(message),
      onArrived: () => this.drive(),
      onEnded: () => {
        this.flush()
        this.options.onChange()
      },
      onFailed: error => this.fail(error, false),
    }
  }

  private makeLoop(feedback: readonly MailboxInput[], restored: readonly unknown[]): MailboxLoop {
    const { program } = this
    invariant(program !== undefined, 'plan', this.id)
    const log = new LoopLog(feedback.map(({ channel }) => channel))
    this.loop = log
    return {
      log,
      restored,
      receive: record => program.receive(record, undefined, 0),
      onReturned: ({ epoch, records }) => {
        const round = this.round.get(epoch)
        this.round.delete(epoch)
        round?.onReturned(records)
      },
    }
  }

  private makeMailbox(looped: readonly unknown[]): Mailbox {
    const { plan, generation, ports, restore } = this.options
    const inputs = this.chain.inputs.flatMap(edge => this.inputsOf(edge))
    const feedback = inputs.filter(({ isFeedback }) => isFeedback)
    const loop = feedback.length === 0 ? undefined : this.makeLoop(feedback, looped)
    const end = ports.bus.subscribe(creditRequestSubject(plan.job, generation, this.id), payload =>
      this.mailbox?.answerCreditRequest(new TextDecoder().decode(payload)),
    )
    this.subscriptions.push(end)
    return new Mailbox({
      stream: mailboxStream(plan.job, generation, this.id),
      generation,
      inputs,
      mode: plan.graph.checkpoint?.mode ?? 'exactly-once',
      restored: restore?.epoch ?? 0,
      loop,
      limits: plan.graph.limits,
      log: ports.log,
      codec: ports.codec,
      scheduler: ports.scheduler,
      gate: this.gate,
      onSnapshot: (epoch, final, triggeredAt, alignmentMs) =>
        this.snapshot(epoch, final, triggeredAt, alignmentMs),
      onArrived: () => this.drive(),
      onFailed: error => this.fail(error, false),
    })
  }

  private inputsOf(edge: ChainEdge): readonly MailboxInput[] {
    const { plan, generation, ports } = this.options
    const { program } = this
    invariant(program !== undefined, 'plan', this.id)
    const { maxParallelism } = plan.graph
    const receive = receiverOf(
      edge,
      this.subtask.keyGroups,
      maxParallelism,
      (record, key, group) => {
        this.records += 1
        program.receive(record, key, group)
      },
    )
    return plan.subtasks
      .filter(s => s.chain === edge.from)
      .map(({ id: from }) => {
        const channel = channelId(edge.index, from, this.id)
        const credits = creditSubject(plan.job, generation, from)
        return {
          channel,
          subject: channelSubject(plan.job, generation, edge.index, from, this.id),
          isFeedback: edge.isFeedback,
          receive,
          sendCredit: number => ports.bus.send(credits, encoder.encode(`${number} ${channel}`)),
        }
      })
  }

  private settleRestore(): void {
    if (this.phase !== 'restoring' || this.head === undefined) return
    for (const output of this.outputs.values()) if (!output.isRecovered) return
    this.phase = 'ready'
    this.options.onChange()
    if (this.runsOnceReady) this.run()
  }

  // --- working ----------------------------------------------------------------------------------

  private drive(): void {
    if (this.driving || this.disposed || this.phase !== 'running' || this.head === undefined) return
    this.driving = true
    try {
      const { scheduler } = this.options.ports
      const outcome = this.head.pump(scheduler.now() + turnMs)
      if (outcome === 'yield') this.again()
      else this.armLinger()
    } catch (thrown) {
      this.fail(errorOf(thrown), isUnlike(thrown))
    } finally {
      this.driving = false
    }
  }

  private again(): void {
    if (this.deferred) return
    this.deferred = true
    this.options.ports.scheduler.defer(() => {
      this.deferred = false
      this.drive()
    })
  }

  private armLinger(): void {
    if (this.cancelLinger !== undefined) return
    let open = false
    for (const out of this.outs.values()) open ||= out.hasOpenFrame
    if (!open) return
    const { scheduler } = this.options.ports
    this.cancelLinger = scheduler.after(this.options.plan.graph.limits.lingerMs, () => {
      this.cancelLinger = undefined
      this.guard(() => this.flush())
    })
  }

  private flush(): void {
    for (const out of this.outs.values()) out.flush()
  }

  private tick(): void {
    if (this.disposed) return
    const { scheduler } = this.options.ports
    this.cancelTick = scheduler.after(tickMs, () => this.tick())
    const now = scheduler.now()
    this.guard(() => {
      for (const out of this.outs.values()) out.tick(now)
      for (const output of this.outputs.values()) output.tick(now)
      this.head?.tick(now)
    })
    this.drive()
  }

  private onCredit(payload: Uint8Array): void {
    const text = new TextDecoder().decode(payload)
    const space = text.indexOf(' ')
    this.guard(() => this.outs.get(text.slice(space + 1))?.credit(Number(text.slice(0, space))))
  }

  private refused(message: RefusedMessage): void {
    const first = this.chain.members[0]
    if (first?.type !== 'source' || first.source.type !== 'jetstream-source') return
    const { onRefused, id } = first.source
    if (onRefused === 'skip') {
      this.skipped += 1
      return
    }
    const { stream, offset, subject, raw, reason } = message
    if (onRefused === 'fail') {
      throw new SluiceError(
        streamError(
          'user-code',
          `source '${id}' refuses message ${offset} of stream '${stream}': ${reason}`,
          {
            next: "Mend the producer or 'accepts'; or let the source set such messages aside with onRefused: 'dead-letter'.",
          },
        ),
      )
    }
    this.deadLetter({
      operator: id,
      reason,
      stream,
      offset,
      subject,
      raw: Buffer.from(raw).toString('base64'),
    })
  }

  private deadLetter(letter: DeadLetter): void {
    const { plan, ports } = this.options
    const envelope = {
      version: 1,
      job: plan.job,
      subtask: this.id,
      attempts: 1,
      at: ports.scheduler.wallClock(),
      ...letter,
    }
    const output = this.outputs.get(deadLetters)
    if (output === undefined) return
    output.add(deadLetterPayload(envelope, ports.codec, recordBytesMaxOf(ports.log)))
    const bytesMax = plan.graph.limits.sinkPendingBytesMax
    if (output.pendingBytes > bytesMax) throw tooMuchPending(deadLetters, bytesMax)
  }

  // --- snapshots --------------------------------------------------------------------------------

  /** The barrier's atomic step (P4): outputs get it, state is captured, nothing in between. */
  private snapshot(epoch: Epoch, final: boolean, triggeredAt: number, alignmentMs: number): void {
    if (epoch <= this.lastEpoch) return // P3
    this.lastEpoch = epoch
    const { scheduler } = this.options.ports
    const startedAt = scheduler.now()
    for (const out of this.outs.values()) out.barrier(epoch, final, triggeredAt)
    for (const output of this.outputs.values()) output.prepare(epoch, final)
    if (this.disposed) return // One has failed by it.
    this.loop?.begin(epoch)
    const captured: CapturedState<unknown>[] = []
    const base = this.takeBase(epoch)
    const sections = this.capture(captured, epoch, base)
    const capturedAt = scheduler.now()
    const release = (): void => {
      for (const state of captured) state.release()
    }
    const times = { alignmentMs, syncMs: capturedAt - startedAt, capturedAt }
    if (this.loop === undefined) this.store({ epoch, sections, base, looped: 0 }, times, release)
    else this.awaitRound(epoch, sections, base, times, release)
  }

  /** A loop's head writes its snapshot when the barrier is back, together with what came before it. */
  private awaitRound(
    epoch: Epoch,
    sections: readonly SectionInput[],
    base: PartRef | undefined,
    times: SnapshotTimes,
    release: () => void,
  ): void {
    const operator = this.chain.id
    const onReturned = (records: readonly unknown[]): void => {
      const loop: SectionInput = { kind: 'loop', operator, records }
      const looped = records.length
      this.store({ epoch, sections: [...sections, loop], base, looped }, times, release)
    }
    this.round.set(epoch, { onReturned, release })
  }

  /** Encodes what was captured, writes it and reports it; `release` is called at the end of that. */
  private store(
    { epoch, sections, base, looped }: Captured,
    { alignmentMs, syncMs, capturedAt }: SnapshotTimes,
    release: () => void,
  ): void {
    const job = this.beginEncoding(epoch)
    // Not before: what is held back would not come round.
    const letGo = this.holdBack()
    const carries = (part: PartRef): boolean => this.carries(part)
    const { subtask } = this
    void writeSnapshot({ ...this.options, subtask, epoch, sections, base, job, carries })
      .then(part => {
        if (this.disposed || job.cancelled) return
        this.encoding.delete(epoch)
        const asyncMs = this.options.ports.scheduler.now() - capturedAt
        if (E.isLeft(part)) this.decline(epoch, part.left)
        else {
          const { right } = part
          this.refusedInRow = 0
          const copyTrouble = this.options.copies?.takeTrouble()
          const trouble = copyTrouble === undefined ? {} : { copyTrouble }
          this.reports.push({ part: right, alignmentMs, syncMs, asyncMs, looped, ...trouble })
          this.increments = withPart(this.increments, right)
        }
        this.options.onChange()
      })
      .catch((thrown: unknown) => this.fail(errorOf(thrown), isUnlike(thrown)))
      .finally(() => {
        release()
        letGo()
      })
  }

  /** A state that cannot be stored ends the job where it would restart, since that would mend nothing. */
  private decline(epoch: Epoch, { error, isOfState }: SnapshotFailure): void {
    this.declines.push({ epoch, reason: error.message })
    if (!isOfState) return
    this.refusedInRow += 1
    const { onCheckpointError, tolerableFailures = 0 } = this.options.plan.graph.checkpoint ?? {}
    if (onCheckpointError === 'fail' && this.refusedInRow > tolerableFailures)
      this.fail(error, true)
  }

  /** What a snapshot is to build on; undefined: it is whole. */
  private takeBase(epoch: Epoch): PartRef | undefined {
    // What keeps nothing by key has nothing to leave out.
    const base = this.isIncremental && this.states.size > 0 ? baseOf(this.increments) : undefined
    const inlined = base === undefined ? undefined : withBase(this.inlined, epoch, base)
    if (inlined === undefined) return undefined
    this.inlined = inlined
    return base
  }

  /** Takes a place in the reports for a part, if there is one. */
  private carries(part: PartRef): boolean {
    const inlined = withInline(this.inlined, part)
    this.inlined = inlined ?? this.inlined
    return inlined !== undefined
  }

  /**
   * Makes room for one snapshot more. Where there is none, two are of attempts that have been aborted,
   * though nothing was heard of it yet: the oldest is given up. Where others may be wanted beside it, it
   * may be another one than those, and its attempt has to be told.
   */
  private beginEncoding(epoch: Epoch): { readonly cancelled: boolean } {
    const inFlight = this.options.plan.graph.checkpoint?.maxConcurrent ?? 1
    // One more, for an attempt between others whose abort is late; a single one is always the oldest.
    const roomFor = inFlight === 1 ? 1 : inFlight + 1
    const [oldest] = this.encoding.keys()
    if (oldest !== undefined && this.encoding.size >= roomFor) {
      this.giveUp(each => each === oldest)
      if (roomFor > 1)
        this.declines.push({ epoch: oldest, reason: `checkpoint ${epoch} left no room for it` })
    }
    const job = { cancelled: false }
    this.encoding.set(epoch, job)
    return job
  }

  private giveUp(which: (epoch: Epoch) => boolean): void {
    for (const [epoch, { release }] of this.round) {
      if (!which(epoch)) continue
      release()
      this.round.delete(epoch)
    }
    for (const [epoch, job] of this.encoding) {
      if (!which(epoch)) continue
      job.cancelled = true
      this.encoding.delete(epoch)
    }
  }

  /** Without `async` no record is handled until the snapshot is stored, or has failed. Ends that. */
  private holdBack(): () => void {
    if (this.options.plan.graph.checkpoint?.async !== false) return () => {}
    this.gate.change(true)
    return () => this.gate.change(false)
  }

  private capture(
    captured: CapturedState<unknown>[],
    epoch: Epoch,
    base: PartRef | undefined,
  ): readonly SectionInput[] {
    const sections: SectionInput[] = []
    for (const vertex of this.chain.members) {
      if (vertex.type === 'source') {
        sections.push({ kind: 'source', operator: vertex.id, position: this.source?.position })
        continue
      }
      const state = this.states.get(vertex.id)
      if (vertex.type !== 'operator' || vertex.actor.state === undefined || state === undefined)
        continue
      const capture =
        base === undefined ? state.capture(epoch) : state.captureChanges(epoch, base.epoch)
      captured.push(capture)
      sections.push({
        kind: 'keyed',
        operator: vertex.id,
        spec: vertex.actor.state,
        state: capture,
        changes: base !== undefined,
      })
    }
    for (const [operator, output] of this.outputs) {
      if (this.options.plan.graph.checkpoint === undefined) break
      sections.push({ kind: 'output', operator, prepared: output.snapshot() })
    }
    return sections
  }

  // --- failing ----------------------------------------------------------------------------------

  private guard(action: () => void): void {
    if (this.disposed || this.phase === 'failed') return
    try {
      action()
    } catch (thrown) {
      this.fail(errorOf(thrown), isUnlike(thrown))
    }
  }

  private fail(error: StreamError, final: boolean): void {
    if (this.disposed || this.phase === 'failed') return
    this.phase = 'failed'
    const sentence = /[.!?]$/.test(error.message) ? error.message : `${error.message}.`
    const message = error.next === undefined ? sentence : `${sentence} ${error.next}`
    this.error = { type: error.type, message, fatal: final }
    this.dispose()
    this.options.onChange()
  }
}

/** The slowest of the places that a snapshot and what it builds on came from; undefined: the store. */
const placeOf = (places: ReadonlySet<RestorePlace>): SubtaskState['restoredFrom'] => {
  if (places.has('store')) return 'store'
  if (places.has('disk')) return 'disk-copy'
  return places.has('memory') ? 'local-copy' : 'manifest'
}

/** Where one part of a chain was read. */
type RestorePlace = CopyPlace | 'store' | 'manifest'

/** Equal as a checkpoint would hold them. */
const sameBy =
  ({ serialize }: RecordCodec) =>
  (a: unknown, b: unknown): boolean => {
    const [one, other] = [serialize(a), serialize(b)]
    if (E.isLeft(one) || E.isLeft(other)) return E.isLeft(one) && E.isLeft(other)
    return Buffer.compare(one.right, other.right) === 0
  }

/** What a vertex may have in a snapshot. */
const sectionsOf = (vertex: Vertex): readonly ExpectedSection[] => {
  if (vertex.type !== 'operator') {
    return [{ kind: vertex.type === 'source' ? 'source' : 'output', operator: vertex.id }]
  }
  const spec = vertex.actor.state
  return spec === undefined ? [] : [{ kind: 'keyed', operator: vertex.id, spec }]
}

/** Found while restoring, these do not heal by trying again. */
const isFinal = (error: StreamError): boolean =>
  error.type === 'missing' ||
  error.type === 'lost' ||
  error.type === 'corrupt' ||
  error.type === 'conflict' ||
  error.type === 'invalid'

/** What a check has found out, no restart mends. */
const isUnlike = (thrown: unknown): boolean =>
  thrown instanceof UserCodeError && thrown.cause instanceof UnlikeItself

const errorOf = (thrown: unknown): StreamError => {
  if (thrown instanceof SluiceError) return thrown.error
  const type = thrown instanceof UserCodeError ? 'user-code' : 'invalid'
  return streamError(type, messageOf(thrown), { cause: thrown })
}

/** Without its part a subtask would begin anew in the middle of a job. */
const nothingToRestore = (subtask: SubtaskId, epoch: Epoch): StreamError =>
  streamError(
    'corrupt',
    `checkpoint ${epoch}, as the orders have it, lacks the part of ${subtask}`,
    {
      next: 'Run one version of sluice in all processes of a job.',
    },
  )
