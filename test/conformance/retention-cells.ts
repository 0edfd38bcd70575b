/** Retention × end of a job, cell by cell, on real processes; once for every place that keeps parts. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Redis } from 'ioredis'
import { leaseKey, manifestKey, metaKey } from '../../lib/adapters/redis/keys.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import { endedTtlMs, failedTtlMs } from '../../lib/protocol/retention.js'
import { newFolder } from '../adapters/fs/folder.js'
import { type Addresses, type Cli, exitOf, runCli, startCli, untilNoted } from '../support/cli.js'
import { jobFile, openRedis, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'
import { keptOf, ttlOf } from './kept.js'

/** What became of a part: it is there for ever, or for so many milliseconds, or not at all (0). */
export type PartFate = 'kept' | number

/** Where a job's parts are, and how a test looks at them. */
export interface CellBackend {
  readonly name: string
  /** Settings of the job files in `test/support/jobs`, for this test. */
  settings(t: ExecutionContext): Promise<Readonly<Record<string, string | number>>>
  /** The fate of every part of a checkpoint. */
  fates(t: ExecutionContext, redis: Redis, manifest: Manifest): Promise<readonly PartFate[]>
}

const retentions = ['none', 'delete-on-cancellation', 'retain-on-cancellation'] as const
const ends = ['finished', 'canceled', 'failed', 'suspended'] as const
type Retention = (typeof retentions)[number]
type End = (typeof ends)[number]

/** Flink's matrix, with its column for a store that is durable. */
const matrix: Readonly<Record<Retention, Readonly<Record<End, 'deleted' | 'kept'>>>> = {
  none: { finished: 'deleted', canceled: 'deleted', failed: 'deleted', suspended: 'kept' },
  'delete-on-cancellation': {
    finished: 'deleted',
    canceled: 'deleted',
    failed: 'kept',
    suspended: 'kept',
  },
  'retain-on-cancellation': {
    finished: 'deleted',
    canceled: 'kept',
    failed: 'kept',
    suspended: 'kept',
  },
}

/** Registers a test for every cell. */
export const retentionCells = (backend: CellBackend): void => {
  test.before('start the servers', async () => {
    await sharedServers()
  })
  for (const retention of retentions) {
    for (const end of ends) {
      const verdict = matrix[retention][end]
      const title = `${backend.name}: retention ${retention}, ${end}: checkpoints are ${verdict}`
      test.serial(title, t => checkCell(t, backend, retention, end))
    }
  }
}

const numRetained = 2

const checkCell = async (
  t: ExecutionContext,
  backend: CellBackend,
  retention: Retention,
  end: End,
): Promise<void> => {
  const servers = await sharedServers()
  const redis = openRedis(t, servers.redisUrl)
  const job = uniqueName('cell')
  await runUntilEnd(t, servers, end, {
    JOB: job,
    OUT: uniqueName('OUT'),
    SUBJECT: uniqueName('out'),
    PARALLELISM: 1,
    INTERVAL_MS: 100,
    RETENTION: retention,
    NUM_RETAINED: numRetained,
    ...(await backend.settings(t)),
  })
  const status = await redis.hget(metaKey(job), 'status')
  if (end === 'suspended') t.true(status === 'running', `${status}`)
  else t.is(status, end)
  t.is(await redis.exists(leaseKey(job)), 0)
  const kept = await keptOf(redis, job)
  t.is(kept.length, numRetained)
  for (const manifest of kept) {
    const fates = await backend.fates(t, redis, manifest)
    t.is(fates.length, manifest.parts.length)
    t.is(manifest.parts.length, 2)
    const manifestFate = await ttlOf(redis, manifestKey(job, manifest.epoch))
    for (const fate of [manifestFate, ...fates]) checkFate(t, retention, end, fate)
  }
  checkFate(t, retention, end, await ttlOf(redis, metaKey(job)))
}

const checkFate = (t: ExecutionContext, retention: Retention, end: End, fate: PartFate): void => {
  if (matrix[retention][end] === 'kept') return void t.is(fate, 'kept')
  const ttlMs = end === 'failed' ? failedTtlMs : endedTtlMs
  t.true(fate !== 'kept' && fate <= ttlMs, `${fate}`)
}

type Settings = Readonly<Record<string, string | number>>

/** Runs a job to its end in several checkpoints; a failure is one that no restart mends. */
const runUntilEnd = async (
  t: ExecutionContext,
  servers: Addresses,
  end: End,
  settings: Settings,
): Promise<void> => {
  const endFile = join(await newFolder(t), 'end')
  const more = { ...settings, COUNT: 1e9, DELAY_MS: 1, END_FILE: endFile }
  const up = startCli(t, ['up', jobFile('bulk'), '--json'], { servers, settings: more })
  await untilNoted(up, 'checkpoint-completed', numRetained + 1)
  switch (end) {
    case 'finished':
      await writeFile(endFile, '')
      t.is((await exitOf(up)).code, 0)
      return
    case 'canceled':
      t.is((await runCli(t, ['cancel', String(settings.JOB)], { servers })).code, 0)
      t.is((await exitOf(up)).code, 0)
      return
    case 'suspended':
      return suspend(t, up)
    case 'failed': {
      await suspend(t, up)
      // With other subtasks than those of the checkpoint.
      const options = { servers, settings: { ...more, PARALLELISM: 2 } }
      t.is((await runCli(t, ['up', jobFile('bulk'), '--json'], options)).code, 1)
    }
  }
}

const suspend = async (t: ExecutionContext, up: Cli): Promise<void> => {
  up.signal('SIGINT')
  t.is((await exitOf(up)).code, 0)
}
