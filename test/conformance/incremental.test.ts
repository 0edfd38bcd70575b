/** Incremental checkpoints: only what changed is written, and nothing that is needed expires. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { partKey } from '../../lib/adapters/redis/keys.js'
import { Manifest, neededParts } from '../../lib/protocol/manifest.js'
import {
  type Cli,
  eventually,
  exitOf,
  notesOf,
  pidOf,
  runCli,
  startCli,
  untilNoted,
} from '../support/cli.js'
import {
  assertCounted,
  jobFile,
  jobKeys,
  messagesOf,
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

/** Records that all subtasks have taken. */
const recordsOf = (cli: Cli): number => {
  const last = cli.events().findLast(({ type }) => type === 'progress')
  return last === undefined ? 0 : JSON.parse(JSON.stringify(last)).progress.records
}

const manyKeys = 100_000
const onePercent = manyKeys / 100
const rounds = 50

test('one percent of 100 000 keys costs that much, fifty times over, and a kill then loses none of it', async t => {
  const servers = await withServers(t)
  const nats = await openNats(t, servers.natsUrl)
  const redis = openRedis(t, servers.redisUrl)
  const [name, input, output] = [uniqueName('ranges'), uniqueName('IN'), uniqueName('OUT')]
  await streamOf(nats, input, [])
  const settings = {
    JOB: name,
    IN: input,
    OUT: output,
    SUBJECT: output,
    INTERVAL_MS: 3_600_000,
    INCREMENTAL: 'yes',
    LIMITS: JSON.stringify({ supersededTtlMs: 1_000 }),
  }
  const up = startCli(t, ['up', jobFile('ranges'), '--json'], { servers, settings })
  await untilNoted(up, 'checkpoint-completed')

  const expected = new Array<number>(manyKeys).fill(0)
  let handled = 0
  /** Has keys touched, and resolves when they were. */
  const touch = async (from: number, to: number): Promise<void> => {
    await publish(nats, input, [JSON.stringify({ from, to, tell: false })])
    for (let n = from; n < to; n += 1) expected[n] = (expected[n] ?? 0) + 1
    // The message at the source, and each key at the actor that counts.
    handled += 1 + to - from
    await eventually('all of it is counted', () => recordsOf(up) >= handled)
  }
  /** What the parts of a new checkpoint that hold counts take in Redis. */
  const writtenBytes = async (): Promise<number> => {
    const taken = await runCli(t, ['checkpoint', name, '--json'], { servers })
    t.is(taken.code, 0, taken.stderr)
    const { epoch } = JSON.parse(taken.stdout)
    const json = await redis.get(`sluice:{${name}}:ckpt:${epoch}`)
    const manifest = Manifest.decode(JSON.parse(json ?? 'null'))
    if (E.isLeft(manifest)) return t.fail('no manifest')
    return manifest.right.parts.reduce((sum, { bytes }) => sum + bytes, 0)
  }
  const bytesInRedis = async (): Promise<number> => {
    let bytes = 0
    for (const key of (await jobKeys(redis, name)).keys())
      bytes += Number(await redis.memory('USAGE', key, 'SAMPLES', 0))
    return bytes
  }

  await touch(0, manyKeys)
  const fullBytes = await writtenBytes()
  const written: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const from = (round * 7 * onePercent) % manyKeys
    await touch(from, from + onePercent)
    written.push(await writtenBytes())
  }
  const whole = written.filter(bytes => bytes > fullBytes / 2)
  const changes = written.filter(bytes => bytes <= fullBytes / 2)
  const share = Math.max(...changes) / fullBytes
  t.log(`${changes.length} of changes: at most ${(100 * share).toFixed(2)} % of a full one`)
  t.true(share <= 0.03)
  // A chain has ten parts at most, so that a restore reads no more than these.
  t.log(`${whole.length} whole ones`)
  t.true(whole.length <= Math.ceil(rounds / 10))

  // At rest: what was superseded has had its second.
  let held = Number.POSITIVE_INFINITY
  await eventually('what was superseded is gone', async () => {
    held = await bytesInRedis()
    return held <= 3 * fullBytes
  })
  t.log(`Redis holds ${(held / fullBytes).toFixed(2)} times a full one`)
  t.true(held <= 3 * fullBytes)

  process.kill(await pidOf(up, 'touches/0'), 'SIGKILL')
  await untilNoted(up, 'running', 2)
  const completed = notesOf(up, 'checkpoint-completed').length
  await publish(nats, input, [JSON.stringify({ from: 0, to: manyKeys, tell: true })])
  const told = await eventually('every count is told', async () => {
    if (notesOf(up, 'checkpoint-completed').length === completed)
      await runCli(t, ['checkpoint', name], { servers })
    const messages = await messagesOf(nats, output)
    if (messages.length < manyKeys) await runCli(t, ['checkpoint', name], { servers })
    return messages.length >= manyKeys && messages
  })
  const counts = new Map(
    told.map(({ text }): [string, number] => {
      const { key, count }: { readonly key: string; readonly count: number } = JSON.parse(text)
      return [key, count]
    }),
  )
  t.is(told.length, manyKeys)
  t.deepEqual(
    expected.filter((count, n) => counts.get(`k${n}`) !== count + 1),
    [],
  )
})
