import test from 'ava'
import { exponentialDelay } from '../../lib/protocol/retry.js'
import { exhaust } from '../support/exhaust.js'
import { prng, seedFromEnvironment } from '../support/prng.js'
import { Coordination } from './coordinator-fixture.js'
import { CoordinatorWorld } from './coordinator-world.js'

/** Everything that may come in while one checkpoint is under way. */
const events: readonly ((of: Coordination) => unknown)[] = [
  of => of.tick(of.now + 400),
  of => of.tick(of.now + 2_600),
  of => of.step({ type: 'epoch-allocated', generation: 1, epoch: epochAfter(of) }),
  of => of.reports('a/0', 1, epochOf(of)),
  of => of.reports('b/0', 1, epochOf(of)),
  of => of.reports('b/0', 1, epochOf(of) - 1),
  of => of.tells('b/0', 1, { declines: [{ epoch: epochOf(of), reason: '' }] }),
  of => of.tells('b/0', 1, { phase: 'failed' }),
  of => of.tells('a/0', 0, {}),
  of => of.step({ type: 'worker-exited', worker: 'w1', reason: '' }),
  of => of.step({ type: 'cancel-requested' }),
]

const epochOf = ({ state: { phase } }: Coordination): number =>
  phase.type === 'running' ? phase.checkpoints.highest : 1

const epochAfter = (of: Coordination): number => epochOf(of) + 1

test('over every short history, whatever failed leads on to a generation or to an end', t => {
  const runs = exhaust(choose => {
    const of = new Coordination({
      restart: exponentialDelay({
        initialMs: 10,
        maxMs: 10,
        multiplier: 2,
        jitter: 0,
        resetAfterMs: 1,
      }),
    }).runs(1)
    let asked = 1
    const commits: number[] = []
    const perform = (event: (of: Coordination) => unknown): void => {
      const before = of.phase
      event(of)
      for (const effect of of.effects) {
        if (effect.type === 'begin-generation') asked += 1
        if (effect.type === 'commit') commits.push(effect.checkpoint.epoch)
      }
      const { phase } = of.state
      // What has failed is over: nothing of it may be committed, and nothing runs on.
      if (before === 'restarting') t.false(of.effects.some(({ type }) => type === 'commit'))
      if (before === 'stopping') t.true(phase.type === 'stopping' || phase.type === 'ended')
    }
    for (let step = 0; step < 4; step += 1) {
      const event = events[choose(events.length)]
      if (event !== undefined) perform(event)
    }
    const isAscending = commits.every((epoch, i) => i === 0 || epoch > (commits[i - 1] ?? 0))
    if (!isAscending) t.fail(`commits ${commits.join(' ')}`)
    if (of.phase === 'restarting') {
      perform(world => world.tick(world.now + 10))
      t.is(asked, 2)
      t.is(of.phase, 'beginning')
    } else if (of.phase !== 'running' && of.phase !== 'stopping' && of.phase !== 'beginning') {
      t.fail(of.phase)
    }
  })
  t.log(`${runs} histories`)
  t.is(runs, events.length ** 4)
})

test('O1–O6 hold while messages are lost, doubled and reordered, and workers die', t => {
  const seed = seedFromEnvironment()
  t.log(`SLUICE_TEST_SEED=${seed}`)
  const random = prng(seed)
  const ends = new Map<string, number>()
  for (let run = 0; run < 200; run += 1) {
    const world = new CoordinatorWorld(random)
    for (let step = 0; step < 600 && !world.over; step += 1) world.step()
    world.settle()
    const status = world.status ?? 'none'
    ends.set(status, (ends.get(status) ?? 0) + 1)
  }
  t.log(JSON.stringify([...ends]))
  t.true((ends.get('finished') ?? 0) > 0)
})
