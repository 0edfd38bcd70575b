/** What cannot be done is refused in plain words: a sentence, what to do next, an exit code. */
import { join } from 'node:path'
import test from 'ava'
import { exitCodes } from '../../actors/ipc.js'
import { assertPlain, exitOf, refusalOf, runCli, startCli, untilNoted } from '../support/cli.js'
import { jobFile, numbers, openNats, streamOf, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

/** Nothing listens on port 1. */
const nowhere = { natsUrl: 'nats://127.0.0.1:1', redisUrl: 'redis://127.0.0.1:1' }

test.before('start the servers', async () => {
  await sharedServers()
})

test.serial('a second run of a running job is refused, and the first one goes on', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const name = uniqueName('taken')
  const settings = {
    JOB: name,
    IN: uniqueName('IN'),
    OUT: uniqueName('OUT'),
    END: 'none',
    SUBJECT: name,
  }
  await streamOf(nats, settings.IN, numbers(100))
  const first = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  await untilNoted(first, 'checkpoint-completed')
  const { type, message, next } = await refusalOf(t, ['up', jobFile('counts')], {
    servers,
    settings,
  })
  t.is(type, 'invalid')
  t.regex(message, new RegExp(`job '${name}' is already running`))
  t.regex(next ?? '', new RegExp(`sluice status ${name}.*sluice cancel ${name}`))
  const before = first.events().filter(e => e.name === 'checkpoint-completed').length
  await untilNoted(first, 'checkpoint-completed', before + 1)
  t.is(first.events().filter(e => e.name === 'generation-begun').length, 1)
  first.signal('SIGINT')
  t.is((await exitOf(first)).code, 0)
})

for (const command of ['up', 'coordinator', 'worker']) {
  test.serial(`${command}: a NATS server that is not there is named`, async t => {
    const { redisUrl } = await sharedServers()
    const servers = { natsUrl: nowhere.natsUrl, redisUrl }
    const refusal = await refusalOf(t, [command, jobFile('counts')], { servers })
    t.is(refusal.type, 'unavailable')
    t.regex(
      refusal.message,
      /NATS server at 127\.0\.0\.1:1 cannot be reached: nothing listens there/,
    )
    t.regex(refusal.next ?? '', /Start it/)
  })

  test.serial(`${command}: a Redis server that is not there is named`, async t => {
    const { natsUrl } = await sharedServers()
    const servers = { natsUrl, redisUrl: nowhere.redisUrl }
    const refusal = await refusalOf(t, [command, jobFile('counts')], { servers })
    t.is(refusal.type, 'unavailable')
    t.regex(refusal.message, /Redis at redis:\/\/127\.0\.0\.1:1 cannot be reached/)
    t.regex(refusal.next ?? '', /Start Redis there/)
  })
}

test.serial('a source whose stream does not exist ends the job', async t => {
  const servers = await sharedServers()
  const name = uniqueName('no-input')
  const settings = { JOB: name, IN: 'NOT_THERE', OUT: uniqueName('OUT'), SUBJECT: name }
  const { message } = await refusalOf(t, ['up', jobFile('counts'), '--fresh'], {
    servers,
    settings,
  })
  t.regex(message, /source 'numbers' reads stream 'NOT_THERE', which does not exist/)
  t.regex(message, /Create the stream 'NOT_THERE'/)
})

test.serial('a job file that does not exist is named', async t => {
  const file = join('no', 'such', 'job.ts')
  const { type, message } = await refusalOf(t, ['up', file], { servers: nowhere })
  t.is(type, 'invalid')
  t.is(message, `there is no job file '${file}'`)
})

test.serial('people read a sentence and what to do next, not JSON', async t => {
  const exit = await runCli(t, ['up', jobFile('not-a-job')], { servers: nowhere })
  assertPlain(t, exit)
  t.is(exit.stdout, '')
  t.regex(
    exit.stderr,
    /^sluice: '.*not-a-job\.js' does not export a job by default, .*\.\nEnd the file with: .*\n$/,
  )
})

test.serial('a file without a job says what it exports instead', async t => {
  const { message, next } = await refusalOf(t, ['up', jobFile('not-a-job')], { servers: nowhere })
  t.regex(message, /does not export a job by default, but a value of type object/)
  t.regex(next ?? '', /export default job/)
})

test.serial('a job file that throws says what it threw', async t => {
  const { message } = await refusalOf(t, ['up', jobFile('throws')], { servers: nowhere })
  t.regex(message, /throws\.js' cannot be loaded: no such airport/)
})

test.serial('all problems of an invalid job are listed', async t => {
  const { message } = await refusalOf(t, ['up', jobFile('broken')], { servers: nowhere })
  t.regex(message, /has \d problems/)
  for (const problem of [
    /parallelism: expected a whole number of at least 1, found 0/,
    /parallelism: expected at most maxParallelism 4, found 5/,
    /subject: expected a subject to publish on, found "every.>", which holds a wildcard/,
    /intervalMs: expected a whole number from 10/,
    /echo.*(duplicate|another|twice|same)/i,
  ])
    t.regex(message, problem)
})

test.serial(
  'a worker for a subtask that the job does not have says which ones there are',
  async t => {
    const servers = await sharedServers()
    const args = ['worker', jobFile('counts'), '--only', 'counts/0,counts/7']
    const { type, message, next } = await refusalOf(t, args, { servers })
    t.is(type, 'invalid')
    t.is(message, "job 'counts' has no subtask counts/7")
    t.is(next, 'Choose from: numbers/0, counts/0, counts/1, out/0.')
  },
)

for (const command of ['status', 'cancel']) {
  test.serial(`${command}: a job that nobody knows is refused`, async t => {
    const servers = await sharedServers()
    const { type, message, next } = await refusalOf(t, [command, 'nobody'], { servers })
    t.is(type, 'missing')
    t.is(message, "there is no job 'nobody' in this Redis")
    t.regex(next ?? '', /sluice status/)
  })
}

for (const args of [
  ['worker', 'x.ts', '--slots', '0'],
  ['frobnicate'],
  ['up'],
  ['up', 'x.ts', '--nope'],
]) {
  test.serial(
    `a command line that makes no sense is refused with help: ${args.join(' ')}`,
    async t => {
      const { code, stdout, stderr } = await runCli(t, args)
      t.is(code, exitCodes.invalid)
      t.is(stdout, '')
      t.regex(stderr, /^error: /m)
      t.regex(stderr, /Usage: sluice/)
    },
  )
}
