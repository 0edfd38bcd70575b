/** Records that a job cannot take: set aside with everything about them, skipped, or a reason to restart. */
import test, { type ExecutionContext } from 'ava'
import type { NatsConnection } from 'nats'
import { deadLetterStream } from '../../lib/protocol/addresses.js'
import { eventually, exitOf, notesOf, pidOf, runCli, startCli, untilNoted } from '../support/cli.js'
import { jobFile, messagesOf, openNats, publish, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

const picky = jobFile('picky')

test.before('start the servers', async () => {
  await sharedServers()
})

interface Letter {
  readonly offset?: number
  readonly raw?: string
  readonly record?: unknown
  readonly reason: string
  readonly [field: string]: unknown
}

const setUp = async (t: ExecutionContext, stem: string) => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const job = uniqueName(stem)
  const settings = { JOB: job, IN: uniqueName('IN'), OUT: uniqueName('OUT'), SUBJECT: job }
  const manager = await nats.jetstreamManager()
  await manager.streams.add({ name: settings.IN, subjects: [`${job}.in`] })
  const put = (...payloads: readonly (string | Uint8Array)[]) =>
    publish(nats, `${job}.in`, payloads)
  return { servers, nats, job, settings, put }
}

const lettersOf = async (nats: NatsConnection, job: string): Promise<readonly Letter[]> =>
  (await messagesOf(nats, deadLetterStream(job))).map(({ text }): Letter => JSON.parse(text))

const outputOf = async (nats: NatsConnection, stream: string): Promise<readonly number[]> =>
  (await messagesOf(nats, stream)).map(({ text }): number => JSON.parse(text).n)

const good = (n: number): string => JSON.stringify({ n })

/** Bad in every way: not JSON, of another shape, cut short, not UTF-8, nothing, null. */
const bad: readonly (readonly [string | Uint8Array, RegExp])[] = [
  ['no json', /not JSON/],
  ['{"n":"one"}', /Invalid value "one" supplied to .*n: number/],
  ['{"n":1', /not JSON/],
  [new Uint8Array([0x22, 0xff, 0xfe, 0x22]), /not JSON.*(utf-8|encoded data)/i],
  ['', /not JSON/],
  ['null', /Invalid value null/],
  ['\u0000\r\n', /not JSON/],
]

test.serial(
  'refused records are set aside exactly once with bytes, reason and offset, though the source is killed',
  async t => {
    const { servers, nats, job, settings, put } = await setUp(t, 'refused')
    const rounds = 40
    const payloads = Array.from({ length: rounds }, (_, i) => [
      good(i),
      bad[i % bad.length]?.[0] ?? '',
    ])
    await put(...payloads.slice(0, rounds / 2).flat())
    const up = startCli(t, ['up', picky, '--json'], { servers, settings })
    await eventually('the first ones are put out', async () => {
      return (await outputOf(nats, settings.OUT)).length >= rounds / 2
    })
    await put(...payloads.slice(rounds / 2, rounds - 5).flat())
    process.kill(await pidOf(up, 'numbers/0'), 'SIGKILL')
    await untilNoted(up, 'generation-begun', 2)
    await put(...payloads.slice(rounds - 5).flat())
    await eventually('all of them are put out', async () => {
      return (await outputOf(nats, settings.OUT)).length >= rounds
    })
    await eventually('all letters are there', async () => {
      return (await lettersOf(nats, job)).length >= rounds
    })
    t.deepEqual(
      await outputOf(nats, settings.OUT),
      Array.from({ length: rounds }, (_, i) => i),
    )

    const letters = await lettersOf(nats, job)
    t.deepEqual(
      letters.map(letter => letter.offset),
      Array.from({ length: rounds }, (_, i) => 2 * i + 2),
    )
    for (const [i, letter] of letters.entries()) {
      const [payload, reason] = bad[i % bad.length] ?? ['', /^/]
      t.is(letter.raw, Buffer.from(payload).toString('base64'))
      t.regex(letter.reason, reason)
      t.like(letter, {
        version: 1,
        job,
        operator: 'numbers',
        subtask: 'numbers/0',
        stream: settings.IN,
        subject: `${job}.in`,
        attempts: 1,
      })
    }

    t.is((await runCli(t, ['cancel', job], { servers })).code, 0)
    t.is((await exitOf(up)).code, 0)
    t.is((await lettersOf(nats, job)).length, rounds, 'letters outlive the job')
  },
)

test.serial(
  "with onError 'dead-letter' a record that throws is set aside, and the job goes on",
  async t => {
    const { servers, nats, job, settings, put } = await setUp(t, 'letters')
    await put(good(1), good(-1), good(4), good(-4), good(9))
    const options = { servers, settings: { ...settings, ON_ERROR: 'dead-letter' } }
    const up = startCli(t, ['up', picky, '--json'], options)
    await eventually('the good ones are put out', async () => {
      return (await outputOf(nats, settings.OUT)).length === 3
    })
    await eventually('the letters are there', async () => (await lettersOf(nats, job)).length === 2)
    t.deepEqual(await outputOf(nats, settings.OUT), [1, 4, 9])
    const letters = await lettersOf(nats, job)
    t.deepEqual(
      letters.map(({ operator, record, reason }) => ({ operator, record, reason })),
      [-1, -4].map(n => ({ operator: 'roots', record: { n }, reason: `no root of ${n}` })),
    )
    t.is(notesOf(up, 'generation-begun').length, 1)
  },
)

test.serial(
  "with 'skip' a record that is refused or throws is dropped, and the job goes on",
  async t => {
    const { servers, nats, job, settings, put } = await setUp(t, 'skipped')
    await put(good(1), good(-1), 'no json', good(4), good(-4), '{}', good(9))
    const options = { servers, settings: { ...settings, ON_ERROR: 'skip', ON_REFUSED: 'skip' } }
    const up = startCli(t, ['up', picky, '--json'], options)
    await eventually('the good ones are put out', async () => {
      return (await outputOf(nats, settings.OUT)).length === 3
    })
    t.deepEqual(await outputOf(nats, settings.OUT), [1, 4, 9])
    t.deepEqual(await lettersOf(nats, job), [])
    t.is(notesOf(up, 'generation-begun').length, 1)
  },
)

for (const [what, payload, reason, refusing] of [
  ['throws', good(-7), /roots.*no root of -7/, {}],
  ['is refused', 'no json', /refuses message 4 of stream '.*': not JSON/, { ON_REFUSED: 'fail' }],
] as const) {
  test.serial(`by 'fail' a record that ${what} restarts the job with growing delays`, async t => {
    const { servers, nats, settings, put } = await setUp(t, 'poison')
    await put(good(1), good(2), good(3))
    const options = { servers, settings: { ...settings, ...refusing } }
    const up = startCli(t, ['up', picky, '--json'], options)
    await eventually('the first ones are put out', async () => {
      return (await outputOf(nats, settings.OUT)).length === 3
    })
    await put(payload, good(4))
    await untilNoted(up, 'failed', 3)
    const failures = notesOf(up, 'failed').slice(0, 3)
    for (const { text } of failures) {
      t.regex(String(text), /^generation \d+ failed: .*; restarting in \d+ ms$/)
      t.regex(String(text), reason)
    }
    const delays = failures.map(({ text }) =>
      Number(/restarting in (\d+) ms/.exec(String(text))?.[1]),
    )
    t.true(
      delays.every((delay, i) => i === 0 || delay > (delays[i - 1] ?? 0)),
      delays.join(', '),
    )
    t.deepEqual(await outputOf(nats, settings.OUT), [1, 2, 3])
    const status = await runCli(t, ['status', settings.JOB], { servers })
    t.regex(status.stdout, /: (restarting|running)/)

    const manager = await nats.jetstreamManager()
    await manager.streams.deleteMessage(settings.IN, 4)
    await eventually('it goes on', async () => (await outputOf(nats, settings.OUT)).length === 4)
    t.deepEqual(await outputOf(nats, settings.OUT), [1, 2, 3, 4])
  })
}
