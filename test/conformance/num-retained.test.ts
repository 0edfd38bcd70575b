/** `numRetained`: so many completed checkpoints of a running job are kept, whole and without a TTL. */
import test from 'ava'
import { manifestKey, partKey } from '../../lib/adapters/redis/keys.js'
import { eventually, startCli, untilNoted } from '../support/cli.js'
import { jobFile, openRedis, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'
import { keptOf, partTtls, ttlOf } from './kept.js'

test.before('start the servers', async () => {
  await sharedServers()
})

const startJob = async (t: Parameters<typeof startCli>[0], numRetained: number | undefined) => {
  const servers = await sharedServers()
  const job = uniqueName('retained')
  const settings = {
    JOB: job,
    OUT: uniqueName('OUT'),
    SUBJECT: uniqueName('out'),
    PARALLELISM: 1,
    COUNT: 1e9,
    DELAY_MS: 1,
    INTERVAL_MS: 100,
    ...(numRetained === undefined ? {} : { NUM_RETAINED: numRetained }),
  }
  const up = startCli(t, ['up', jobFile('bulk'), '--json'], { servers, settings })
  return { up, job, redis: openRedis(t, servers.redisUrl) }
}

test.serial('the newest three of a running job have no TTL, those before have one', async t => {
  const { up, job, redis } = await startJob(t, 3)
  await untilNoted(up, 'checkpoint-completed', 5)
  // The job goes on meanwhile: what is looked at must still be what is kept afterwards.
  const kept = await eventually('three are kept throughout a look', async () => {
    const before = await keptOf(redis, job)
    const ttls = []
    for (const manifest of before) {
      ttls.push(await ttlOf(redis, manifestKey(job, manifest.epoch)))
      ttls.push(...(await partTtls(redis, manifest)))
    }
    const after = await keptOf(redis, job)
    const same = after[0]?.epoch === before[0]?.epoch
    return same && { manifests: before, ttls }
  })
  const epochs = kept.manifests.map(manifest => manifest.epoch)
  t.is(epochs.length, 3)
  t.deepEqual(
    epochs,
    [...epochs].sort((a, b) => b - a),
  )
  t.is(kept.ttls.length, 9)
  t.true(kept.ttls.every(ttl => ttl === 'kept'))

  const oldest = kept.manifests[2]
  if (oldest === undefined) return t.fail()
  await untilNoted(up, 'checkpoint-completed', 12)
  const fate = await ttlOf(redis, manifestKey(job, oldest.epoch))
  t.true(fate !== 'kept' && fate > 0 && fate <= 60_000, `${fate}`)
  for (const part of oldest.parts) {
    const ttl = await ttlOf(redis, partKey(job, part))
    t.true(ttl !== 'kept' && ttl > 0 && ttl <= 60_000, `${ttl}`)
  }
})

test.serial('one is kept where nothing was said', async t => {
  const { up, job, redis } = await startJob(t, undefined)
  await untilNoted(up, 'checkpoint-completed', 3)
  t.is((await keptOf(redis, job)).length, 1)
})

test.serial('a kill of the coordinator keeps as many, and ids go on', async t => {
  const { up, job, redis } = await startJob(t, 2)
  await untilNoted(up, 'checkpoint-completed', 3)
  const pid = up.processes().get('coordinator')
  if (pid === undefined) return t.fail()
  const before = (await keptOf(redis, job)).map(manifest => manifest.epoch)
  process.kill(pid, 'SIGKILL')
  const after = await eventually('two newer ones are kept', async () => {
    const epochs = (await keptOf(redis, job)).map(manifest => manifest.epoch)
    return epochs.every(epoch => epoch > (before[0] ?? 0) + 1) && epochs
  })
  t.is(after.length, 2)
})
