/** `mode`: what at-least-once gives up, and what not even it does. */
import test from 'ava'
import { channelId } from '../../lib/protocol/addresses.js'
import { type AlignmentEvent, initialAlignment, step } from '../../lib/protocol/alignment.js'
import { countingJob, faultsOf } from '../support/counting-job.js'
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

type Mode = 'exactly-once' | 'at-least-once'
const modes = ['exactly-once', 'at-least-once'] as const

const records = { left: 200, right: 50 }
const barrierLateMs = 40

/**
 * The same schedule in either mode: barriers come late on the channel from `right`, records go on
 * coming from `left`, and the counting process is killed once checkpoint 3 has completed.
 */
const crashed = async (mode: Mode): Promise<JobWorld> => {
  const job = mergingJob({
    left: anySource(streamSource('left', records.left)),
    right: anySource(streamSource('right', records.right)),
    checkpoint: { intervalMs: 100, mode },
  })
  const world = new JobWorld({ job })
  world.delaysMs.set('right/0', barrierLateMs)
  feed(world, 'left', records.left, 4)
  feed(world, 'right', records.right, 16)
  world.start()
  await world.time.run('checkpoint 3', () => completedEpochs(world).includes(3))
  world.kill('counts/0')
  assertFinished(await world.untilEnded())
  return world
}

const assertFinished = ({
  status,
  reason,
}: {
  readonly status: string
  readonly reason: unknown
}): void => {
  if (status !== 'finished') throw new Error(`${status}: ${String(reason)}`)
}

test('exactly-once holds the faster channel back: after a crash nothing is counted twice, nothing lost', async t => {
  const world = await crashed('exactly-once')
  t.deepEqual(generations(world), [1, 2])
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('at-least-once, on the very same schedule, counts and publishes records twice, and loses none', async t => {
  const world = await crashed('at-least-once')
  t.deepEqual(generations(world), [1, 2])
  const { lost, doubled, overcounted } = verdictOf(world, records)
  t.deepEqual(lost, [])
  t.log(`doubled: ${doubled.join(', ')}`)
  t.true(doubled.length > 3)
  t.true(
    doubled.every(name => name.startsWith('left')),
    'the slow channel had nothing behind its barrier',
  )
  t.is(overcounted, doubled.length, 'state has counted what the output shows')
})

test('exactly-once waits for the late barrier, at-least-once never does', async t => {
  const longestMs: Record<string, number> = {}
  for (const mode of modes) {
    const at: number[] = []
    const job = mergingJob({
      left: anySource(streamSource('left', records.left)),
      right: anySource(streamSource('right', records.right)),
      checkpoint: { intervalMs: 100, mode },
      onRecord: ({ from }) => {
        if (from === 'left') at.push(world.time.now)
      },
    })
    const world = new JobWorld({ job })
    world.delaysMs.set('right/0', barrierLateMs)
    feed(world, 'left', records.left, 4)
    feed(world, 'right', records.right, 16)
    world.start()
    assertFinished(await world.untilEnded())
    t.deepEqual(verdictOf(world, records), nothingWrong)
    longestMs[mode] = Math.max(...at.slice(1).map((ms, i) => ms - (at[i] ?? 0)))
  }
  t.log('the longest time between two records of the fast channel', longestMs)
  t.true((longestMs['exactly-once'] ?? 0) >= barrierLateMs)
  t.true((longestMs['at-least-once'] ?? 0) < barrierLateMs / 2)
})

test('subtasks with one input stay exactly-once in at-least-once mode', async t => {
  for (const role of ['counts/0', 'counts/1', 'words/0']) {
    const world = new JobWorld({ job: countingJob(300, { mode: 'at-least-once', intervalMs: 30 }) })
    world.start()
    await world.time.run('checkpoint 3', () => completedEpochs(world).includes(3))
    world.kill(role)
    assertFinished(await world.untilEnded())
    t.deepEqual(generations(world), [1, 2])
    // The counting subtasks read one channel each. `out/0` reads two, and may publish a record twice,
    // with the same count both times.
    const published = [...new Set(world.published('OUT').map(value => JSON.stringify(value)))]
    const output = published.map((text): unknown => JSON.parse(text))
    t.deepEqual(faultsOf(300, output), [])
  }
})

const [a, b] = [channelId(0, 'left/0', 'counts/0'), channelId(1, 'right/0', 'counts/0')]
const barrier = (channel: string, epoch: number, now: number): AlignmentEvent => ({
  type: 'barrier-received',
  channel,
  epoch,
  final: false,
  now,
})

test('at-least-once counts the barriers of several open checkpoints, each by its own number', t => {
  let state = initialAlignment({ mode: 'at-least-once', channels: [a, b], closedThrough: 0 })
  const story: string[] = []
  for (const event of [
    barrier(a, 1, 0),
    barrier(a, 2, 10),
    barrier(a, 3, 20),
    barrier(b, 1, 30),
    { type: 'checkpoint-aborted', epoch: 2 } as const,
    barrier(b, 2, 40),
    barrier(b, 3, 50),
  ]) {
    const [next, effects] = step(state, event)
    state = next
    story.push(
      effects
        .map(effect => `${effect.type} ${'epoch' in effect ? effect.epoch : ''}`.trim())
        .join(', '),
    )
  }
  t.deepEqual(story, [
    '',
    '',
    '',
    'take-snapshot 1',
    'alignment-dropped 2',
    'barrier-ignored 2',
    'take-snapshot 3',
  ])
})
