/** A small part of `npm run chaos`, with servers killed too. */
import test from 'ava'
import { drawPlan } from '../chaos/plan.js'
import { type ChaosJob, chaosRun, subtasksOf } from '../chaos/run.js'

interface Killed {
  readonly killed: string
  readonly run: number
  readonly natsKill: boolean
  readonly redisKill: boolean
  readonly job?: ChaosJob
}

const seed = 1
const runs: readonly Killed[] = [
  { killed: 'processes killed at random moments', run: 1, natsKill: false, redisKill: false },
  { killed: 'a nats-server killed among them', run: 2, natsKill: true, redisKill: false },
  { killed: 'a redis-server killed among them', run: 3, natsKill: false, redisKill: true },
  {
    killed: 'a nats-server killed, and an output that waits for no checkpoint',
    run: 2,
    natsKill: true,
    redisKill: false,
    job: 'at-once',
  },
]

for (const { killed, run, job = 'example', ...servers } of runs) {
  test.serial(`every output comes exactly once with ${killed}`, async t => {
    t.timeout(240_000)
    const plan = drawPlan(seed, run, { subtasks: await subtasksOf(job), ...servers })
    const { failures, kills, generations, logFile } = await chaosRun(plan, job)
    t.log(`seed ${seed}, run ${run}: ${generations} generations, killed ${kills.join(', ')}`)
    t.deepEqual(failures, [], `what happened: ${logFile}`)
  })
}
