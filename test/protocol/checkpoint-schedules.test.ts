import test from 'ava'
import { prng, seedFromEnvironment } from '../support/prng.js'
import { CheckpointSchedule } from './checkpoint-schedules.js'

test('over random schedules under random rules, every promise about checkpoints holds', t => {
  const seed = seedFromEnvironment()
  t.log(`SLUICE_TEST_SEED=${seed}`)
  const random = prng(seed)
  const seen = { completions: 0, restarts: 0, most: 0 }
  for (let run = 0; run < 600; run += 1) {
    const schedule = new CheckpointSchedule(random)
    for (let step = 0; step < 400; step += 1) schedule.step()
    schedule.settle()
    seen.completions += schedule.completions
    seen.restarts += schedule.restartsByCheckpoints
    seen.most = Math.max(seen.most, schedule.most)
  }
  t.log(JSON.stringify(seen))
  t.true(seen.completions > 2_000 && seen.restarts > 200)
  t.is(seen.most, 3)
})
