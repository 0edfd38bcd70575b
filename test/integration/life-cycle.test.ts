/** What a job keeps in Redis and in NATS while it runs, and what is left when it has been cancelled. */
import test from 'ava'
import { eventually, exitOf, pidOf, runCli, startCli, untilNoted } from '../support/cli.js'
import {
  jobFile,
  jobKeys,
  jobStreams,
  numbers,
  openNats,
  openRedis,
  streamOf,
  uniqueName,
} from '../support/jobs.js'
import { withServers } from '../support/servers.js'
import { goOn, stop } from '../support/stopped.js'

/** The checkpoint that a manifest's or a part's key belongs to. */
const epochOf = (key: string): number | undefined => {
  const match = /:(?:ckpt:|part:\d+:)(\d+)/.exec(key)
  return match?.[1] === undefined ? undefined : Number(match[1])
}

test('pending parts expire, the newest checkpoint does not, superseded ones do, and a cancelled job leaves nothing', async t => {
  const servers = await withServers(t)
  const nats = await openNats(t, servers.natsUrl)
  const redis = openRedis(t, servers.redisUrl)
  const name = uniqueName('life')
  const input = uniqueName('IN')
  await streamOf(nats, input, numbers(500))
  const limits = JSON.stringify({ heartbeatTimeoutMs: 60_000 })
  const up = startCli(t, ['up', jobFile('counts'), '--json'], {
    servers,
    settings: { JOB: name, IN: input, END: 'none', INTERVAL_MS: 200, LIMITS: limits },
  })
  await untilNoted(up, 'checkpoint-completed', 2)
  t.true((await jobStreams(nats, name)).some(stream => stream.endsWith('_ID')))

  // With one subtask stopped no further checkpoint completes, so what is seen does not change meanwhile.
  const stopped = await pidOf(up, 'counts/1')
  await stop(stopped)
  const latestOf = async (): Promise<number> =>
    Number(await redis.hget(`sluice:{${name}}:meta`, 'latest'))
  const isPending = async (): Promise<boolean> => {
    const latest = await latestOf()
    const epochs = [...(await jobKeys(redis, name)).keys()].map(epochOf)
    return epochs.some(epoch => epoch !== undefined && epoch > latest)
  }
  await eventually('a checkpoint is pending', isPending)

  const latest = await latestOf()
  const keys = [...(await jobKeys(redis, name))]
  const those = (match: (epoch: number) => boolean) =>
    keys.filter(([key]) => {
      const epoch = epochOf(key)
      return epoch !== undefined && match(epoch)
    })
  const pending = those(epoch => epoch > latest)
  const newest = those(epoch => epoch === latest)
  const superseded = those(epoch => epoch < latest)
  t.true(pending.every(([, ttl]) => ttl > 0))
  t.is(newest.length, 5, 'a manifest and the parts of four subtasks')
  t.true(newest.every(([, ttl]) => ttl === -1))
  t.true(superseded.length > 0)
  t.true(superseded.every(([, ttl]) => ttl > 0))

  goOn(stopped)
  const completed = up.events().filter(e => e.name === 'checkpoint-completed').length
  await untilNoted(up, 'checkpoint-completed', completed + 1)
  const cancel = await runCli(t, ['cancel', name, '--json'], { servers })
  t.is(cancel.code, 0)
  t.deepEqual(JSON.parse(cancel.stdout), { type: 'result', job: name, status: 'canceled' })
  t.is((await exitOf(up)).code, 0)
  t.deepEqual(
    [...(await jobKeys(redis, name))].filter(([, ttl]) => ttl === -1),
    [],
    'every key is gone or expires',
  )
  t.not(await redis.zscore('sluice:jobs', name), 'inf')
  t.deepEqual(await jobStreams(nats, name), [])
})
