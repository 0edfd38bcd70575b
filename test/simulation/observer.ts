/**
 * Watches a run and holds every step to what was promised. Numbers of what is checked:
 *
 *   I1   the newest completed epoch rises, and no epoch has two contents or two fates
 *   I2   every part that the newest completed checkpoint names is there and whole, in one place
 *   I3   only the newest term and generation complete a checkpoint
 *   I4   all parts of a checkpoint are of one generation
 *   I5   nothing of an epoch is published before the epoch has completed
 *   I6   no record is published twice, and none that is not right
 *   I7   barriers rise on every channel
 *   I8   every completed checkpoint holds the state of exactly the records before its offsets, but for
 *        what those that it holds on their way round a loop have yet to come to
 *   I9   what a kept checkpoint needs never expires, and as many are kept as there should be
 *   I10  what is no longer needed goes away
 *   I11  a mailbox never fills up
 *   I12  an offset lies within its stream
 *   I13  once nothing fails any more the job completes checkpoints, and its output
 *   I14  nothing is thrown where nobody catches it, and no real timer is left
 *   I15  actors hear of a completion after it has happened, and of no abort of what has completed
 *   I16  what a subtask's reports carry is its share of one message, at most
 */
import * as E from 'fp-ts/lib/Either.js'
import { inlineChunks } from '../../actors/inline-part.js'
import type { PublishOptions, PublishOutcome } from '../../lib/ports/event-log.js'
import { generationOfStream } from '../../lib/protocol/addresses.js'
import { decodeFrame } from '../../lib/protocol/frame.js'
import type { Epoch } from '../../lib/protocol/ids.js'
import { chainOf } from '../../lib/protocol/increment.js'
import { inlineBytesOf } from '../../lib/protocol/inline.js'
import { type Manifest, neededParts, type StoredPart } from '../../lib/protocol/manifest.js'
import { ToCoordinator } from '../../lib/protocol/messages.js'
import { SourcePosition } from '../../lib/protocol/source-position.js'
import { decodeSnapshot, type ExpectedSection, type Snapshot } from '../../lib/state/snapshot.js'
import { mergeSnapshots } from '../../lib/state/snapshot-merge.js'
import { memoryCodec } from '../support/memory-codec.js'
import { type JobWorld, memoryDigests } from '../support/memory-job.js'
import { manifestKey, partKey } from '../support/memory-redis.js'
import { count } from './counters.js'
import type { Shape } from './random-job.js'
import { Item, idOf, Seen } from './record.js'
import { comingOf, type Expected, type Reference } from './reference.js'

/** A promise that was broken. */
export interface Violation {
  readonly rule: string
  readonly facts: string
  readonly atMs: number
}

const decoder = new TextDecoder()

export class Observer {
  readonly violations: Violation[] = []
  /** By sink: ids that are published now. */
  readonly published = new Map<string, Map<string, number>>()
  readonly deadLetters = new Map<string, number>()
  /** A fault has destroyed what was promised to be kept: less is promised. */
  destroyed = false
  /** A source's stream has lost messages, and others have taken their numbers. */
  inputLost = false
  /** What an output's stream has lost, by subject; and whether anything came behind it. */
  readonly #lostOutput = new Map<string, { readonly ids: Set<string>; followed: boolean }>()
  #latest = 0
  readonly #contents = new Map<number, string>()
  /** Checkpoints that hold records of a loop. */
  readonly #looping = new Set<number>()
  readonly #aborted = new Set<number>()
  readonly #counts = new Map<string, string>()
  /** By output subject and way: the number of the newest record. */
  readonly #furthest = new Map<string, number>()
  readonly #barriers = new Map<string, number>()
  readonly #mailboxes = new Map<string, Map<string, Epoch>>()

  constructor(
    private readonly shape: Shape,
    private readonly reference: Reference,
    private readonly world: JobWorld,
    private readonly counters: Map<string, number>,
  ) {}

  broken(rule: string, facts: string): void {
    this.violations.push({ rule, facts, atMs: this.world.time.now })
  }

  /** After a request that may have changed the store. */
  onStore(request: string): void {
    const { redis, plan } = this.world
    const meta = redis.metas.get(plan.job)
    if (meta?.latest === undefined) return
    if (meta.latest !== this.#latest) this.#onCommitted(meta.latest)
    if (meta.ended === 'expires' || meta.ended === 'kept-expires') return
    const { numRetained = 1 } = plan.graph.checkpoint ?? {}
    const wanted = Math.min(numRetained, meta.completed)
    if (meta.kept.length !== wanted || meta.kept[0] !== meta.latest)
      this.broken('I9', `of ${meta.completed} checkpoints ${meta.kept.join()} are kept`)
    for (const epoch of meta.kept) this.#checkKept(epoch, request)
  }

  #checkKept(epoch: Epoch, request: string): void {
    const { redis, plan } = this.world
    const key = manifestKey(plan.job, epoch)
    const manifest = redis.manifests.get(key)
    if (manifest === undefined) {
      this.broken('I9', `after '${request}' there is no manifest of checkpoint ${epoch}`)
      return
    }
    if (redis.manifests.ttl(key) !== undefined)
      this.broken('I9', `the manifest of checkpoint ${epoch} expires`)
    for (const part of neededParts(manifest)) {
      const at = partKey(plan.job, part)
      const stored = redis.parts.get(at)
      if (stored?.digest !== part.digest || stored.chunks.size !== part.chunks)
        this.broken('I2', `part ${at} of checkpoint ${epoch} is not there or not whole`)
      else if (redis.parts.ttl(at) !== undefined)
        this.broken('I9', `part ${at} of checkpoint ${epoch} expires`)
    }
  }

  /** A message that the log has taken or refused. */
  onPublish(
    subject: string,
    payload: Uint8Array,
    options: PublishOptions,
    outcome: PublishOutcome,
    full: boolean,
  ): void {
    const { plan, broker } = this.world
    if (outcome.type === 'wrong-last-sequence')
      count(this.counters, 'publish refused by the stream')
    if (subject.startsWith('out.')) {
      if (outcome.type === 'stored') this.#onOutput(subject, payload, options)
      return
    }
    if (subject.includes('.dead.')) {
      if (outcome.type === 'stored') this.#onDeadLetter(payload)
      return
    }
    if (!subject.includes('.d.')) return
    const stream = broker.streamOf(subject)?.config.name ?? ''
    if (generationOfStream(plan.job, stream) === undefined) return
    if (outcome.type === 'failed' && outcome.error.type === 'full' && !full)
      this.broken('I11', `mailbox ${stream} is full`)
    if (outcome.type === 'stored') this.#onFrame(subject, payload)
  }

  #onFrame(subject: string, payload: Uint8Array): void {
    const frame = decodeFrame(payload)
    if (E.isLeft(frame)) {
      this.broken('I7', `no frame on ${subject}`)
      return
    }
    const { header } = frame.right
    const last = this.#barriers.get(`#${subject}`) ?? 0
    if (header.number <= last) count(this.counters, 'frame stored twice')
    else this.#barriers.set(`#${subject}`, header.number)
    if (header.type === 'data' && this.shape.loop !== undefined) this.#noticeOvertaken(subject)
    if (header.type !== 'barrier' || header.number <= last) return
    const before = this.#barriers.get(subject) ?? 0
    if (header.epoch <= before)
      this.broken('I7', `barrier ${header.epoch} after ${before} on ${subject}`)
    this.#barriers.set(subject, header.epoch)
    this.#noticeSuperseded(subject, header.epoch)
  }

  #isFeedback(subject: string): boolean {
    const edge = Number(subject.slice(subject.lastIndexOf('.') + 1))
    return this.shape.loop !== undefined && this.world.plan.edges[edge]?.isFeedback === true
  }

  /** Records come back to a head that has got a barrier which is not back yet. */
  #noticeOvertaken(subject: string): void {
    if (!this.#isFeedback(subject)) return
    const channels = this.#mailboxes.get(mailboxOf(subject))?.values() ?? []
    if (Math.max(0, ...channels) > (this.#barriers.get(subject) ?? 0))
      count(this.counters, 'barrier overtook what came back')
  }

  /** A newer barrier comes before an older one has come on every channel of the mailbox. */
  #noticeSuperseded(subject: string, epoch: Epoch): void {
    if (this.#isFeedback(subject)) return
    const mailbox = mailboxOf(subject)
    const channels = this.#mailboxes.get(mailbox) ?? new Map<string, Epoch>()
    this.#mailboxes.set(mailbox, channels)
    const newest = Math.max(0, ...channels.values())
    const [, , , , chain = ''] = mailbox.split('.')
    const writers = this.#writersOf(chain)
    const reached = [...channels.values()].filter(one => one === newest).length
    if (newest > 0 && epoch > newest && reached < writers)
      count(this.counters, 'barrier superseded another')
    channels.set(subject, epoch)
  }

  #writersOf(chain: string): number {
    const { chains } = this.world.plan
    const inputs = chains.find(({ id }) => id === chain)?.inputs ?? []
    return inputs
      .filter(({ isFeedback }) => !isFeedback)
      .reduce((sum, { from }) => sum + (chains.find(({ id }) => id === from)?.parallelism ?? 0), 0)
  }

  /** A beat on its way to the coordinator. */
  onBeat(payload: Uint8Array): void {
    const beat = ToCoordinator.decode(JSON.parse(decoder.decode(payload)))
    if (E.isLeft(beat) || beat.right.type !== 'beat') return
    const generation = this.world.redis.metas.get(this.world.plan.job)?.generation ?? 0
    const { limits } = this.world.plan.graph
    const share = limits.inlineBytesMax / this.world.plan.subtasks.length
    for (const { subtask, reports, restoredFrom } of beat.right.subtasks) {
      if (restoredFrom === 'manifest') count(this.counters, 'restored from a manifest')
      const carried = inlineBytesOf(reports.flatMap(({ part }) => chainOf(part)))
      if (carried > share) this.broken('I16', `${subtask} carries ${carried} bytes`)
      for (const { part } of reports)
        if (part.generation < generation || part.epoch < this.#latest)
          count(this.counters, 'late report')
    }
  }

  #onOutput(subject: string, payload: Uint8Array, { headers }: PublishOptions): void {
    const epoch = Number(headers?.['Sluice-Epoch'] ?? Number.NaN)
    const generation = Number(headers?.['Sluice-Generation'] ?? 0)
    if (!(epoch <= this.#latest) && !this.destroyed)
      this.broken(
        'I5',
        `${subject} holds output of epoch ${epoch}, and ${this.#latest} has completed`,
      )
    if (epoch === 0) count(this.counters, 'record published at once')
    const { redis, plan } = this.world
    const by = redis.manifests.get(manifestKey(plan.job, epoch))?.generation
    if (by !== undefined && generation > by) count(this.counters, 're-commit on restore')
    const item = itemIn(payload)
    const sink = subject.split('.')[1] ?? ''
    if (item === undefined) {
      this.broken('I6', `${subject} holds ${decoder.decode(payload)}`)
      return
    }
    const id = idOf(item)
    const lost = this.#lostOutput.get(subject)
    if (lost !== undefined && !lost.ids.delete(id)) lost.followed = true
    const ids = this.published.get(sink) ?? new Map<string, number>()
    this.published.set(sink, ids)
    const times = (ids.get(id) ?? 0) + 1
    ids.set(id, times)
    if (!this.reference.outputs.get(sink)?.has(id))
      this.broken('I6', `${id} is no output of ${sink}`)
    if (this.shape.mode !== 'exactly-once') {
      if (times > 1) count(this.counters, 'at least once: a record came twice')
      return
    }
    if (times > 1) this.broken('I6', `${id} is ${times} times in ${sink}`)
    if (this.reference.singleFile.has(sink) && !this.inputLost) {
      const way = `${subject} ${item.o}${item.x.replace(/#\d/g, '')}`
      const before = this.#furthest.get(way) ?? -1
      this.#furthest.set(way, item.n)
      if (item.n < before) this.broken('I6', `${id} comes after number ${before} in ${subject}`)
    }
    count(this.counters, 'output compared with the reference')
    if (item.m === '') return
    const place = `${item.m} ${item.c}`
    const known = this.#counts.get(place) ?? item.e
    this.#counts.set(place, item.e)
    if (known !== item.e) this.broken('I6', `${known} and ${item.e} are both number ${place}`)
  }

  #onDeadLetter(payload: Uint8Array): void {
    const letter: unknown = JSON.parse(decoder.decode(payload))
    if (typeof letter !== 'object' || letter === null || !('operator' in letter)) return
    const item = 'record' in letter && Item.is(letter.record) ? `:${idOf(letter.record)}` : ''
    const id = `${letter.operator}${'offset' in letter ? `@${letter.offset}` : item}`
    const times = (this.deadLetters.get(id) ?? 0) + 1
    this.deadLetters.set(id, times)
    count(this.counters, 'dead letter')
    if (!this.reference.deadLetters.has(id) && !this.inputLost)
      this.broken('I6', `${id} is no dead letter`)
    if (times > 1 && this.shape.mode === 'exactly-once')
      this.broken('I6', `${id} is ${times} times among the dead letters`)
  }

  /** Somebody who asked for a checkpoint is told that this one has completed. */
  onAnswered(epoch: number): void {
    if (!this.#contents.has(epoch) && !this.destroyed)
      this.broken('I1', `checkpoint ${epoch} is said to have completed`)
  }

  /** A coordinator has given a checkpoint up. */
  onAborted(epoch: number): void {
    this.#aborted.add(epoch)
    if (this.#contents.has(epoch) && !this.destroyed)
      this.broken('I1', `checkpoint ${epoch} is given up, and has completed`)
  }

  /** An actor was told what became of a checkpoint. */
  onHeard(what: 'completed' | 'aborted', epoch: number): void {
    count(this.counters, `actor heard: ${what}`)
    if (this.destroyed || this.#contents.has(epoch) === (what === 'completed')) return
    this.broken('I15', `an actor heard that checkpoint ${epoch} is ${what}`)
  }

  #onCommitted(epoch: number): void {
    const { redis, plan } = this.world
    const meta = redis.metas.get(plan.job)
    const manifest = redis.manifests.get(manifestKey(plan.job, epoch))
    if (this.#aborted.has(epoch) && !this.destroyed)
      this.broken('I1', `checkpoint ${epoch} completes, and was given up`)
    if (epoch < this.#latest && !this.destroyed)
      this.broken('I1', `checkpoint ${epoch} completes after ${this.#latest}`)
    this.#latest = epoch
    if (manifest === undefined || meta === undefined) return
    const content = JSON.stringify(manifest)
    const known = this.#contents.get(epoch) ?? content
    this.#contents.set(epoch, content)
    if (known !== content && !this.destroyed)
      this.broken('I1', `checkpoint ${epoch} has two contents`)
    if (manifest.generation !== meta.generation)
      this.broken(
        'I3',
        `generation ${manifest.generation} completes ${epoch} in ${meta.generation}`,
      )
    const foreign = manifest.parts.find(
      part => part.generation !== manifest.generation || part.epoch !== epoch,
    )
    if (foreign !== undefined)
      this.broken('I4', `checkpoint ${epoch} holds ${JSON.stringify(foreign)}`)
    const wanted = plan.subtasks.map(({ id }) => id).sort()
    const found = manifest.parts.map(({ subtask }) => subtask).sort()
    if (JSON.stringify(wanted) !== JSON.stringify(found))
      this.broken('I2', `checkpoint ${epoch} has the parts ${found.join(' ')}`)
    this.#checkContent(manifest)
  }

  /** I8: state against the reference, cut at the checkpoint's own offsets. */
  #checkContent(manifest: Manifest): void {
    if (this.inputLost) return
    const snapshots = manifest.parts.map(part => this.#open(manifest, part.subtask))
    count(this.counters, 'checkpoint compared with the reference')
    const offsets = this.shape.sources.map(() => 0)
    const seen = new Map<string, Seen>()
    const waiting: Item[] = []
    for (const snapshot of snapshots) {
      if (snapshot === undefined) continue
      for (const [id, position] of snapshot.sources) this.#takeOffset(offsets, id, position)
      for (const [operator, groups] of snapshot.keyed)
        for (const entries of groups.values())
          for (const [key, value] of entries) this.#takeState(seen, `${operator}/${key}`, value)
      for (const records of snapshot.loops.values()) waiting.push(...records.filter(Item.is))
    }
    const coming = waiting.length === 0 ? undefined : this.#comingOf(manifest.epoch, waiting)
    const exact = this.shape.mode === 'exactly-once'
    for (const [place, all] of this.reference.states) {
      const upTo = all.filter(({ origin, n }) => n < (offsets[origin] ?? 0))
      const found = seen.get(place)
      seen.delete(place)
      const later = coming?.get(place) ?? []
      const due = upTo.length - later.length
      const sum = (sumOf(upTo) - sumOf(later)) >>> 0
      const right = exact
        ? (found?.count ?? 0) === due && (found?.sum ?? 0) === sum
        : (found?.count ?? 0) >= due
      if (!right) {
        const facts = `${place} has counted ${found?.count ?? 0} of ${due} records before ${offsets}`
        this.broken('I8', `checkpoint ${manifest.epoch}: ${facts}`)
      }
      const [operator = ''] = place.split('/')
      if (
        exact &&
        found !== undefined &&
        found.disorder > 0 &&
        this.reference.singleFile.has(operator)
      )
        this.broken(
          'I8',
          `checkpoint ${manifest.epoch}: ${place} saw ${found.disorder} records out of order`,
        )
    }
    for (const place of seen.keys())
      this.broken('I8', `checkpoint ${manifest.epoch}: nothing belongs to ${place}`)
  }

  /** What records that are on their way round a loop have yet to come to. */
  #comingOf(epoch: Epoch, waiting: readonly Item[]): Reference['states'] {
    count(this.counters, 'loop records in a checkpoint')
    this.#looping.add(epoch)
    return comingOf(this.shape, waiting)
  }

  /** A generation begins, perhaps from a checkpoint. */
  onRestored(epoch: Epoch | undefined): void {
    if (epoch !== undefined && this.#looping.has(epoch))
      count(this.counters, 'loop records restored')
  }

  #takeState(seen: Map<string, Seen>, place: string, value: unknown): void {
    if (seen.has(place)) this.broken('I8', `${place} is in two snapshots`)
    if (Seen.is(value)) seen.set(place, value)
  }

  #takeOffset(offsets: number[], id: string, position: unknown): void {
    const origin = this.shape.sources.findIndex(({ node }) => this.shape.nodes[node]?.id === id)
    if (!SourcePosition.is(position)) return
    const offset = position.offset ?? 0
    offsets[origin] = offset
    const records = this.shape.sources[origin]?.records ?? 0
    if (offset > records) this.broken('I12', `${id} stands at ${offset} of ${records}`)
  }

  #open(manifest: Manifest, subtask: string): Snapshot | undefined {
    const { plan } = this.world
    const part = manifest.parts.find(one => one.subtask === subtask)
    const chain = plan.chains.find(({ id }) => subtask.startsWith(`${id}/`))
    if (part === undefined || chain === undefined) {
      this.broken('I2', `checkpoint ${manifest.epoch} has no part of ${subtask}`)
      return undefined
    }
    const sections = chain.members.flatMap((vertex): ExpectedSection[] => {
      if (vertex.type !== 'operator')
        return [{ kind: vertex.type === 'source' ? 'source' : 'output', operator: vertex.id }]
      const spec = vertex.actor.state
      return spec === undefined ? [] : [{ kind: 'keyed', operator: vertex.id, spec }]
    })
    if (chain.inputs.some(({ isFeedback }) => isFeedback))
      sections.push({ kind: 'loop', operator: chain.id })
    const keyGroups = { from: 0, to: plan.graph.maxParallelism - 1 }
    const decoded: Snapshot[] = []
    for (const one of chainOf(part)) {
      const chunks = this.#chunksOf(manifest, one)
      if (chunks === undefined) return undefined
      const snapshot = decodeSnapshot(chunks, memoryCodec.deserialize, {
        job: plan.job,
        part: one,
        maxParallelism: plan.graph.maxParallelism,
        keyGroups,
        sections: [...sections, { kind: 'output', operator: 'dead-letters' }],
      })
      if (E.isLeft(snapshot)) return this.#unreadable(manifest, subtask, snapshot.left.message)
      decoded.push(snapshot.right)
    }
    if (decoded.length > 1) count(this.counters, 'snapshot of changes')
    const merged = mergeSnapshots(decoded)
    if (E.isRight(merged)) return merged.right
    return this.#unreadable(manifest, subtask, merged.left.message)
  }

  /** From the one place where they are. */
  #chunksOf(manifest: Manifest, part: StoredPart): readonly Uint8Array[] | undefined {
    const { redis, plan } = this.world
    const stored = redis.parts.get(partKey(plan.job, part))
    const inline = inlineChunks(part, memoryDigests.part)
    if (inline === undefined) return [...(stored?.chunks.values() ?? [])]
    count(this.counters, 'snapshot in a manifest')
    if (part.epoch !== manifest.epoch) count(this.counters, 'changes built on a manifest')
    if (stored !== undefined) this.broken('I2', `${part.subtask} is in a manifest and stored`)
    if (E.isRight(inline)) return inline.right
    return this.#unreadable(manifest, part.subtask, inline.left.message)
  }

  #unreadable(manifest: Manifest, subtask: string, why: string): undefined {
    this.broken('I2', `part of ${subtask} in checkpoint ${manifest.epoch}: ${why}`)
  }

  /** Whether everything that is right is published. */
  isComplete(): boolean {
    for (const [sink, ids] of this.reference.outputs)
      if (this.#missingIn(sink, ids).length > 0) return false
    return this.deadLetters.size >= this.reference.deadLetters.size
  }

  /** What is missing at the end. */
  checkComplete(): void {
    for (const [sink, ids] of this.reference.outputs) {
      const missing = this.#missingIn(sink, ids)
      if (missing.length > 0)
        this.broken(
          'I13',
          `${missing.length} of ${ids.size} records are missing in ${sink}: ${missing.slice(0, 5).join(' ')}`,
        )
    }
    for (const [subject, { ids, followed }] of this.#lostOutput) {
      if (followed && ids.size > 0)
        this.broken(
          'I6',
          `${subject} went on behind ${ids.size} lost records: ${[...ids].slice(0, 5).join(' ')}`,
        )
    }
    const missing = [...this.reference.deadLetters].filter(id => !this.deadLetters.has(id))
    if (missing.length > 0 && !this.inputLost)
      this.broken('I13', `missing dead letters: ${missing.slice(0, 5).join(' ')}`)
  }

  #missingIn(sink: string, ids: ReadonlySet<string>): readonly string[] {
    const found = this.published.get(sink)
    if (this.#lostOutput.size === 0 && found?.size === ids.size) return []
    const lost = new Set([...this.#lostOutput.values()].flatMap(one => [...one.ids]))
    return [...ids].filter(id => !found?.has(id) && !lost.has(id))
  }

  /** The store has gone back: what it knows now counts. */
  forget(): void {
    this.#latest = this.world.redis.metas.get(this.world.plan.job)?.latest ?? 0
    this.#barriers.clear()
  }

  /** The log is about to lose an output's messages above a sequence. */
  loseOutput(name: string, above: number): void {
    for (const { subject, sequence, payload } of this.world.broker.content(name)) {
      const item = itemIn(payload)
      if (sequence <= above || item === undefined) continue
      const lost = this.#lostOutput.get(subject) ?? { ids: new Set(), followed: false }
      this.#lostOutput.set(subject, lost)
      lost.ids.add(idOf(item))
    }
  }

  /** The log has lost messages: what is left counts. */
  recount(): void {
    this.published.clear()
    this.#counts.clear()
    this.#furthest.clear()
    for (const [name] of this.world.broker.streams) {
      for (const { subject, payload } of this.world.broker.content(name)) {
        if (!subject.startsWith('out.')) continue
        const item = itemIn(payload)
        const sink = subject.split('.')[1] ?? ''
        const ids = this.published.get(sink) ?? new Map<string, number>()
        this.published.set(sink, ids)
        if (item !== undefined) ids.set(idOf(item), (ids.get(idOf(item)) ?? 0) + 1)
      }
    }
  }
}

const mailboxOf = (subject: string): string => subject.split('.').slice(0, 6).join('.')

const sumOf = (all: readonly Expected[]): number =>
  all.reduce((total, { hash }) => (total + hash) >>> 0, 0)

const itemIn = (payload: Uint8Array): Item | undefined => {
  try {
    const value: unknown = JSON.parse(decoder.decode(payload))
    return Item.is(value) ? value : undefined
  } catch {
    return undefined
  }
}
