/**
 * A sink that is slower than its source slows the source: memory stays flat, checkpoints complete.
 *
 * `SLUICE_SLOW_SINK_SECONDS` sets for how long it is watched after the warm-up; 16 unless given.
 */
import { execFile } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import test from 'ava'
import {
  type Cli,
  eventually,
  exitOf,
  notesOf,
  runCli,
  startCli,
  untilNoted,
} from '../support/cli.js'
import { jobFile, openNats, uniqueName } from '../support/jobs.js'
import { done, withServers } from '../support/servers.js'

const watchedMs = Number(process.env.SLUICE_SLOW_SINK_SECONDS ?? 16) * 1_000
const warmUpMs = 6_000
const sampleEveryMs = 250
const growthMax = 1.2
/** What the channel and the batches on both its ends may hold, at this job's size of a record. */
const recordsAheadMax = 40_000

const run = promisify(execFile)

/** Resident memory of processes, in mebibytes. */
const residentOf = async (pids: readonly number[]): Promise<readonly number[]> => {
  const { stdout } = await run('ps', ['-o', 'pid=,rss=', '-p', pids.join(',')])
  const sizes = new Map(
    stdout
      .trim()
      .split('\n')
      .map(line => line.trim().split(/\s+/).map(Number))
      .map(([pid, kib]) => [pid ?? 0, (kib ?? 0) / 1024]),
  )
  return pids.map(pid => sizes.get(pid) ?? 0)
}

const recordsOf = (cli: Cli): number => {
  const last = cli.events().findLast(({ type }) => type === 'progress')
  return Number(JSON.parse(JSON.stringify(last)).progress.records)
}

test('a sink of one millisecond per record holds back a fast source, and no process grows', async t => {
  const servers = await withServers(t)
  const nats = await openNats(t, servers.natsUrl)
  const manager = await nats.jetstreamManager()
  const [job, out] = [uniqueName('slow'), uniqueName('OUT')]
  const settings = { JOB: job, OUT: out, SUBJECT: job, COUNT: 1e9, PARALLELISM: 1, DELAY_MS: 1 }
  const up = startCli(t, ['up', jobFile('bulk'), '--json'], {
    servers,
    settings: { ...settings, INTERVAL_MS: 500 },
  })
  await untilNoted(up, 'checkpoint-completed')
  await delay(warmUpMs)
  const { keeper: _keeper, ...serverPids } = await done(servers.pids())
  const processes = [['up', up.pid] as const, ...up.processes(), ...Object.entries(serverPids)]
  const pids = processes.map(([, pid]) => pid)
  const completed = notesOf(up, 'checkpoint-completed').length
  const publishedBefore = (await manager.streams.info(out)).state.messages

  const samples: (readonly number[])[] = []
  const until = performance.now() + watchedMs
  while (performance.now() < until) {
    samples.push(await residentOf(pids))
    await delay(sampleEveryMs)
  }

  for (const [i, [name]] of processes.entries()) {
    const sizes = samples.map(sample => sample[i] ?? 0)
    const [low, high] = [Math.min(...sizes), Math.max(...sizes)]
    const [first, last] = [sizes[0] ?? 0, sizes.at(-1) ?? 0]
    const mib = [first, last, low, high].map(Math.round)
    t.log(`${name}: first ${mib[0]} MiB, last ${mib[1]}, lowest ${mib[2]}, highest ${mib[3]}`)
  }
  t.log(
    samples.length,
    growthMax,
    recordsAheadMax,
    recordsOf(up),
    completed,
    publishedBefore,
    (await manager.streams.info(out)).state.messages,
    notesOf(up, 'checkpoint-completed').at(-1)?.text,
  )
  t.log(notesOf(up, 'checkpoint-completed').length)
  const cancel = await runCli(t, ['cancel', job], { servers })
  t.is(cancel.code, 0)
  t.is((await exitOf(up)).code, 0)
  await eventually('x', () => true)
})
