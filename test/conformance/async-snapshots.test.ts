/** `async`: whether records are handled while a snapshot is on its way into a slow store. */
import test from 'ava'
import type { Connection } from '../support/memory-job.js'
import { JobWorld } from '../support/memory-job.js'
import {
  anySource,
  completedEpochs,
  feed,
  generations,
  mergingJob,
  nothingWrong,
  streamSource,
  verdictOf,
} from '../support/merging-job.js'

const records = { left: 150, right: 150 }

/** A world whose store takes its time for the snapshots of `counts/0`; counts records meanwhile. */
const slowStore = (async: boolean, storeTakesMs = 60) => {
  let storing = 0
  let meanwhile = 0
  let orders = 0
  const job = mergingJob({
    left: anySource(streamSource('left', records.left)),
    right: anySource(streamSource('right', records.right)),
    checkpoint: { intervalMs: 100, async },
    onRecord: () => {
      if (storing > 0) meanwhile += 1
    },
  })
  const world = new JobWorld({ job })
  const connect = world.connect.bind(world)
  const written: number[] = []
  const failing = new Set<number>()
  world.connect = (name): Connection => {
    const ports = connect(name)
    const { snapshots, bus } = ports
    return {
      ...ports,
      bus: {
        ...bus,
        subscribe: (pattern, handler) =>
          bus.subscribe(pattern, (payload, subject) => {
            if (storing > 0 && name.startsWith('counts/0')) orders += 1
            handler(payload, subject)
          }),
      },
      snapshots: {
        ...snapshots,
        write: (of, part, chunks, ttlMs) => async () => {
          if (part.subtask !== 'counts/0') return snapshots.write(of, part, chunks, ttlMs)()
          storing += 1
          await new Promise<void>(resolve => world.time.after(storeTakesMs, resolve))
          const outcome = failing.has(part.epoch)
            ? await snapshots.write(of, { ...part, bytes: -1 }, chunks, ttlMs)()
            : await snapshots.write(of, part, chunks, ttlMs)()
          storing -= 1
          written.push(part.epoch)
          return outcome
        },
      },
    }
  }
  feed(world, 'left', records.left, 4)
  feed(world, 'right', records.right, 4)
  return { world, written, failing, facts: () => ({ meanwhile, orders }) }
}

test('with async, the default, records are handled while the store is slow', async t => {
  const { world, written, facts } = slowStore(true)
  world.start()
  t.is((await world.untilEnded()).status, 'finished')
  t.log(facts())
  t.true(written.length >= 3)
  t.true(facts().meanwhile >= 10 * written.length)
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('without async no record is handled until the snapshot is stored, and orders still get through', async t => {
  // Longer than the time after which orders are repeated.
  const { world, written, facts } = slowStore(false, 700)
  world.start()
  t.is((await world.untilEnded()).status, 'finished')
  t.log(facts())
  t.true(written.length >= 2)
  t.is(facts().meanwhile, 0)
  t.true(facts().orders > 0, 'the event loop is not blocked')
  t.deepEqual(generations(world), [1])
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('without async a snapshot that cannot be stored lets the records go on', async t => {
  const { world, failing, written } = slowStore(false)
  failing.add(2)
  world.start()
  t.is((await world.untilEnded()).status, 'finished')
  t.true(written.includes(2))
  t.false(completedEpochs(world).includes(2))
  t.true(completedEpochs(world).some(epoch => epoch > 2))
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('without async a crash in the middle of it changes nothing', async t => {
  const { world, written } = slowStore(false)
  world.start()
  await world.time.run('a snapshot', () => written.length === 2)
  world.kill('counts/0')
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(generations(world), [1, 2])
  t.deepEqual(verdictOf(world, records), nothingWrong)
})
