/** A whole small job on the ports in memory: what must come out exactly once, whatever happens. */
import test, { type ExecutionContext } from 'ava'
import { countingJob, faultsOf, recordsIn, unchecked } from '../support/counting-job.js'
import { JobWorld } from '../support/memory-job.js'
import type { MemoryProcess } from '../support/memory-time.js'

const records = 60

/** The job has finished, and its output is right. */
const isRight = async (t: ExecutionContext, world: JobWorld, of = records): Promise<void> => {
  const outcome = await world.untilEnded()
  const story = world.told.join('\n')
  t.deepEqual(outcome, { status: 'finished', reason: undefined }, story)
  t.deepEqual(faultsOf(of, world.published('OUT')), [], story)
}

const completedCount = (world: JobWorld): number =>
  world.notes.filter(note => note.type === 'checkpoint-completed').length

const untilCompleted = (world: JobWorld, count: number): Promise<void> =>
  world.time.run(`${count} checkpoints`, () => completedCount(world) >= count)

test('a job counts every record once, finishes and leaves only its output', async t => {
  const world = new JobWorld({ job: countingJob(records) })
  world.start()
  await isRight(t, world)
  t.deepEqual([...world.broker.streams.keys()], ['OUT'])
  t.true(completedCount(world) >= 2)
})

test('the same seed gives the same run', async t => {
  const stories: unknown[] = []
  for (const seed of [7, 7, 8]) {
    const world = new JobWorld({ job: countingJob(records), seed, readingMs: 0.01 })
    world.start()
    world.time.after(550, () => world.kill('counts/1'))
    await world.untilEnded()
    stories.push([world.time.now, world.told])
  }
  t.deepEqual(stories[0], stories[1])
  t.notDeepEqual(stories[0], stories[2])
})

for (const role of ['coordinator', 'words/0', 'counts/0', 'counts/1', 'out/0']) {
  test(`a crash of ${role} right after any of its requests was served changes nothing`, async t => {
    let crashes = 0
    for (let at = 1, crashed = true; crashed; at += 1) {
      const world = new JobWorld({ job: countingJob(records) })
      let requests = 0
      world.hooks.onServed = process => {
        if (world.processes.get(role) !== process) return
        requests += 1
        if (requests === at) world.kill(role)
      }
      world.start()
      await isRight(t, world)
      crashed = requests >= at
      if (crashed) crashes += 1
    }
    t.log(`${crashes} crashes`)
    t.true(crashes > 20)
  })

  test(`a crash of ${role} that takes any of its requests with it changes nothing`, async t => {
    let crashes = 0
    for (let at = 1, crashed = true; crashed; at += 1) {
      const world = new JobWorld({ job: countingJob(records) })
      let requests = 0
      world.hooks.onRequest = process => {
        if (!process.alive) return 'lost'
        if (world.processes.get(role) !== process) return undefined
        requests += 1
        if (requests !== at) return undefined
        world.kill(role)
        return 'lost'
      }
      world.start()
      await isRight(t, world)
      crashed = requests >= at
      if (crashed) crashes += 1
    }
    t.log(`${crashes} crashes`)
    t.true(crashes > 20)
  })
}

test('at least once: a crash may count a record twice, and loses none', async t => {
  for (let at = 30; at < 60; at += 3) {
    const world = new JobWorld({ job: countingJob(records, { mode: 'at-least-once' }) })
    let requests = 0
    world.hooks.onServed = process => {
      if (world.processes.get('counts/1') !== process) return
      requests += 1
      if (requests === at) world.kill('counts/1')
    }
    world.start()
    t.is((await world.untilEnded()).status, 'finished')
    t.is(recordsIn(world.published('OUT')).length, records)
  }
})

test('a job without checkpoints publishes at once and finishes', async t => {
  const world = new JobWorld({ job: unchecked(records) })
  world.start()
  await isRight(t, world)
  t.false(world.notes.some(note => note.type === 'checkpoint-aborted'))
})

test('a job without checkpoints fails with the first crash, and says why', async t => {
  const world = new JobWorld({ job: unchecked(2_000) })
  world.start()
  await world.time.run('some output', () => world.published('OUT').length > 10)
  world.kill('counts/0')
  const { status, reason } = await world.untilEnded()
  t.is(status, 'failed')
  t.regex(reason ?? '', /counts\/0 lost its worker/)
})

test('back-pressure: a slow sink slows the source, and barriers get through', async t => {
  const world = new JobWorld({ job: countingJob(300, { intervalMs: 50 }), latencyMs: 4 })
  let waiting = 0
  world.hooks.onServed = () => {
    const mailboxes = [...world.broker.streams.values()].filter(({ config }) =>
      config.name.startsWith('SLUICE_words_G'),
    )
    for (const { facts } of mailboxes) waiting = Math.max(waiting, facts.messages)
  }
  world.start()
  await isRight(t, world, 300)
  t.log(`${completedCount(world)} checkpoints, at most ${waiting} messages in a mailbox`)
  t.true(completedCount(world) >= 4)
})

test('a commit whose answer is lost is asked again, and has completed', async t => {
  for (const fault of ['lost', 'unanswered'] as const) {
    const world = new JobWorld({ job: countingJob(records) })
    let commits = 0
    world.hooks.onRequest = (_process, request) => {
      if (!request.startsWith('commit')) return undefined
      commits += 1
      return commits === 1 ? fault : undefined
    }
    world.start()
    await isRight(t, world)
    t.false(
      world.told.some(line => line.includes('aborted')),
      world.told.join('\n'),
    )
    t.true(world.told.some(line => line.startsWith('checkpoint 1 completed')))
  }
})

test('a canceled job ends when its workers have let go, and what completed is published', async t => {
  const world = new JobWorld({ job: countingJob(2_000) })
  world.start()
  await untilCompleted(world, 2)
  await world.cancel()
  t.deepEqual(await world.untilEnded(), { status: 'canceled', reason: undefined })
  const output = world.published('OUT')
  t.true(output.length > 0 && output.length < 2_000)
  t.deepEqual(
    faultsOf(0, output).filter(fault => !fault.includes('not')),
    [],
  )
})

test('fencing: a coordinator that wakes after its successor began is refused and falls silent', async t => {
  // Whatever it was about to do when it was frozen.
  for (let at = 10; at <= 40; at += 1) {
    const world = new JobWorld({ job: countingJob(records) })
    let requests = 0
    world.hooks.onServed = process => {
      if (process.name !== 'coordinator-1') return
      requests += 1
      if (requests !== at) return
      process.freeze()
      world.abandon('coordinator')
      world.time.after(700, () => process.thaw())
    }
    world.start()
    await isRight(t, world)
    await world.time.pass(10_000)
    t.true(world.told.includes('coordinator-1 is fenced'), world.told.join('\n'))
    const commits = world.redis.histories.get('words') ?? []
    const epochs = commits.filter(({ status }) => status === 'completed').map(({ epoch }) => epoch)
    t.deepEqual(
      epochs,
      [...epochs].sort((a, b) => b - a),
    )
  }
})

test('fencing: a sink that wakes after its successor began publishes nothing twice', async t => {
  let woken = 0
  // Whatever it was about to do when it was frozen; most of all: to publish what has completed.
  for (let at = 8; at <= 60; at += 1) {
    const world = new JobWorld({ job: countingJob(records) })
    let requests = 0
    let zombie: MemoryProcess | undefined
    const isSucceeded = (): boolean =>
      world.notes.some(note => note.type === 'running' && note.generation === 2)
    world.hooks.onServed = process => {
      if (zombie !== undefined && isSucceeded()) {
        zombie.thaw()
        zombie = undefined
        woken += 1
      }
      if (process !== world.processes.get('out/0')) return
      requests += 1
      if (requests !== at) return
      process.freeze()
      zombie = process
      world.time.after(100, () => world.abandon('out/0'))
    }
    world.start()
    await isRight(t, world)
  }
  t.log(`${woken} zombies`)
  t.true(woken > 10)
})
