/** Small snapshots lie in the checkpoint's manifest, and nowhere else; a restore finds them there. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { partKey } from '../../lib/adapters/redis/keys.js'
import type { CheckpointOptions } from '../../lib/index.js'
import type { Limits } from '../../lib/job/limits.js'
import type { StateBackendOptions } from '../../lib/job/settings.js'
import { chainOf } from '../../lib/protocol/increment.js'
import { inlineBytesOf } from '../../lib/protocol/inline.js'
import type { Manifest, StoredPart } from '../../lib/protocol/manifest.js'
import { newFolder } from '../adapters/fs/folder.js'
import {
  type Cli,
  eventually,
  exitOf,
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
import { JobWorld } from '../support/memory-job.js'
import { manifestKey } from '../support/memory-redis.js'
import {
  anySource,
  completedEpochs,
  feed,
  generations,
  mergingJob,
  nothingWrong,
  streamSource,
  verdictOf,
} from '../support/merging-job.js'
import { sharedServers } from '../support/servers.js'
import { keptOf } from './kept.js'

const records = { left: 120, right: 120 }

/** A job in virtual time, every manifest that it has committed, and what was asked of its store. */
const jobWith = (
  checkpoint: Partial<CheckpointOptions>,
  limits: Partial<Limits> = {},
  onRecord: () => void = () => {},
) => {
  const { graph } = mergingJob({
    left: anySource(streamSource('left', records.left)),
    right: anySource(streamSource('right', records.right)),
    checkpoint: { intervalMs: 50, ...checkpoint },
    onRecord,
  })
  const job = { type: 'job', graph: { ...graph, limits: { ...graph.limits, ...limits } } } as const
  const world = new JobWorld({ job })
  const asked: string[] = []
  const manifests = new Map<number, Manifest>()
  world.hooks.onRequest = (_process, request) => {
    if (/^(read|write) \S+\/\d+ \d+$/.test(request)) asked.push(request)
    return undefined
  }
  world.hooks.onServed = (_process, request) => {
    const { latest } = world.redis.metas.get(world.plan.job) ?? {}
    if (!request.startsWith('commit ') || latest === undefined) return
    const manifest = world.redis.manifests.get(manifestKey(world.plan.job, latest))
    if (manifest !== undefined) manifests.set(latest, manifest)
  }
  feed(world, 'left', records.left, 4)
  feed(world, 'right', records.right, 4)
  world.start()
  const checkpointed = (epoch = 3) =>
    world.time.run(`checkpoint ${epoch}`, () => completedEpochs(world).includes(epoch))
  const parts = (): readonly StoredPart[] =>
    [...manifests.values()].flatMap(manifest => manifest.parts)
  const ends = async (t: ExecutionContext) => {
    t.is((await world.untilEnded()).status, 'finished')
    t.deepEqual(verdictOf(world, records), nothingWrong)
  }
  return { world, asked, manifests, parts, checkpointed, ends }
}

/** More than a source's snapshot has, and less than one of `counts`. */
const betweenBytes = 600
/** More than the changes of `counts` have, and less than a whole snapshot. */
const changesBytes = 1_740

const isInline = ({ inline }: StoredPart): boolean => inline !== undefined

test('small snapshots are in the manifest, and a restore asks no store', async t => {
  const { world, asked, parts, checkpointed, ends } = jobWith({ inlineThresholdBytes: 16_384 })
  await checkpointed()
  for (const role of ['counts/0', 'coordinator', 'left/0']) world.kill(role)
  await ends(t)
  t.true(generations(world).length > 1)
  t.true(parts().length >= 9 && parts().every(isInline))
  t.deepEqual(asked, [])
})

test('with threshold 0, the default, every snapshot is stored', async t => {
  for (const checkpoint of [{}, { inlineThresholdBytes: 0 }]) {
    const { world, asked, parts, checkpointed, ends } = jobWith(checkpoint)
    await checkpointed()
    world.kill('counts/0')
    await ends(t)
    t.true(parts().length >= 9 && !parts().some(isInline))
    const written = asked.filter(request => request.startsWith('write '))
    t.true(written.length >= parts().length)
    t.is(asked.filter(request => request.startsWith('read ')).length, 3)
  }
})

test('a snapshot above the threshold is stored, beside others of its checkpoint that are not', async t => {
  const threshold = betweenBytes
  const { world, asked, manifests, parts, checkpointed, ends } = jobWith({
    inlineThresholdBytes: threshold,
  })
  await checkpointed()
  world.kill('counts/0')
  await ends(t)
  t.deepEqual(
    parts().map(isInline),
    parts().map(({ bytes }) => bytes <= threshold),
  )
  const mixed = [...manifests.values()].filter(
    manifest => manifest.parts.some(isInline) && !manifest.parts.every(isInline),
  )
  t.true(mixed.length > 0)
  t.true(asked.length > 0)
  t.true(asked.every(request => !/^read (left|right)\/0/.test(request)))
})

test('of one checkpoint no more is in the manifest than inlineBytesMax, in equal shares', async t => {
  const { parts, manifests, ends } = jobWith(
    { inlineThresholdBytes: 16_384 },
    { inlineBytesMax: 3 * betweenBytes },
  )
  await ends(t)
  t.true(parts().some(isInline) && !parts().every(isInline))
  t.true(parts().every(part => part.bytes <= betweenBytes || !isInline(part)))
  for (const manifest of manifests.values())
    t.true(inlineBytesOf(manifest.parts.flatMap(chainOf)) <= 3 * betweenBytes)
})

test('snapshots of changes build on what is in manifests, and on what is stored', async t => {
  for (const inlineThresholdBytes of [16_384, betweenBytes, changesBytes]) {
    const { world, manifests, checkpointed, ends } = jobWith({
      incremental: true,
      inlineThresholdBytes,
    })
    await checkpointed(4)
    world.kill('counts/0')
    await ends(t)
    const chains = [...manifests.values()].flatMap(({ parts }) => parts.map(chainOf))
    t.true(chains.some(({ length }) => length > 1))
    for (const part of chains.flat()) if (isInline(part)) t.true(part.bytes <= inlineThresholdBytes)
    if (inlineThresholdBytes === 16_384) t.true(chains.flat().every(isInline))
  }
})

test('local copies of what is stored serve a snapshot of changes that is not', async t => {
  let throws = false
  const { world, asked, manifests, checkpointed, ends } = jobWith(
    { incremental: true, localRecovery: true, inlineThresholdBytes: changesBytes },
    {},
    () => {
      if (!throws) return
      throws = false
      throw new Error('once')
    },
  )
  const isMixed = (): boolean =>
    [...manifests.values()].at(-1)?.parts.some(part => {
      const [base, ...changes] = chainOf(part)
      return base !== undefined && !isInline(base) && changes.some(isInline)
    }) ?? false
  await checkpointed(2)
  await world.time.run('changes in the manifest of what is stored', isMixed)
  throws = true
  await ends(t)
  t.deepEqual(generations(world), [1, 2])
  t.deepEqual(
    asked.filter(request => request.startsWith('read ')),
    [],
  )
})

test('a snapshot that was damaged in its manifest fails the restore, and is named', async t => {
  const { world, checkpointed } = jobWith({ inlineThresholdBytes: 16_384 })
  await checkpointed()
  const { latest = 0 } = world.redis.metas.get(world.plan.job) ?? {}
  const key = manifestKey(world.plan.job, latest)
  const manifest = world.redis.manifests.get(key)
  if (manifest === undefined) return t.fail()
  const parts = manifest.parts.map(part =>
    part.subtask === 'counts/0' ? { ...part, inline: ['AAAA'] } : part,
  )
  world.redis.manifests.set(key, { ...manifest, parts })
  world.kill('left/0')
  const { status, reason } = await world.untilEnded()
  t.is(status, 'failed')
  t.regex(reason ?? '', /the snapshot of "counts\/0" in the manifest of checkpoint \d+ is damaged/)
})

// --- real servers -------------------------------------------------------------------------------

const all = numbers(400)
const early = 200
const texts = (some: readonly unknown[]) => some.map(record => JSON.stringify(record))

const settingsOf = (more: Readonly<Record<string, string | number>> = {}) => ({
  JOB: uniqueName('inline'),
  IN: uniqueName('IN'),
  OUT: uniqueName('OUT'),
  SUBJECT: uniqueName('out'),
  END: all.length,
  INTERVAL_MS: 100,
  INLINE_THRESHOLD_BYTES: 16_384,
  ...more,
})
type Settings = ReturnType<typeof settingsOf>

const prepared = async (t: ExecutionContext, settings: Settings) => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const redis = openRedis(t, servers.redisUrl)
  await streamOf(nats, settings.IN, all.slice(0, early))
  const release = () => publish(nats, settings.IN, texts(all.slice(early)))
  return { servers, nats, redis, release }
}

/** Kills a worker after some checkpoints, and lets the job come to its end. */
const survive = async (t: ExecutionContext, up: Cli, release: () => Promise<void>) => {
  await untilNoted(up, 'checkpoint-completed', 3)
  process.kill(await pidOf(up, 'counts/1'), 'SIGKILL')
  await untilNoted(up, 'running', 2)
  await release()
  t.is((await exitOf(up)).code, 0)
}

const partKeys = async (redis: Parameters<typeof jobKeys>[0], job: string) =>
  [...(await jobKeys(redis, job)).keys()].filter(key => key.includes(':part:'))

test('redis: no key is written for a small snapshot, and sluice checkpoints says where it is', async t => {
  const settings = settingsOf()
  const { servers, nats, redis, release } = await prepared(t, settings)
  const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  await untilNoted(up, 'checkpoint-completed', 3)
  t.deepEqual(await partKeys(redis, settings.JOB), [])
  await survive(t, up, release)
  await assertCounted(t, nats, settings.OUT, all)
  const shown = await runCli(t, ['checkpoints', settings.JOB, '--json'], { servers })
  const { checkpoints }: { checkpoints: readonly Record<string, unknown>[] } = JSON.parse(
    shown.stdout,
  )
  const completed = checkpoints.filter(({ status }) => status === 'completed')
  t.true(completed.length >= 3)
  for (const entry of completed) {
    t.true(Number(entry.inlineBytes) > 0)
    t.is(entry.inlineBytes, entry.writtenBytes)
  }
  const { stdout } = await runCli(t, ['checkpoints', settings.JOB], { servers })
  t.regex(stdout, /\nid +status +triggered +took +state +written +inline +slowest +reason\n/)
  t.regex(stdout, / completed, kept +\S+ +\d+ ms +(\d+ B) +\1 +\1 +/)
})

test('redis: a snapshot above the threshold has its key, as ever', async t => {
  const settings = settingsOf({ INLINE_THRESHOLD_BYTES: 1 })
  const { servers, nats, redis, release } = await prepared(t, settings)
  const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  await untilNoted(up, 'checkpoint-completed', 3)
  t.true((await partKeys(redis, settings.JOB)).length >= 4)
  await survive(t, up, release)
  await assertCounted(t, nats, settings.OUT, all)
})

test('fs: no file is written for a small snapshot', async t => {
  const folder = join(await newFolder(t), 'state')
  const backend: StateBackendOptions = { type: 'fs', folder }
  const settings = settingsOf({ BACKEND: JSON.stringify(backend) })
  const { servers, nats, redis, release } = await prepared(t, settings)
  const up = startCli(t, ['up', jobFile('counts-backend'), '--json'], { servers, settings })
  await untilNoted(up, 'checkpoint-completed', 3)
  const names = await readdir(folder, { recursive: true })
  t.deepEqual(
    names.filter(name => /\.(part|tmp)$/.test(name)),
    [],
  )
  t.deepEqual(await partKeys(redis, settings.JOB), [])
  await survive(t, up, release)
  await assertCounted(t, nats, settings.OUT, all)
})

test('memory: a worker that was killed is restored from its orders', async t => {
  const settings = settingsOf()
  const { servers, nats, release } = await prepared(t, settings)
  const env = { NATS_URL: servers.natsUrl, REDIS_URL: '' }
  const up = startCli(t, ['up', jobFile('counts'), '--json'], { env, settings })
  await survive(t, up, release)
  await assertCounted(t, nats, settings.OUT, all)
})

test('a job goes on with another threshold than before, lower or higher', async t => {
  const settings = settingsOf()
  const { servers, nats, redis, release } = await prepared(t, settings)
  for (const threshold of [0, 16_384, 0]) {
    const changed = { ...settings, INLINE_THRESHOLD_BYTES: threshold }
    const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings: changed })
    await untilNoted(up, 'checkpoint-completed', 2)
    const [latest] = await keptOf(redis, settings.JOB)
    t.true(latest?.parts.every(part => isInline(part) === threshold > 0))
    up.signal('SIGKILL')
    await exitOf(up)
  }
  await release()
  const last = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  t.is((await exitOf(last)).code, 0)
  await assertCounted(t, nats, settings.OUT, all)
})

test('--from: what is in the manifest comes along, and the old job is needed no more', async t => {
  const settings = settingsOf({ END: 'none', RETENTION: 'retain-on-cancellation' })
  const { servers, nats, redis, release } = await prepared(t, settings)
  const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  await eventually('everything is put out', async () => {
    return (await messagesOf(nats, settings.OUT)).length >= early
  })
  await untilNoted(up, 'checkpoint-completed', 3)
  t.is((await runCli(t, ['cancel', settings.JOB], { servers })).code, 0)
  t.is((await exitOf(up)).code, 0)
  const [source] = await keptOf(redis, settings.JOB)
  t.true(source?.parts.every(isInline))
  const next = { ...settings, JOB: uniqueName('next'), INTERVAL_MS: 3_600_000 }
  const from = ['up', jobFile('counts'), '--json', '--from', settings.JOB]
  const copied = startCli(t, from, { servers, settings: next })
  await untilNoted(copied, 'running')
  const [copy] = await keptOf(redis, next.JOB)
  t.deepEqual(
    copy?.parts.map(({ inline }) => inline),
    source?.parts.map(({ inline }) => inline),
  )
  for (const part of copy?.parts ?? []) t.is(await redis.exists(partKey(next.JOB, part)), 0)
  await redis.del(...(await jobKeys(redis, settings.JOB)).keys())
  copied.signal('SIGKILL')
  await exitOf(copied)
  await release()
  const again = { ...next, INTERVAL_MS: 100, INLINE_THRESHOLD_BYTES: 0 }
  const last = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings: again })
  await eventually('the rest is put out', async () => {
    return (await messagesOf(nats, settings.OUT)).length >= all.length
  })
  last.signal('SIGINT')
  t.is((await exitOf(last)).code, 0)
  await assertCounted(t, nats, settings.OUT, all)
})
