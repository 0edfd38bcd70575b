/** `maxConcurrent`: so many checkpoints may be under way at a time. */
import test from 'ava'
import type { CheckpointOptions } from '../../lib/index.js'
import type { HistoryEntry } from '../../lib/ports/job-store.js'
import { CheckpointedWorld, endlessJob, twoSourceJob } from '../support/checkpointed-job.js'

/** How many of them were under way when each one began, itself included. */
const atATime = (history: readonly HistoryEntry[]): readonly number[] =>
  history.map(
    ({ triggeredAt: at }) =>
      history.filter(one => one.triggeredAt <= at && one.triggeredAt + one.durationMs > at).length,
  )

const slowed = (checkpoint: CheckpointOptions): CheckpointedWorld => {
  const world = new CheckpointedWorld({ job: endlessJob(checkpoint) })
  world.fate = () => ({ afterMs: 300 })
  world.start()
  return world
}

test('one at a time by default', async t => {
  const world = slowed({ intervalMs: 100 })
  await world.until('checkpoint-completed', 8)
  t.deepEqual([...new Set(atATime(world.history))], [1])
})

test('three at a time, an interval of 100 ms and a store that takes 300 ms: they overlap, and all complete', async t => {
  const world = slowed({ intervalMs: 100, maxConcurrent: 3 })
  await world.until('checkpoint-completed', 20)
  const { history } = world
  const most = Math.max(...atATime(history))
  t.is(most, 3)
  t.deepEqual(
    history.filter(({ status }) => status === 'aborted'),
    [],
  )
  const epochs = world.noted('checkpoint-completed').map(({ epoch }) => epoch)
  t.deepEqual(
    epochs,
    Array.from({ length: 20 }, (_, nth) => nth + 1),
  )
  const [first, last] = [history[0]?.triggeredAt ?? 0, history.at(-1)?.triggeredAt ?? 0]
  t.log(`20 checkpoints in ${Math.round(last - first)} ms`)
  t.true(last - first < 20 * 150, 'they start more often than one at a time could')
  t.deepEqual(await world.faults(), [])
})

test('two at a time: a third waits for a slot, and what was blocked meanwhile is one tick', async t => {
  const world = slowed({ intervalMs: 100, maxConcurrent: 2 })
  await world.until('checkpoint-completed', 4)
  t.is(Math.max(...atATime(world.history)), 2)
  world.fate = () => undefined
  const before = world.noted('checkpoint-completed').length
  await world.time.pass(1_000)
  // A backlog would be worked off now, faster than the interval.
  t.true(world.noted('checkpoint-completed').length - before <= 13)
})

test('an attempt that a newer one overtakes is superseded, and both were written', async t => {
  const world = new CheckpointedWorld({ job: endlessJob({ intervalMs: 100, maxConcurrent: 2 }) })
  world.fate = part => (part.epoch === 2 ? { afterMs: 150 } : undefined)
  world.start()
  await world.until('checkpoint-completed', 5)
  t.deepEqual(
    world.aborted.map(({ epoch, reason }) => [epoch, reason]),
    [[2, 'superseded: by 3']],
  )
  t.is(world.partsOf(3).length + world.partsOf(4).length + world.partsOf(5).length > 4, true)
  t.is(world.noted('generation-begun').length, 1)
  t.deepEqual(await world.faults(), [])
})

for (const mode of ['exactly-once', 'at-least-once'] as const) {
  test(`${mode}: overlapping checkpoints of two sources restore right, whoever is killed when`, async t => {
    for (const role of ['in/0', 'counts/0', 'out/0', 'coordinator']) {
      const checkpoint = { intervalMs: 40, maxConcurrent: 3, mode } as const
      const world = new CheckpointedWorld({ job: twoSourceJob(checkpoint), seed: 3 })
      world.fate = ({ epoch, subtask }) => ({
        afterMs: 30 + ((epoch * 37 + subtask.length * 11) % 90),
      })
      world.start()
      for (const completed of [4, 9]) {
        await world.until('checkpoint-completed', completed)
        world.kill(role)
      }
      await world.until('checkpoint-completed', 15)
      t.true(Math.max(...atATime(world.history)) > 1)
      const faults = await world.faults(2)
      const wrong = faults.filter(fault => mode === 'exactly-once' || /lost/.test(fault))
      t.deepEqual(wrong, [], `${role}: ${world.told.join('\n')}`)
    }
  })
}
