import test from 'ava'
import { countingJob, faultsOf } from '../support/counting-job.js'
import { JobWorld } from '../support/memory-job.js'
import type { MemoryProcess } from '../support/memory-time.js'

const records = 60

/** Runs the job; kills the role's process at its n-th request to a server, served or not. */
const runWithCrash = async (role: string, at: number, served: boolean) => {
  const world = new JobWorld({ job: countingJob(records) })
  let requests = 0
  const count = (process: MemoryProcess): void => {
    if (world.processes.get(role) !== process) return
    requests += 1
    if (requests === at) world.kill(role)
  }
  if (served) world.hooks.onServed = count
  else {
    world.hooks.onRequest = process => {
      const alive = process.alive
      count(process)
      return alive && !process.alive ? 'lost' : undefined
    }
  }
  world.start()
  const outcome = await world.untilEnded()
  return { world, outcome, crashed: requests >= at }
}

test('a job counts every record once and finishes', async t => {
  const world = new JobWorld({ job: countingJob(records) })
  world.start()
  const outcome = await world.untilEnded()
  t.log(world.told.join('\n'), world.time.now, [...world.broker.streams.keys()])
  t.deepEqual(outcome, { status: 'finished', reason: undefined })
  t.deepEqual(faultsOf(records, world.published('OUT')), [])
})

for (const role of ['coordinator', 'words/0', 'counts/0', 'counts/1', 'out/0']) {
  for (const served of [true, false]) {
    const when = served ? 'after' : 'before'
    test(`a crash of ${role} right ${when} any of its requests is served changes nothing`, async t => {
      let runs = 0
      for (let at = 1; ; at += 1) {
        const { world, outcome, crashed } = await runWithCrash(role, at, served)
        const story = world.told.join('\n')
        t.deepEqual(outcome, { status: 'finished', reason: undefined }, story)
        t.deepEqual(faultsOf(records, world.published('OUT')), [], story)
        if (!crashed) break
        runs += 1
      }
      t.log(`${runs} crashes`)
      t.true(runs > 20)
    })
  }
}
