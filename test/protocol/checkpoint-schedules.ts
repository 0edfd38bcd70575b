/**
 * A coordinator among random schedules of ticks, reports, declines, failures, requests and answers
 * of a store, under random rules. Holds every step to what was promised about checkpoints.
 */
import { streamError } from '../../lib/errors.js'
import type { CheckpointRules, CheckpointState } from '../../lib/protocol/checkpoint.js'
import type { CoordinatorEffect } from '../../lib/protocol/coordinator.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import { exponentialDelay } from '../../lib/protocol/retry.js'
import type { Prng } from '../support/prng.js'
import { Coordination, manifestOf } from './coordinator-fixture.js'

const subtasks = ['a/0', 'b/0'] as const
type Subtask = (typeof subtasks)[number]
type Event = Parameters<Coordination['step']>[0]
type CommitEffect = Extract<CoordinatorEffect, { type: 'commit' }>

const restart = exponentialDelay({
  ...{ initialMs: 10, maxMs: 40, multiplier: 2, jitter: 0.1, resetAfterMs: 1_000 },
})

const drawRules = (random: Prng): CheckpointRules => {
  const maxConcurrent = 1 + random.below(3)
  return {
    intervalMs: 10 + random.below(100),
    minPauseMs: maxConcurrent === 1 ? random.below(150) : 0,
    timeoutMs: 50 + random.below(300),
    maxConcurrent,
  }
}

export class CheckpointSchedule {
  readonly of: Coordination
  readonly rules: CheckpointRules
  readonly tolerable: number | undefined
  completions = 0
  restartsByCheckpoints = 0
  most = 0
  #generation = 0
  #ids = 0
  #registered = 0
  #latest: Manifest | undefined
  #completed = 0
  #completedAt = Number.NEGATIVE_INFINITY
  #isBeginning = false
  /** Generations that wait for an id. */
  #allocations: number[] = []
  #commits: CommitEffect[] = []
  readonly #committed = new Set<number>()
  /** What subtasks have really reported: `subtask generation epoch`. */
  readonly #reported = new Set<string>()
  /** Of failures in a row, counted by the plain rule. */
  #failures = 0
  readonly #requests = new Map<string, 'open' | 'settled'>()

  constructor(readonly random: Prng) {
    this.rules = drawRules(random)
    this.tolerable = random.chance(0.3) ? undefined : random.below(4)
    this.of = new Coordination({
      ...{ checkpoints: this.rules, tolerableFailures: this.tolerable, restart, bounded: false },
      heartbeatTimeoutMs: Number.POSITIVE_INFINITY,
      stallTimeoutMs: Number.POSITIVE_INFINITY,
    })
    this.#apply({ type: 'started' })
    this.#begin()
  }

  get #checkpoints(): CheckpointState | undefined {
    const { phase } = this.of.state
    return phase.type === 'running' ? phase.checkpoints : undefined
  }

  step(): void {
    const { random } = this
    const dice = random.below(100)
    const subtask: Subtask = random.chance(0.5) ? 'a/0' : 'b/0'
    const epoch = Math.max(1, this.#ids - random.below(3))
    // Old news are of the generation before.
    const generation = this.#generation - (random.chance(0.1) ? 1 : 0)
    if (dice < 18) this.#apply({ type: 'tick' }, random.below(50))
    else if (dice < 32) this.#allocate()
    else if (dice < 72) this.#report(subtask, generation, epoch)
    else if (dice < 86) this.#answerCommit()
    else if (dice < 88) this.#decline(subtask, generation, epoch)
    else if (dice < 91) this.#ask(`r${random.below(30)}`)
    else if (dice < 92) this.#fail(subtask, generation)
    else this.#begin()
  }

  /** Once nothing goes wrong any more, a checkpoint completes and every request is answered. */
  settle(): void {
    const before = this.completions
    for (let round = 0; round < 400; round += 1) {
      const open = [...this.#requests.values()].includes('open')
      if (this.completions > before && !open) return
      this.#apply({ type: 'tick' }, 5)
      this.#begin()
      while (this.#allocations.length > 0) this.#allocate(true)
      for (const { epoch } of this.#checkpoints?.pending ?? [])
        for (const subtask of subtasks) this.#report(subtask, this.#generation, epoch)
      while (this.#commits.length > 0) this.#answerCommit(true)
    }
    throw new Error('no checkpoint completes any more, or a request stays open')
  }

  // --- what may happen ---------------------------------------------------------------------------

  #begin(): void {
    if (!this.#isBeginning) return
    this.#isBeginning = false
    this.#generation += 1
    const generation = this.#generation
    this.#apply({ type: 'generation-begun', generation, restore: this.#latest })
    this.#apply({ type: 'mailboxes-ready', generation })
    for (const worker of ['w1', 'w2']) this.#observe(() => this.of.beat(worker))
    for (const subtask of subtasks)
      this.#observe(() => this.of.tells(subtask, generation, { phase: 'ready' }))
  }

  #allocate(well = false): void {
    const generation = this.#allocations.shift()
    if (generation === undefined) return
    const fails = !well && this.random.chance(0.15)
    // Whether it was given before the answer got lost is all the same.
    if (!fails || this.random.chance(0.5)) this.#ids += 1
    if (!fails) this.#apply({ type: 'epoch-allocated', generation, epoch: this.#ids })
    else if (generation === this.#generation)
      this.#apply({ type: 'allocation-failed', generation, error: streamError('unavailable', '') })
  }

  #report(subtask: Subtask, generation: number, epoch: number): void {
    this.#reported.add(`${subtask} ${generation} ${epoch}`)
    this.#observe(() => this.of.reports(subtask, generation, epoch))
  }

  #decline(subtask: Subtask, generation: number, epoch: number): void {
    const declines = [{ epoch, reason: 'no room' }]
    this.#observe(() => this.of.tells(subtask, generation, { declines }))
  }

  #fail(subtask: Subtask, generation: number): void {
    const error = { type: 'user-code', message: 'no', fatal: false }
    this.#observe(() => this.of.tells(subtask, generation, { phase: 'failed', error }))
  }

  #ask(request: string): void {
    if (!this.#requests.has(request)) this.#requests.set(request, 'open')
    this.#apply({ type: 'checkpoint-requested', request })
  }

  #answerCommit(well = false): void {
    const commit = this.#commits.shift()
    if (commit === undefined) return
    const { generation, checkpoint, parts } = commit
    const { epoch } = checkpoint
    const refuses = !well && this.random.chance(0.1)
    if (generation !== this.#generation || this.#isBeginning || refuses) {
      const refused = { type: 'commit-refused', generation, epoch, facts: '' } as const
      this.#apply({ ...refused, reason: refuses ? 'parts-missing' : 'failed' })
      return
    }
    this.#holds('the store commits in rising order', epoch > (this.#latest?.epoch ?? 0))
    this.#latest = manifestOf(epoch, { generation, parts })
    this.#committed.add(epoch)
    // A generation that fails before it hears of it restores it all the same.
    if (well || this.random.chance(0.95)) this.#apply({ type: 'committed', generation, epoch })
    else this.#fail('a/0', generation)
  }

  // --- what must hold ----------------------------------------------------------------------------

  #apply(event: Event, afterMs = 1): void {
    this.#observe(() => this.of.step(event, this.of.now + afterMs), event)
  }

  #observe(happen: () => unknown, event?: Event): void {
    const before = this.of.state
    const failures = this.#failures
    happen()
    const { effects, state } = this.of
    if (event?.type === 'allocation-failed' && before.phase.type === 'running') this.#failures += 1
    for (const effect of effects) this.#check(effect)
    const isTooMany = this.tolerable !== undefined && this.#failures > this.tolerable
    const failed = effects.find(e => e.type === 'note' && e.note.type === 'failed')
    if (isTooMany) {
      this.#holds('too many failures end the generation', failed !== undefined)
      this.#failures = 0
      this.restartsByCheckpoints += 1
    } else if (this.#failures > failures)
      this.#holds('what is tolerated ends nothing', failed === undefined)
    const now = this.#checkpoints
    if (now === undefined) return
    const busy = now.pending.length + (now.allocating === undefined ? 0 : 1)
    this.most = Math.max(this.most, busy)
    this.#holds('no more than maxConcurrent', busy <= this.rules.maxConcurrent)
    this.#holds('one commit at a time', now.pending.filter(p => p.committing).length <= 1)
    const old = before.phase.type === 'running' ? before.phase.checkpoints.pending : []
    for (const { epoch } of now.pending) {
      if (old.some(p => p.epoch === epoch)) continue
      this.#holds('ids rise', epoch > this.#registered)
      this.#registered = epoch
    }
    this.#holds('state of one generation', state.phase.type !== 'running' || this.#generation > 0)
  }

  #check(effect: CoordinatorEffect): void {
    switch (effect.type) {
      case 'begin-generation':
        this.#isBeginning = true
        return
      case 'allocate-epoch': {
        const requests = this.#checkpoints?.allocating?.requests ?? []
        const isRested = this.of.now >= this.#completedAt + this.rules.minPauseMs
        this.#holds('no periodic one within the pause', requests.length > 0 || isRested)
        this.#allocations.push(effect.generation)
        return
      }
      case 'commit':
        this.#checkCommit(effect)
        return
      case 'send-orders': {
        const { restore } = effect.orders
        const isCompleted = restore === undefined || this.#committed.has(restore.epoch)
        this.#holds('what restores has completed', isCompleted)
        return
      }
      case 'answer': {
        const { request, outcome } = effect
        if (outcome.type === 'queued' || outcome.type === 'pending') return
        if (outcome.type === 'completed')
          this.#holds('who is told so finds it completed', this.#committed.has(outcome.epoch))
        this.#requests.set(request, 'settled')
        return
      }
      case 'note':
        if (effect.note.type === 'checkpoint-completed') this.#complete(effect.note.epoch)
        if (effect.note.type === 'checkpoint-aborted' && effect.note.reason !== 'superseded')
          this.#failures += 1
    }
  }

  #checkCommit(effect: CommitEffect): void {
    const { generation, checkpoint, parts } = effect
    const { epoch } = checkpoint
    this.#holds('commits rise', epoch > this.#completed)
    this.#holds('every subtask once', parts.length === subtasks.length)
    for (const subtask of subtasks) {
      const part = parts.find(one => one.subtask === subtask)
      const isOwn = part?.generation === generation && part.epoch === epoch
      const isReported = this.#reported.has(`${subtask} ${generation} ${epoch}`)
      this.#holds('every report of its own generation', isOwn && isReported)
    }
    this.#commits.push(effect)
  }

  #complete(epoch: number): void {
    this.#holds('completed ones rise', epoch > this.#completed && this.#committed.has(epoch))
    this.#completed = epoch
    this.#completedAt = this.of.now
    this.#failures = 0
    this.completions += 1
  }

  #holds(rule: string, condition: boolean): void {
    if (!condition) throw new Error(`${rule}: not so at ${this.of.now}`)
  }
}
