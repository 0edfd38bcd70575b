/** A small part of `npm run chaos`, with servers killed too. */
import test from 'ava'
import { drawPlan } from '../chaos/plan.js'
import { chaosRun, subtasksOfExample } from '../chaos/run.js'

const seed = 1
const runs = [
  { killed: 'processes killed at random moments', run: 1, natsKill: false, redisKill: false },
  { killed: 'a nats-server killed among them', run: 2, natsKill: true, redisKill: false },
  { killed: 'a redis-server killed among them', run: 3, natsKill: false, redisKill: true },
]

for (const { killed, run, ...servers } of runs) {
  test.serial(`every output comes exactly once with ${killed}`, async t => {
    t.timeout(240_000)
    const plan = drawPlan(seed, run, { subtasks: await subtasksOfExample(), ...servers })
    const { failures, kills, generations, logFile } = await chaosRun(plan)
    t.log(`seed ${seed}, run ${run}: ${generations} generations, killed ${kills.join(', ')}`)
    t.deepEqual(failures, [], `what happened: ${logFile}`)
  })
}
