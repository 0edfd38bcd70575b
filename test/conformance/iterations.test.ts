/** Iterations: a cyclic job is refused, unless forced; forced, no record in its loop is lost. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from 'sluice'
import { validate } from '../../lib/job/validate.js'
import { exitOf, pidOf, startCli, untilNoted } from '../support/cli.js'
import { messagesOf, openNats } from '../support/jobs.js'
import { faultsOf, loopingJob } from '../support/looping-job.js'
import { JobWorld } from '../support/memory-job.js'
import { prng, seedFromEnvironment } from '../support/prng.js'
import { withServers } from '../support/servers.js'

const problemsOf = (force: boolean): readonly string[] => {
  const valid = validate(loopingJob(10, { force }).graph)
  return E.isRight(valid) ? [] : valid.left.map(({ path, expected }) => `${path}: ${expected}`)
}

test('a job with a loop and checkpoints is refused with the reason, unless it is forced', assert => {
  assert.deepEqual(problemsOf(false), [
    'checkpoint.force: true, because the job has a loop through "track"',
  ])
  assert.deepEqual(problemsOf(true), [])
})

test('a loop without checkpoints runs, and ends when it is empty', async assert => {
  const { graph } = loopingJob(50)
  const world = new JobWorld({ job: { type: 'job', graph: { ...graph, checkpoint: undefined } } })
  world.start()
  const outcome = await world.untilEnded()
  assert.is(outcome.status, 'finished', world.told.join('\n'))
  assert.deepEqual(faultsOf(50, world.published('OUT')), [])
})

const records = 60
const runs = 30

/** Kills at any time: whoever is hit, records are in the loop at that moment. */
const killed = (seed: number): JobWorld => {
  const random = prng(seed)
  const mode = random.chance(0.8) ? 'exactly-once' : 'at-least-once'
  const job = loopingJob(records, {
    mode,
    maxConcurrent: 1 + random.below(2),
    incremental: random.chance(0.5),
    async: random.chance(0.8),
    onCheckpointError: 'decline',
  })
  const world = new JobWorld({ job, seed, latencyMs: 0.5 + random.next() * 4, readingMs: 0.01 })
  const loss = random.chance(0.5) ? random.next() * 0.2 : 0
  world.office.fate = () => (random.chance(loss) ? [] : [0])
  const roles = ['coordinator', ...world.plan.subtasks.map(({ id }) => id)]
  for (let blows = 1 + random.below(5); blows > 0; blows -= 1) {
    const role = roles[random.below(roles.length)] ?? ''
    world.time.after(random.next() * 1_500, () => world.kill(role))
  }
  return world
}

test('killed at any time, every record leaves its loop exactly once, after its own number of rounds', async assert => {
  const first = seedFromEnvironment()
  assert.log(`SLUICE_TEST_SEED=${first}`)
  let looped = 0
  for (let seed = first; seed < first + runs; seed += 1) {
    const world = killed(seed)
    world.start()
    const outcome = await world.untilEnded(1_500_000)
    const story = `SLUICE_TEST_SEED=${seed}\n${world.told.join('\n')}`
    assert.is(outcome.status, 'finished', story)
    const faults = faultsOf(records, world.published('OUT'))
    if (world.plan.graph.checkpoint?.mode === 'exactly-once') assert.deepEqual(faults, [], story)
    // Twice may be, never is not.
    else
      assert.deepEqual(
        faults.filter(fault => /left the loop 0 times/.test(fault)),
        [],
        story,
      )
    looped += world.told.filter(line => /restored|starts from checkpoint/.test(line)).length
  }
  assert.true(looped > 0)
})

test('a loop that grows without end says so', async assert => {
  const Number_ = t.type({ n: t.number })
  const doubling = actor({
    name: 'doubling',
    accepts: Number_,
    emits: Number_,
    receive: (ctx, record) => {
      ctx.emit(record)
      ctx.emit(record)
    },
  })
  const endless = job('endless', {
    limits: { frameBytesMax: 128, channelBytesMax: 512, loopBytesMax: 4_096 },
  })
    .from(iterable.source({ id: 'ones', open: () => [{ n: 1 }] }))
    .iterate({ id: 'loop', again: () => true }, loop => loop.to(doubling, { parallelism: 2 }))
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
    .checkpoint({ intervalMs: 1_000, force: true })
    .restart({ type: 'none' })
  const world = new JobWorld({ job: endless, restart: { type: 'none' } })
  world.start()
  const { status, reason } = await world.untilEnded()
  assert.is(status, 'failed')
  assert.regex(reason ?? '', /loopBytesMax \(4096 bytes\)/)
})

test('the example on real processes: walks are as long as they are, though a process of the loop is killed', async assert => {
  const servers = await withServers(assert)
  const nats = await openNats(assert, servers.natsUrl)
  const numbers = 1_500
  const up = startCli(assert, ['up', 'examples/collatz/job.ts', '--json'], {
    servers,
    env: { COLLATZ_NUMBERS: String(numbers) },
  })
  await untilNoted(up, 'checkpoint-completed', 1)
  process.kill(await pidOf(up, 'step/1'), 'SIGKILL')
  await untilNoted(up, 'running', 2)
  process.kill(await pidOf(up, 'walk/0'), 'SIGKILL')
  assert.is((await exitOf(up)).code, 0)
  const walks = (await messagesOf(nats, 'WALKS')).map(({ text }): unknown => JSON.parse(text))
  const Walk = t.type({ start: t.number, now: t.literal(1), steps: t.number })
  const steps = (start: number): number => {
    let count = 0
    for (let now = start; now !== 1; now = now % 2 === 0 ? now / 2 : 3 * now + 1) count += 1
    return count
  }
  const found = new Map<number, number>()
  for (const walk of walks) {
    if (!Walk.is(walk)) return assert.fail(JSON.stringify(walk))
    found.set(walk.start, (found.get(walk.start) ?? 0) + 1)
    assert.is(walk.steps, steps(walk.start))
  }
  assert.is(walks.length, numbers)
  assert.is(found.size, numbers)
})
