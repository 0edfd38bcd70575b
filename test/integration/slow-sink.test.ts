/**
 * A sink that is slower than its source slows the source: memory stays flat, checkpoints complete.
 *
 * `SLUICE_SLOW_SINK_SECONDS` says for how long it is watched after the warm-up; 16 unless given.
 */
import { setTimeout as delay } from 'node:timers/promises'
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
import { residentOf } from '../support/resident.js'
import { done, withServers } from '../support/servers.js'

const watchedMs = Number(process.env.SLUICE_SLOW_SINK_SECONDS ?? 16) * 1_000
/** Checkpoints after which code and heap have settled. */
const warmUpCheckpoints = 12
/** nats-server holds the block that it fills in memory: its memory has settled after the first. */
const warmUpBytes = 8 * 1024 * 1024
const sampleEveryMs = 250
const growthMax = 1.2
/** About two seconds of work: what the channel and the batches at both its ends may hold. */
const recordsAheadMax = 2_000

/** Records that all subtasks have taken: each one once by the source and once by the actor. */
const recordsOf = (cli: Cli): number => {
  const last = cli.events().findLast(({ type }) => type === 'progress')
  return JSON.parse(JSON.stringify(last)).progress.records
}

test('a sink of a millisecond per record holds back a fast source, and no process grows', async t => {
  const servers = await withServers(t)
  const nats = await openNats(t, servers.natsUrl)
  const manager = await nats.jetstreamManager()
  const [job, out] = [uniqueName('slow'), uniqueName('OUT')]
  const settings = { JOB: job, OUT: out, SUBJECT: job, COUNT: 1e9, PARALLELISM: 1, DELAY_MS: 1 }
  const up = startCli(t, ['up', jobFile('bulk'), '--json'], {
    servers,
    settings: { ...settings, INTERVAL_MS: 500 },
  })
  await untilNoted(up, 'checkpoint-completed', warmUpCheckpoints)
  await eventually(
    'the first block of the output is full',
    async () => (await manager.streams.info(out)).state.bytes > warmUpBytes,
    120_000,
  )
  const processes = new Map([['up', up.pid], ...up.processes()])
  const completedBefore = notesOf(up, 'checkpoint-completed').length

  const { nats: natsPid = 0, redis: redisPid = 0 } = await done(servers.pids())
  const watched = new Map([...processes, ['nats', natsPid], ['redis', redisPid]])
  const samples = new Map([...watched.keys()].map(name => [name, [] as number[]]))
  const until = performance.now() + watchedMs
  while (performance.now() < until) {
    const sizes = await residentOf([...watched.values()])
    for (const [name, pid] of watched) samples.get(name)?.push(sizes.get(pid) ?? 0)
    await delay(sampleEveryMs)
  }

  for (const [name, sizes] of samples) {
    // Against the whole first quarter, so that the moment of a garbage collection does not decide.
    const early = Math.max(...sizes.slice(0, sizes.length / 4))
    const highest = Math.max(...sizes)
    t.log(`${name}: at most ${early.toFixed(1)} MiB early, ${highest.toFixed(1)} MiB ever`)
    t.true(highest <= growthMax * early, name)
  }

  const completed = notesOf(up, 'checkpoint-completed').slice(completedBefore)
  const durations = completed.map(({ facts }) =>
    Number(JSON.parse(JSON.stringify(facts)).durationMs),
  )
  t.log(`${durations.length} checkpoints of at most ${Math.round(Math.max(...durations))} ms`)
  t.true(durations.length >= watchedMs / 4_000)

  // A checkpoint's end publishes all that was processed before it.
  const records = recordsOf(up)
  const published = await eventually('what was processed is published', async () => {
    const { messages } = (await manager.streams.info(out)).state
    return messages >= records / 2 - recordsAheadMax && messages
  })
  const ahead = records - 2 * published
  t.log(`${published} records put out, the source at most ${ahead} ahead`)
  t.true(ahead <= recordsAheadMax)

  t.is((await runCli(t, ['cancel', job], { servers })).code, 0)
  t.is((await exitOf(up)).code, 0)
  t.is(notesOf(up, 'generation-begun').length, 1)
})
