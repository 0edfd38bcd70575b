/** `sluice checkpoint <job>`: a checkpoint when a person wants it. */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { answerSubject } from '../../lib/protocol/addresses.js'
import { CheckpointedWorld, endlessJob } from '../support/checkpointed-job.js'
import { exitOf, pidOf, refusalOf, runCli, startCli, untilNoted } from '../support/cli.js'
import { jobFile, numbers, openNats, streamOf, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'
import { goOn, stop } from '../support/stopped.js'

/** A checkpoint at the start, and after that none for an hour. */
const rare = { intervalMs: 3_600_000, minPauseMs: 3_600_000 } as const

const idle = async (more = {}): Promise<CheckpointedWorld> => {
  const world = new CheckpointedWorld({ job: endlessJob({ ...rare, ...more }) })
  world.start()
  await world.until('checkpoint-completed')
  return world
}

const reasonOf = (answer: Awaited<ReturnType<CheckpointedWorld['asked']>>): string =>
  E.isLeft(answer) ? `${answer.left.type}: ${answer.left.message}` : 'it completed'

test('it is taken at once, whatever interval and pause, and the answer is its id, duration and size', async t => {
  const world = await idle()
  const answer = await world.asked('one')
  const [, entry] = world.completed
  if (E.isLeft(answer) || entry === undefined) return t.fail(reasonOf(answer))
  const { epoch, durationMs, bytes } = answer.right
  t.deepEqual([epoch, bytes], [2, entry.bytes])
  t.true(durationMs > 0 && durationMs < 100)
  t.like(await world.asked('two'), { right: { epoch: 3 } })
})

test('it waits for a slot: one that is under way has begun too early to be what was asked for', async t => {
  const world = await idle()
  world.fate = ({ epoch }) => (epoch === 2 ? { afterMs: 500 } : undefined)
  const answers: unknown[] = []
  for (const request of ['first', 'second', 'third']) {
    void world.checkpoint(request).then(answer => answers.push(E.isRight(answer) && answer.right))
    await world.time.pass(50)
  }
  await world.time.run('three answers', () => answers.length === 3)
  t.like(answers, [{ epoch: 2 }, { epoch: 3 }, { epoch: 3 }])
  t.is(world.completed.length, 3)
})

test('requests and answers that are lost or doubled make one checkpoint', async t => {
  const world = await idle()
  const answers = answerSubject(world.plan.job, 'faint')
  let said = 0
  let final = 0
  world.office.fate = (subject, payload) => {
    const text = new TextDecoder().decode(payload)
    if (text.includes('checkpoint-request')) {
      said += 1
      return said % 3 === 0 ? [0, 3] : []
    }
    // Most of all the last word is lost, several times.
    if (subject !== answers || !text.includes('completed')) return [0]
    final += 1
    return final > 3 ? [0] : []
  }
  t.like(await world.asked('faint'), { right: { epoch: 2 } })
  t.true(final > 3)
  await world.time.pass(5_000)
  t.is(world.completed.length, 2)
})

test('one that is aborted is told with the reason', async t => {
  const world = await idle({ onCheckpointError: 'decline' })
  world.fate = () => ({ refuses: true })
  t.regex(
    reasonOf(await world.asked('refused')),
    /^conflict: checkpoint 2 of job 'endless' was aborted: declined: [\w/]+: no room$/,
  )
})

test('one that dies with its generation is told so; and a job that restarts refuses', async t => {
  const world = await idle()
  world.fate = () => ({ afterMs: 5_000 })
  let answer: Awaited<ReturnType<CheckpointedWorld['asked']>> | undefined
  void world.checkpoint('doomed').then(got => {
    answer = got
  })
  await world.time.pass(100)
  world.kill('counts/0')
  await world.time.run('the answer', () => answer !== undefined)
  t.regex(
    reasonOf(answer ?? E.right({ type: 'completed', epoch: 0, durationMs: 0, bytes: 0 })),
    /checkpoint 2 .* was aborted: its generation ended: counts\/0 lost its worker: killed/,
  )
  t.regex(reasonOf(await world.asked('early')), /not running now: it is restarting/)
  world.fate = () => undefined
  await world.until('running', 2)
  t.like(await world.asked('after'), { right: { type: 'completed' } })
})

test('a job without checkpoints refuses, and says why', async t => {
  const world = new CheckpointedWorld({ job: endlessJob() })
  world.start()
  await world.until('running')
  t.regex(reasonOf(await world.asked('vain')), /takes no checkpoints: its sinks publish at once/)
  t.deepEqual(world.history, [])
})

test('a coordinator that does not answer is named within seconds; one that takes long is given up', async t => {
  const world = await idle()
  world.fate = () => ({ afterMs: 60_000 })
  t.regex(
    reasonOf(await world.asked('slow', 3_000)),
    /^timed-out: checkpoint 2 of job 'endless' is still under way after 3000 ms/,
  )
  world.processes.get('coordinator')?.freeze()
  const since = world.time.now
  t.regex(
    reasonOf(await world.asked('silent')),
    /^unavailable: the coordinator .* has not answered/,
  )
  t.true(world.time.now - since < 11_000)
})

test('its failure counts like any other', async t => {
  const world = await idle()
  world.fate = ({ epoch }) => (epoch === 2 ? { refuses: true } : undefined)
  t.regex(reasonOf(await world.asked('refused')), /was aborted: declined/)
  await world.until('running', 2)
  t.regex(world.noted('failed')[0]?.reason ?? '', /^checkpoint 2 was aborted \(declined\)/)
})

const runningJob = async (t: ExecutionContext) => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const name = uniqueName('by-hand')
  const settings = {
    ...{ JOB: name, IN: uniqueName('IN'), OUT: uniqueName('OUT'), SUBJECT: name, END: 'none' },
    ...{ INTERVAL_MS: 3_600_000, LIMITS: JSON.stringify({ heartbeatTimeoutMs: 60_000 }) },
  }
  await streamOf(nats, settings.IN, numbers(200))
  const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  await untilNoted(up, 'checkpoint-completed')
  return { servers, name, up }
}

test.serial('the command prints the checkpoint, for people and for programs', async t => {
  const { servers, name, up } = await runningJob(t)
  const json = await runCli(t, ['checkpoint', name, '--json'], { servers })
  t.is(json.code, 0, json.stdout)
  const { type, job, epoch, durationMs, bytes } = JSON.parse(json.stdout)
  t.deepEqual({ type, job, epoch }, { type: 'result', job: name, epoch: 2 })
  t.true(durationMs > 0 && bytes > 0)
  const text = await runCli(t, ['checkpoint', name], { servers })
  t.is(text.code, 0)
  t.regex(text.stdout, /^checkpoint 3 of job '.*' completed in \d+ ms, \d+ bytes\n$/)
  await untilNoted(up, 'checkpoint-completed', 3)
})

test.serial('the command gives up where a subtask hangs, and the checkpoint goes on', async t => {
  const { servers, name, up } = await runningJob(t)
  const hung = await pidOf(up, 'counts/1')
  await stop(hung)
  const refusal = await refusalOf(t, ['checkpoint', name, '--timeout-ms', '1000'], { servers })
  t.is(refusal.type, 'timed-out')
  t.regex(refusal.message, /checkpoint 2 of job .* is still under way after 1000 ms/)
  goOn(hung)
  await untilNoted(up, 'checkpoint-completed', 2)
})

test.serial('the command refuses a job that nobody knows, runs or can run', async t => {
  const { servers, name, up } = await runningJob(t)
  const unknown = await refusalOf(t, ['checkpoint', 'nobody'], { servers })
  t.deepEqual(
    [unknown.type, unknown.message],
    ['missing', "there is no job 'nobody' in this Redis"],
  )
  up.signal('SIGINT')
  t.is((await exitOf(up)).code, 0)
  const stopped = await refusalOf(t, ['checkpoint', name], { servers })
  t.regex(stopped.message, /does not run: no coordinator holds it/)
  const asked = await runCli(t, ['cancel', name, '--timeout-ms', '1'], { servers })
  t.is(asked.code, 1)
  const again = await refusalOf(t, ['checkpoint', name], { servers })
  t.is(again.type, 'conflict')
})
