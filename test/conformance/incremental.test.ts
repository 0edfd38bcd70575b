/** Incremental checkpoints: only what changed is written, and nothing that is needed expires. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { partKey } from '../../lib/adapters/redis/keys.js'
import { Manifest, neededParts } from '../../lib/protocol/manifest.js'
import { eventually, exitOf, pidOf, startCli, untilNoted } from '../support/cli.js'
import {
  assertCounted,
  jobFile,
  jobKeys,
  numbers,
  openNats,
  openRedis,
  publish,
  streamOf,
  uniqueName,
} from '../support/jobs.js'
import { withServers } from '../support/servers.js'
import { stop } from '../support/stopped.js'

test('changes alone are written, what they build on stays, and a restore puts them together', async t => {
  const servers = await withServers(t)
  const nats = await openNats(t, servers.natsUrl)
  const redis = openRedis(t, servers.redisUrl)
  const [name, input, output] = [uniqueName('inc'), uniqueName('IN'), uniqueName('OUT')]
  const many = numbers(3_000, 1_500)
  await streamOf(nats, input, many)
  const settings = {
    JOB: name,
    IN: input,
    OUT: output,
    SUBJECT: output,
    END: String(many.length + 200),
    INTERVAL_MS: 100,
    INCREMENTAL: 'yes',
    LIMITS: JSON.stringify({
      incrementalChainMax: 4,
      supersededTtlMs: 600_000,
      heartbeatTimeoutMs: 60_000,
    }),
  }
  const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })

  const latest = async (): Promise<Manifest> => {
    const epoch = await redis.hget(`sluice:{${name}}:meta`, 'latest')
    const json = await redis.get(`sluice:{${name}}:ckpt:${epoch}`)
    const manifest = Manifest.decode(JSON.parse(json ?? 'null'))
    return E.isRight(manifest) ? manifest.right : t.fail('no manifest')
  }
  const chains = (manifest: Manifest) =>
    manifest.parts.filter(({ subtask }) => subtask.startsWith('counts/'))
  const hasChanges = (manifest: Manifest): boolean =>
    chains(manifest).every(({ bases = [], bytes }) =>
      bases.some(base => base.bytes > 10_000 && bytes < base.bytes / 10),
    )
  await untilNoted(up, 'checkpoint-completed', 2)
  let sent = 0
  const trickle = async (): Promise<void> => {
    const more = numbers(5).map(({ key, n }) => ({ key, n: many.length + sent + n }))
    sent += more.length
    await publish(
      nats,
      input,
      more.map(record => JSON.stringify(record)),
    )
  }
  await trickle()
  const manifest = await eventually('a checkpoint holds changes only', async () => {
    const found = await latest()
    return hasChanges(found) ? found : undefined
  })
  t.true(chains(manifest).every(({ bases = [] }) => bases.length < 4))

  // With one subtask stopped no further checkpoint completes, so that what is seen does not change.
  const stopped = await pidOf(up, 'counts/0')
  await stop(stopped)
  const [before, ttls, after] = await eventually('nothing completes any more', async () => {
    const seen = [await latest(), await jobKeys(redis, name), await latest()] as const
    return seen[0].epoch === seen[2].epoch && hasChanges(seen[0]) ? seen : undefined
  })
  t.is(before.epoch, after.epoch)
  const needed = neededParts(before).map(part => partKey(name, part))
  t.true(needed.length > before.parts.length)
  t.deepEqual(
    needed.map(key => ttls.get(key)),
    needed.map(() => -1),
  )
  const others = [...ttls].filter(([key]) => /:part:/.test(key) && !needed.includes(key))
  t.true(others.length > 0)
  t.true(others.every(([, ttl]) => ttl > 0))
  process.kill(stopped, 'SIGKILL')
  await untilNoted(up, 'running', 2)
  while (sent < 200) await trickle()
  t.is((await exitOf(up)).code, 0)
  const records = [
    ...many,
    ...Array.from({ length: 200 }, (_, n) => ({ key: `k${(n % 5) % 7}`, n: many.length + n })),
  ]
  await assertCounted(t, nats, output, records)
})
