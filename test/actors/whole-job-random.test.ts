/** Random schedules of everything that may go wrong at once. `SLUICE_TEST_SEED` repeats one. */
import test from 'ava'
import { countingJob, faultsOf } from '../support/counting-job.js'
import { JobWorld } from '../support/memory-job.js'
import type { Fault } from '../support/memory-wire.js'
import { prng, seedFromEnvironment } from '../support/prng.js'

const records = 150
const runs = 40

/** A world in which messages and answers are lost, and processes die or pause, by chance. */
const troubled = (seed: number): JobWorld => {
  const random = prng(seed)
  const world = new JobWorld({
    job: countingJob(records),
    seed,
    latencyMs: 0.5 + random.next() * 4,
    readingMs: 0.01,
  })
  const busLoss = random.next() * 0.3
  const requestLoss = random.next() * 0.02
  world.office.fate = () => {
    if (random.chance(busLoss)) return []
    if (random.chance(busLoss)) return [0, random.next() * 300]
    return random.chance(busLoss) ? [random.next() * 1_000] : [0]
  }
  world.hooks.onRequest = (): Fault | undefined => {
    // Faults end at some time, so that the job can.
    if (world.time.now > 20_000 || !random.chance(requestLoss)) return undefined
    return random.chance(0.5) ? 'lost' : 'unanswered'
  }
  const roles = ['coordinator', ...world.plan.subtasks.map(({ id }) => id)]
  for (let blows = random.below(6); blows > 0; blows -= 1) {
    const role = roles[random.below(roles.length)] ?? ''
    const kills = random.chance(0.5)
    const pauseMs = random.next() * 10_000
    world.time.after(random.next() * 3_000, () => {
      if (kills) {
        world.kill(role)
        return
      }
      const process = world.processes.get(role)
      process?.freeze()
      world.time.after(pauseMs, () => process?.thaw())
    })
  }
  return world
}

test('everything is counted once while anything may be lost, delayed, killed or paused', async t => {
  const first = seedFromEnvironment()
  t.log(`SLUICE_TEST_SEED=${first}`)
  for (let seed = first; seed < first + runs; seed += 1) {
    const world = troubled(seed)
    world.start()
    const outcome = await world.untilEnded(1_500_000)
    const story = `SLUICE_TEST_SEED=${seed}\n${world.told.join('\n')}`
    t.is(outcome.status, 'finished', story)
    t.deepEqual(faultsOf(records, world.published('OUT')), [], story)
  }
})
