/** The history of checkpoints: what each took, by subtask; why one failed; kept in Redis, bounded, for people. */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as codec from 'io-ts'
import { historyKey } from '../../lib/adapters/redis/keys.js'
import { exitOf, runCli, startCli, untilNoted } from '../support/cli.js'
import { jobFile, openRedis, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

test.before('start the servers', async () => {
  await sharedServers()
})

const Entry = codec.intersection([
  codec.type({
    epoch: codec.number,
    status: codec.string,
    triggeredAt: codec.number,
    durationMs: codec.number,
    bytes: codec.number,
  }),
  codec.partial({
    reason: codec.string,
    writtenBytes: codec.number,
    subtasks: codec.array(
      codec.type({
        subtask: codec.string,
        bytes: codec.number,
        writtenBytes: codec.number,
        alignmentMs: codec.number,
        syncMs: codec.number,
        asyncMs: codec.number,
      }),
    ),
  }),
])
const Answer = codec.type({
  kept: codec.array(codec.type({ epoch: codec.number })),
  checkpoints: codec.array(Entry),
})

const settingsOf = (more: Readonly<Record<string, string | number>> = {}) => ({
  JOB: uniqueName('history'),
  OUT: uniqueName('OUT'),
  SUBJECT: uniqueName('out'),
  COUNT: 1e9,
  DELAY_MS: 1,
  INTERVAL_MS: 100,
  ...more,
})

/** Runs a job until it has said something so often, and stops it; answers when that was. */
const ranUntil = async (
  t: ExecutionContext,
  settings: ReturnType<typeof settingsOf>,
  note: string,
  times: number,
) => {
  const servers = await sharedServers()
  const startedAt = Date.now()
  const up = startCli(t, ['up', jobFile('bulk'), '--json'], { servers, settings })
  await untilNoted(up, note, times)
  up.signal('SIGINT')
  t.is((await exitOf(up)).code, 0)
  return { servers, startedAt, endedAt: Date.now() }
}

const answerOf = async (t: ExecutionContext, job: string) => {
  const servers = await sharedServers()
  const { code, stdout } = await runCli(t, ['checkpoints', job, '--json'], { servers })
  t.is(code, 0)
  const answer = Answer.decode(JSON.parse(stdout))
  return E.isRight(answer) ? answer.right : t.fail(stdout)
}

test.serial('it outlives the job’s processes, and names what each subtask took', async t => {
  const settings = settingsOf()
  const { startedAt, endedAt } = await ranUntil(t, settings, 'checkpoint-completed', 3)
  const { kept, checkpoints } = await answerOf(t, settings.JOB)
  const completed = checkpoints.filter(({ status }) => status === 'completed')
  t.true(completed.length >= 3)
  t.deepEqual(
    kept.map(({ epoch }) => epoch),
    [completed[0]?.epoch],
  )
  for (const { subtasks = [], ...entry } of completed) {
    t.deepEqual(subtasks.map(({ subtask }) => subtask).sort(), [
      'counts/0',
      'counts/1',
      'numbers/0',
      'out/0',
    ])
    t.true(entry.triggeredAt >= startedAt && entry.triggeredAt <= endedAt)
    t.true(entry.durationMs > 0 && entry.durationMs < endedAt - startedAt)
    t.true(entry.bytes > 0)
    t.is(
      entry.bytes,
      subtasks.reduce((sum, { bytes }) => sum + bytes, 0),
    )
    t.is(entry.writtenBytes, entry.bytes)
    t.true(subtasks.every(({ asyncMs }) => asyncMs > 0 && asyncMs <= entry.durationMs))
    t.true(subtasks.every(({ syncMs, alignmentMs }) => syncMs >= 0 && alignmentMs >= 0))
  }
})

test.serial('an attempt that timed out names the subtasks that did not report', async t => {
  // Attempts that expire must not end the job: a decline is no failure of it.
  const settings = settingsOf({ TIMEOUT_MS: 10, ON_CHECKPOINT_ERROR: 'decline', DELAY_MS: 30 })
  await ranUntil(t, settings, 'checkpoint-aborted', 1)
  const { checkpoints } = await answerOf(t, settings.JOB)
  const aborted = checkpoints.find(({ status }) => status === 'aborted')
  t.regex(aborted?.reason ?? '', /^timed-out: no report from .*\w\/\d/)
})

test.serial('the table and the details are for people', async t => {
  const settings = settingsOf()
  const { servers } = await ranUntil(t, settings, 'checkpoint-completed', 3)
  const table = await runCli(t, ['checkpoints', settings.JOB], { servers })
  t.is(table.code, 0)
  const [head = '', titles = '', ...rows] = table.stdout.trimEnd().split('\n')
  const newest = Number(/keeps (\d+)$/.exec(head)?.[1])
  t.is(titles.trim(), titles)
  t.deepEqual(titles.split(/ +/), [
    ...['id', 'status', 'triggered', 'took', 'state', 'written', 'inline', 'slowest', 'reason'],
  ])
  t.true(rows.some(row => row.startsWith(`${newest} `) && row.includes('completed, kept')))
  t.true(rows.length >= 3)

  const details = await runCli(t, ['checkpoints', settings.JOB, String(newest)], { servers })
  t.is(details.code, 0)
  t.regex(details.stdout, new RegExp(`^checkpoint ${newest} of job '.*': completed, kept\n`))
  t.regex(details.stdout, /\nsubtask +state +written +inline +alignment +sync +async\n/)
  for (const subtask of ['counts/0', 'counts/1', 'numbers/0'])
    t.regex(
      details.stdout,
      new RegExp(`\n${subtask} +\\d+ B +\\d+ B +0 B +\\d+ ms +\\d+ ms +\\d+ ms`),
    )
})

test.serial('it holds no more than historyMax, and reads what older versions wrote', async t => {
  const settings = settingsOf({ LIMITS: JSON.stringify({ historyMax: 3 }) })
  const { servers } = await ranUntil(t, settings, 'checkpoint-completed', 6)
  t.is((await answerOf(t, settings.JOB)).checkpoints.length, 3)
  const redis = openRedis(t, servers.redisUrl)
  const old = {
    epoch: 1,
    generation: 1,
    status: 'aborted',
    triggeredAt: 1_700_000_000_000,
    durationMs: 12,
    bytes: 0,
    reason: 'declined: counts/0: no space',
  }
  await redis.lpush(historyKey(settings.JOB), JSON.stringify(old))
  const { checkpoints } = await answerOf(t, settings.JOB)
  t.like(checkpoints[0], { epoch: 1, reason: 'declined: counts/0: no space' })
  const { code, stdout } = await runCli(t, ['checkpoints', settings.JOB], { servers })
  t.is(code, 0)
  t.regex(stdout, /\n1 +aborted +2023-\S+ +12 ms +0 B +- +0 B +- +declined: counts\/0: no space\n/)
})

test.serial('a job or a checkpoint that nobody knows is named', async t => {
  const settings = settingsOf()
  const { servers } = await ranUntil(t, settings, 'checkpoint-completed', 1)
  const nobody = await runCli(t, ['checkpoints', uniqueName('nobody')], { servers })
  t.is(nobody.code, 1)
  t.regex(nobody.stderr, /there is no job 'nobody-/)
  const none = await runCli(t, ['checkpoints', settings.JOB, '9999'], { servers })
  t.is(none.code, 1)
  t.regex(none.stderr, /has no checkpoint 9999/)
})
