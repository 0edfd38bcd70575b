import test from 'ava'
import type { CheckpointEvent } from '../../lib/protocol/checkpoint.js'
import { exhaust } from '../support/exhaust.js'
import { prng, seedFromEnvironment } from '../support/prng.js'
import { Checkpoints, generation, reportOf } from './checkpoint-fixture.js'

const minPauseMs = 20
const timeoutMs = 50

/** Checkpoints among a store, a clock and subtasks that do anything; holds every step to K1–K6. */
class World {
  readonly checkpoints: Checkpoints
  readonly #maxConcurrent: number
  now = 0
  #ids = 3
  #allEnded = false
  #completedAt = Number.NEGATIVE_INFINITY
  #completed = 3
  #final = false
  /** Reports of this generation that were sent, `subtask epoch`. */
  readonly #sent = new Set<string>()
  readonly #commits = new Set<number>()
  readonly #left = new Map<number, string>()

  constructor(maxConcurrent: number, subtasks: readonly string[]) {
    this.#maxConcurrent = maxConcurrent
    const rules = { intervalMs: 30, minPauseMs, timeoutMs, maxConcurrent }
    this.checkpoints = new Checkpoints(rules, 3, [...subtasks])
  }

  begin(): void {
    this.#tick(30)
    this.#ids += 1
    this.#apply({ type: 'allocated', epoch: this.#ids, now: this.now })
  }

  /** A subtask reports the newest epoch. */
  report(subtask: string): void {
    this.#report(subtask, this.#ids)
  }

  /** Everything that may happen next. */
  get possible(): readonly (() => void)[] {
    const { state } = this.checkpoints
    const { now } = this
    const apply = (event: CheckpointEvent) => (): void => this.#apply(event)
    const events: (() => void)[] = [
      () => this.#tick(10),
      () => this.#tick(60),
      () => {
        this.#allEnded = true
        this.#tick(1)
      },
    ]
    if (state.allocating !== undefined) {
      events.push(() => {
        this.#ids += 1
        this.#apply({ type: 'allocated', epoch: this.#ids, now })
      })
      events.push(apply({ type: 'allocation-failed', now }))
    }
    // Of the newest epochs, whether they are pending, aborted or completed.
    for (const epoch of [this.#ids - 1, this.#ids]) {
      for (const subtask of state.subtasks) {
        events.push(() => this.#report(subtask, epoch))
        events.push(apply({ type: 'reported', report: reportOf(subtask, epoch, generation - 1) }))
      }
      events.push(apply({ type: 'declined', subtask: 'a/0', epoch, reason: 'x', now }))
    }
    for (const { epoch, committing } of state.pending) {
      if (!committing) continue
      // The store commits in rising order only.
      if (epoch > state.completed) events.push(apply({ type: 'committed', epoch, now }))
      const reason = epoch > state.completed ? 'failed' : 'superseded'
      events.push(apply({ type: 'commit-refused', epoch, reason, facts: '', now }))
    }
    return events
  }

  #tick(ms: number): void {
    this.now += ms
    this.#apply({ type: 'tick', now: this.now, allEnded: this.#allEnded })
  }

  #report(subtask: string, epoch: number): void {
    this.#sent.add(`${subtask} ${epoch}`)
    this.#apply({ type: 'reported', report: reportOf(subtask, epoch) })
  }

  #apply(event: CheckpointEvent): void {
    const before = this.checkpoints.state
    const effects = this.checkpoints.step(event)
    const after = this.checkpoints.state
    for (const effect of effects) {
      switch (effect.type) {
        case 'allocate-id':
          this.#holds('K6', this.#allEnded || this.now >= this.#completedAt + minPauseMs)
          this.#holds('final', !this.#final)
          break
        case 'commit': {
          const { epoch } = effect.checkpoint
          this.#holds('K3', !this.#commits.has(epoch) && !this.#left.has(epoch))
          this.#commits.add(epoch)
          for (const subtask of before.subtasks) {
            const parts = effect.parts.filter(part => part.subtask === subtask)
            const own = parts.every(p => p.epoch === epoch && p.generation === generation)
            this.#holds('K3', parts.length === 1 && own && this.#sent.has(`${subtask} ${epoch}`))
          }
          break
        }
        case 'completed':
          this.#holds('K5', event.type === 'committed' && effect.epoch > this.#completed)
          this.#holds('K3', this.#commits.has(effect.epoch))
          this.#completed = effect.epoch
          this.#completedAt = this.now
          this.#final ||= before.pending.some(p => p.epoch === effect.epoch && p.final)
          this.#leaves(effect.epoch, 'completed')
          break
        case 'aborted': {
          const committing = before.pending.some(p => p.epoch === effect.epoch && p.committing)
          this.#holds('K4', !committing || event.type === 'commit-refused')
          this.#leaves(effect.epoch, 'aborted')
        }
      }
    }
    const busy = after.pending.length + (after.allocating === undefined ? 0 : 1)
    this.#holds('K2', busy <= this.#maxConcurrent)
    this.#holds('K1', after.highest >= before.highest && after.highest <= this.#ids)
    this.#holds('K5', after.completed === this.#completed)
    for (const { epoch } of after.pending) this.#holds('left', !this.#left.has(epoch))
    for (const { epoch } of before.pending) {
      const stays = after.pending.some(p => p.epoch === epoch)
      this.#holds('left', stays || this.#left.has(epoch))
    }
  }

  #leaves(epoch: number, how: string): void {
    this.#holds('left once', !this.#left.has(epoch))
    this.#left.set(epoch, how)
  }

  #holds(rule: string, condition: boolean): void {
    if (!condition) throw new Error(`${rule} does not hold at ${this.now}`)
  }

  /** From any state a checkpoint completes within a few steps, once nothing goes wrong any more. */
  settle(): void {
    const before = this.#completed
    for (let steps = 0; steps < 60; steps += 1) {
      if (this.#final || (this.#completed > before && !this.#allEnded)) return
      const { state } = this.checkpoints
      const committing = state.pending.find(p => p.committing)
      if (committing !== undefined) {
        const { epoch } = committing
        const event =
          epoch > state.completed
            ? ({ type: 'committed', epoch, now: this.now } as const)
            : ({
                type: 'commit-refused',
                epoch,
                reason: 'superseded',
                facts: '',
                now: this.now,
              } as const)
        this.#apply(event)
      } else if (state.allocating !== undefined) {
        this.#ids += 1
        this.#apply({ type: 'allocated', epoch: this.#ids, now: this.now })
      } else if (state.pending.length > 0) {
        for (const { epoch } of state.pending)
          for (const subtask of state.subtasks) this.#report(subtask, epoch)
      } else this.#tick(60)
    }
    throw new Error('no checkpoint completes any more')
  }
}

/** Where the histories begin. */
const situations: Readonly<Record<string, (world: World) => void>> = {
  'a fresh start': () => {},
  'a pending attempt': world => world.begin(),
  'an attempt that half of the subtasks have reported': world => {
    world.begin()
    world.report('a/0')
  },
  'an attempt that is being committed': world => {
    world.begin()
    world.report('a/0')
    world.report('b/0')
  },
}

for (const [name, prepare] of Object.entries(situations)) {
  for (const maxConcurrent of [1, 2]) {
    test(`K1–K6 hold over every short history after ${name}, ${maxConcurrent} at a time`, t => {
      const runs = exhaust(choose => {
        const world = new World(maxConcurrent, ['a/0', 'b/0'])
        prepare(world)
        for (let step = 0; step < 4; step += 1) {
          const { possible } = world
          possible[choose(possible.length)]?.()
        }
        world.settle()
      })
      t.log(`${runs} histories`)
      t.true(runs > 20_000)
    })
  }
}

test('K1–K6 hold over long random histories of three subtasks', t => {
  const seed = seedFromEnvironment()
  t.log(`SLUICE_TEST_SEED=${seed}`)
  const random = prng(seed)
  for (let run = 0; run < 300; run += 1) {
    const world = new World(1 + random.below(3), ['a/0', 'b/0', 'c/0'])
    for (let step = 0; step < 120; step += 1) {
      const { possible } = world
      // The end of the sources, third among the events, comes once in a while only.
      const index = random.below(possible.length)
      if (index !== 2 || random.chance(0.1)) possible[index]?.()
    }
    world.settle()
  }
  t.pass()
})
