/** A job whose processes are started one by one, as on several machines. */
import test from 'ava'
import {
  eventually,
  exitOf,
  gone,
  notesOf,
  refusalOf,
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
import { sharedServers } from '../support/servers.js'

const counts = jobFile('counts')

test.before('start the servers', async () => {
  await sharedServers()
})

const settingsOf = (stem: string) => ({
  JOB: uniqueName(stem),
  IN: uniqueName('IN'),
  OUT: uniqueName('OUT'),
  SUBJECT: uniqueName('out'),
})

test.serial(
  'a coordinator and workers of both kinds run a job to its end, through a killed coordinator',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const settings = settingsOf('by-hand')
    const { JOB: job } = settings
    const records = numbers(900)
    await streamOf(nats, settings.IN, records.slice(0, 600))
    const options = { servers, settings: { ...settings, END: records.length } }

    const first = startCli(t, ['coordinator', counts, '--json'], options)
    await eventually('it says what it waits for', () =>
      first
        .events()
        .find(e =>
          JSON.stringify(e).includes('"waiting":["numbers/0","counts/0","counts/1","out/0"]'),
        ),
    )
    const only = startCli(t, ['worker', counts, '--only', 'counts/1', '--json'], options)
    const slots = startCli(t, ['worker', counts, '--slots', '2', '--json'], options)
    await eventually('it waits for one more slot', () =>
      first.events().find(e => /"waiting":\["[a-z]+\/0"\]/.test(JSON.stringify(e))),
    )
    const one = startCli(t, ['worker', counts, '--json'], options)
    await untilNoted(first, 'checkpoint-completed')

    first.signal('SIGKILL')
    await exitOf(first)
    const second = startCli(t, ['coordinator', counts, '--json'], options)
    const { facts } = await untilNoted(second, 'generation-begun')
    t.like(facts, { generation: 2 })
    t.regex(String(notesOf(second, 'generation-begun')[0]?.text), /starts from checkpoint \d+/)
    await untilNoted(second, 'checkpoint-completed')

    const running = await runCli(t, ['status', job, '--json'], { servers })
    t.is(running.code, 0)
    const { jobs } = JSON.parse(running.stdout)
    t.is(jobs.length, 1)
    t.like(jobs[0], { job, status: 'running', generation: 2, held: true, cancelRequested: false })
    t.true(jobs[0].checkpoint.epoch >= 1 && jobs[0].checkpoint.bytes > 0)

    await publish(
      nats,
      settings.IN,
      records.slice(600).map(record => JSON.stringify(record)),
    )
    const rest = records.slice(600).map(record => JSON.stringify(record))
    await publish(nats, settings.IN, rest)
    for (const cli of [second, only, slots, one]) t.is((await exitOf(cli)).code, 0)
    t.regex(second.stdout(), /"type":"result".*"status":"finished"/)
    await assertCounted(t, nats, settings.OUT, records)

    const plain = await runCli(t, ['status'], { servers })
    t.is(plain.code, 0)
    t.regex(
      plain.stdout,
      new RegExp(`^${job}: finished · generation 2 · checkpoint \\d+ of \\d{4}-`, 'm'),
    )
  },
)

test.serial(
  'a coordinator that was stopped and woke up after its successor leaves without effect',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const redis = openRedis(t, servers.redisUrl)
    const settings = { ...settingsOf('sleeper'), END: 'none' }
    const records = numbers(300)
    await streamOf(nats, settings.IN, records)
    const options = { servers, settings }
    const sleeper = startCli(t, ['coordinator', counts, '--json'], options)
    startCli(t, ['worker', counts, '--slots', '4', '--json'], options)
    await untilNoted(sleeper, 'checkpoint-completed')

    sleeper.signal('SIGSTOP')
    const successor = startCli(t, ['coordinator', counts, '--json'], options)
    await untilNoted(successor, 'checkpoint-completed')
    sleeper.signal('SIGCONT')
    const { code, stdout } = await exitOf(sleeper)
    t.is(code, 3)
    t.regex(stdout, /another coordinator owns job .* now/)

    const before = notesOf(successor, 'checkpoint-completed').length
    await untilNoted(successor, 'checkpoint-completed', before + 2)
    t.is(notesOf(successor, 'generation-begun').length, 1)
    await eventually('everything is put out', async () => {
      return (await messagesOf(nats, settings.OUT)).length >= records.length
    })
    await assertCounted(t, nats, settings.OUT, records)
    const cancel = await runCli(t, ['cancel', settings.JOB], { servers })
    t.is(cancel.code, 0)
    t.is(cancel.stdout, `job '${settings.JOB}' is canceled\n`)
    t.is((await exitOf(successor)).code, 0)
    const kept = [...(await jobKeys(redis, settings.JOB))].filter(([, ttl]) => ttl === -1)
    t.deepEqual(kept, [])
    const again = await refusalOf(t, ['cancel', settings.JOB], { servers })
    t.regex(again.message, /has ended already/)
  },
)

test.serial(
  'a worker with another version of the job gets nothing to do and is told apart',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const settings = { ...settingsOf('versions'), END: 'none' }
    await streamOf(nats, settings.IN, numbers(10))
    const coordinator = startCli(t, ['coordinator', counts, '--json'], { servers, settings })
    startCli(t, ['worker', counts, '--slots', '4'], {
      servers,
      settings: { ...settings, STATE: 'Renamed' },
    })
    const note = await untilNoted(coordinator, 'worker-joined')
    t.like(note.facts, { fits: false })
    t.regex(String(note.text), /has loaded another version of the job and gets nothing to do/)
    startCli(t, ['worker', counts, '--slots', '4'], { servers, settings })
    await untilNoted(coordinator, 'checkpoint-completed')
    coordinator.signal('SIGTERM')
    t.is((await exitOf(coordinator)).code, 0)
    await gone(coordinator)
  },
)
