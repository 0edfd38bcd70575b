/** What a job that is started again makes of what its former runs have left. */
import test, { type ExecutionContext } from 'ava'
import { type Cli, eventually, exitOf, notesOf, refusalOf, startCli } from '../support/cli.js'
import {
  assertCounted,
  jobFile,
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
  END: 'none',
})

type Settings = ReturnType<typeof settingsOf>

/** Runs the job until it has put out so many records, and stops it by Ctrl-C; answers what it said. */
const runUntil = async (
  t: ExecutionContext,
  settings: Settings,
  records: number,
  ...args: readonly string[]
): Promise<Cli> => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const up = startCli(t, ['up', counts, '--json', ...args], { servers, settings })
  await eventually('everything is put out', async () => {
    return (await messagesOf(nats, settings.OUT)).length >= records
  })
  up.signal('SIGINT')
  const { code, stdout } = await exitOf(up)
  t.is(code, 0)
  t.regex(stdout, /"status":"stopped"/)
  return up
}

/** A job that has put out what it got and was stopped. */
const stoppedJob = async (t: ExecutionContext, settings: Settings) => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  await streamOf(nats, settings.IN, numbers(300))
  await runUntil(t, settings, 300)
  return { servers, nats }
}

const jsonOf = (value: unknown): string => JSON.stringify(value)

test.serial('a job that was stopped goes on from its checkpoint', async t => {
  const settings = settingsOf('again')
  const { nats } = await stoppedJob(t, settings)
  await publish(nats, settings.IN, numbers(600).slice(300).map(jsonOf))
  const up = await runUntil(t, settings, 600)
  const [begun] = notesOf(up, 'generation-begun')
  t.regex(String(begun?.text), /generation 2 starts from checkpoint \d+/)
  await assertCounted(t, nats, settings.OUT, numbers(600))
})

test.serial(
  'a checkpoint of another parallelism or codec is refused, naming both sides',
  async t => {
    const settings = settingsOf('changed')
    const { servers, nats } = await stoppedJob(t, settings)

    const wide = { servers, settings: { ...settings, PARALLELISM: 3 } }
    const wider = await refusalOf(t, ['up', counts], wide)
    t.regex(
      wider.message,
      /checkpoint \d+ does not fit the job: it has .*counts\/1,.* and the job has .*counts\/2/,
    )
    t.regex(wider.message, /--fresh/)

    const other = { servers, settings: { ...settings, STATE: 'Renamed' } }
    const renamed = await refusalOf(t, ['up', counts], other)
    t.regex(
      renamed.message,
      /state of "counts" was stored with the codec .*count: number.*, and the job expects .*Renamed/,
    )

    await publish(nats, settings.IN, numbers(400).slice(300).map(jsonOf))
    await runUntil(t, settings, 400) // As it was, it goes on.
    await assertCounted(t, nats, settings.OUT, numbers(400))
  },
)

test.serial('P10: a job whose Redis was emptied starts from nothing only when told to', async t => {
  const settings = settingsOf('emptied')
  const { servers, nats } = await stoppedJob(t, settings)
  await openRedis(t, servers.redisUrl).flushall()
  const { type, message, next } = await refusalOf(t, ['up', counts], { servers, settings })
  t.is(type, 'invalid')
  t.regex(message, /has run on this NATS before, but this Redis does not know it/)
  t.regex(next ?? '', /--redis .*--fresh/)

  const manager = await nats.jetstreamManager()
  await manager.streams.purge(settings.OUT)
  const fresh = await runUntil(t, settings, 300, '--fresh')
  const [begun] = notesOf(fresh, 'generation-begun')
  t.regex(String(begun?.text), /generation 1 starts from nothing/)
  await assertCounted(t, nats, settings.OUT, numbers(300))
})

test.serial('P10: a job whose record alone was deleted is lost, too', async t => {
  const settings = settingsOf('deleted')
  const { servers } = await stoppedJob(t, settings)
  await openRedis(t, servers.redisUrl).del(`sluice:{${settings.JOB}}:meta`)
  const { message } = await refusalOf(t, ['up', counts], { servers, settings })
  t.regex(message, /has existed, and Redis at .* has lost its record/)
})
