/** The configuration file, the environment, and what `sluice config` says of them. */
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as codec from 'io-ts'
import { type JobEvent, startJob } from '../../actors/index.js'
import {
  assertPlain,
  type CliOptions,
  exitOf,
  notesOf,
  refusalOf,
  runCli,
  startCli,
} from '../support/cli.js'
import { jobFile, numbers, openNats, streamOf, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

test.before('start the servers', async () => {
  await sharedServers()
})

/** A working directory with these files in it. */
const folderWith = async (
  t: ExecutionContext,
  files: Readonly<Record<string, unknown>>,
): Promise<string> => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'sluice-config-')))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    await writeFile(join(folder, name), text)
  }
  return folder
}

const Setting = codec.type({
  value: codec.unknown,
  from: codec.type({ type: codec.string }),
})
const Printed = codec.type({
  file: codec.union([codec.null, codec.string]),
  config: codec.record(codec.string, Setting),
})

/** What `sluice config --json` prints. */
const configOf = async (
  t: ExecutionContext,
  args: readonly string[],
  options: CliOptions,
): Promise<codec.TypeOf<typeof Printed>> => {
  const { code, stdout, stderr } = await runCli(t, ['config', ...args, '--json'], options)
  t.is(code, 0, stdout + stderr)
  const printed = Printed.decode(JSON.parse(stdout))
  if (E.isLeft(printed)) throw new Error(stdout)
  return printed.right
}

/** Lines of the problems that a command ends with. */
const problemsOf = async (
  t: ExecutionContext,
  folder: string,
  options: CliOptions = {},
): Promise<readonly string[]> => {
  const { type, message } = await refusalOf(t, ['config'], { folder, ...options })
  t.is(type, 'invalid')
  return message.split('\n').slice(1)
}

const nowhere = { natsUrl: 'nats://127.0.0.1:1', redisUrl: 'redis://127.0.0.1:1' }

test('code beats the environment, that beats the file, that beats the defaults, key by key', async t => {
  const folder = await folderWith(t, {
    'sluice.config.json': {
      checkpoint: { intervalMs: 9_000, timeoutMs: 9_000, numRetained: 9 },
      restart: { type: 'fixed-delay', attempts: 9, delayMs: 9 },
      checkpointsFolder: 'checkpoints',
    },
  })
  const env = {
    SLUICE_CHECKPOINT_INTERVAL_MS: '8000',
    SLUICE_CHECKPOINT_TIMEOUT_MS: '8000',
    SLUICE_RESTART_TYPE: 'fixed-delay',
    SLUICE_RESTART_ATTEMPTS: '8',
  }
  // The code says an interval of 100 ms, and one attempt.
  const settings = { RESTART: JSON.stringify({ type: 'fixed-delay', attempts: 1 }) }
  const { file, config } = await configOf(t, [jobFile('throwing')], { folder, env, settings })
  const path = join(folder, 'sluice.config.json')
  t.is(file, path)
  const code = { type: 'code' }
  const inFile = { type: 'file', path }
  const environment = (name: string) => ({ type: 'environment', name })
  t.like(config, {
    'checkpoint.intervalMs': { value: 100, from: code },
    'checkpoint.timeoutMs': { value: 8_000, from: environment('SLUICE_CHECKPOINT_TIMEOUT_MS') },
    'checkpoint.numRetained': { value: 9, from: inFile },
    'checkpoint.minPauseMs': { value: 0, from: { type: 'default' } },
    'restart.type': { value: 'fixed-delay', from: code },
    'restart.attempts': { value: 1, from: code },
    'restart.delayMs': { value: 9, from: inFile },
    checkpointsFolder: { value: join(folder, 'checkpoints'), from: inFile },
  })
})

test('without a job, sluice config shows what is configured for all', async t => {
  const folder = await folderWith(t, {
    'sluice.config.json': { checkpoint: { mode: 'at-least-once' } },
  })
  const { config } = await configOf(t, [], { folder })
  t.like(config, {
    'checkpoint.mode': { value: 'at-least-once', from: { type: 'file' } },
    'checkpoint.intervalMs': { value: null, from: { type: 'default' } },
    'restart.type': { value: 'none', from: { type: 'default' } },
    'limits.lingerMs': { value: 5, from: { type: 'default' } },
  })
})

test('sluice config prints a line for each setting, and no password', async t => {
  const folder = await folderWith(t, {
    'sluice.config.json': { natsUrl: 'nats://me:secret@host:4222', limits: { lingerMs: 7 } },
  })
  const env = { REDIS_URL: 'redis://:secret@host:6379', SLUICE_CHECKPOINT_ASYNC: 'false' }
  const { code, stdout } = await runCli(t, ['config'], { folder, env })
  t.is(code, 0)
  const path = join(folder, 'sluice.config.json')
  const lines = stdout.split('\n').map(line => line.replace(/ {2,}/g, ' | '))
  for (const line of [
    `configuration file: ${path}`,
    `natsUrl | nats://me:***@host:4222 | file ${path}`,
    'redisUrl | redis://:***@host:6379 | environment REDIS_URL',
    'checkpoint.async | false | environment SLUICE_CHECKPOINT_ASYNC',
    `limits.lingerMs | 7 | file ${path}`,
    'checkpoint.mode | exactly-once | default',
    'savepointsFolder | - | default',
  ])
    t.true(lines.includes(line), `${line}\n${stdout}`)
  t.notRegex(stdout, /secret/)
})

test('folders that nothing uses are shown as such, with what to do', async t => {
  const folder = await folderWith(t, { 'sluice.config.json': { savepointsFolder: 's' } })
  const { stdout } = await runCli(t, ['config'], { folder })
  t.regex(
    stdout,
    /^savepointsFolder +.*\/s +file .*\(no effect yet: there are no savepoints; .*--from\)$/m,
  )
  const folders = { SLUICE_LOCAL_RECOVERY_FOLDERS: 'a,b' }
  const value = [join(folder, 'a'), join(folder, 'b')]
  const idle = await configOf(t, [], { folder, env: folders })
  const note = 'no effect unless checkpoint.localRecovery is true'
  t.like(idle.config.localRecoveryFolders, { value, note })
  const env = { ...folders, SLUICE_CHECKPOINT_LOCAL_RECOVERY: 'true' }
  const used = await configOf(t, [], { folder, env })
  t.deepEqual(Object.keys(used.config.localRecoveryFolders ?? {}), ['value', 'from'])
})

test('a folder for savepoints is said to do nothing, to whoever starts a job', async t => {
  const servers = await sharedServers()
  const settings = { JOB: uniqueName('savepoints') }
  const env = { SLUICE_SAVEPOINTS_FOLDER: '/s', SLUICE_RESTART_TYPE: 'none' }
  const says =
    /^savepointsFolder "\/s": no effect yet: there are no savepoints; .*retention.*--from$/
  const up = startCli(t, ['up', jobFile('throwing'), '--json'], { servers, settings, env })
  t.is((await exitOf(up)).code, 1)
  const told = up
    .events()
    .filter(({ type, role }) => type === 'trouble' && role === 'configuration')
  t.is(told.length, 1)
  t.regex(String(told[0]?.text), says)
  const nobody = { natsUrl: 'nats://127.0.0.1:1', redisUrl: 'redis://127.0.0.1:1' }
  const coordinator = ['coordinator', jobFile('throwing')]
  const { stdout } = await runCli(t, coordinator, { servers: nobody, settings, env })
  t.regex(stdout.trim().replace('configuration: ', ''), says)
})

test('every problem of a file is told with its path, what was expected, what is there and what to do', async t => {
  const folder = await folderWith(t, {
    'sluice.config.json': {
      checkpoint: {
        ...{ intervallMs: 500, mode: 'exactly', async: 'yes' },
        inlineThresholdBytes: 20_000,
      },
      restart: { type: 'failure-rate', attempts: 3 },
      stateBackend: { type: 'rocks' },
      limits: { frameBytesMax: 0 },
      numRetained: 3,
      natsUrl: 'http://me:secret@host',
      localRecoveryFolders: 'one',
      inlineThresholdBytes: 1_024,
      chekpointsFolder: 'x',
    },
  })
  const problems = await problemsOf(t, folder)
  const at = `  ${join(folder, 'sluice.config.json')}: `
  for (const [start, end] of [
    ['checkpoint.intervallMs: expected one of intervalMs, ', 'Did you mean intervalMs?'],
    [
      'checkpoint.mode: expected one of "exactly-once", "at-least-once", ',
      'found "exactly". Choose one of these.',
    ],
    ['checkpoint.async: expected true or false, ', 'found "yes". Choose one of these.'],
    ['restart.attempts: expected one of type, maxFailures, perMs, delayMs, ', 'Remove it.'],
    [
      'stateBackend.type: expected one of "memory", "fs", "redis", ',
      'found "rocks". Choose one of these.',
    ],
    [
      'limits.frameBytesMax: expected a whole number from 1 to 524288, ',
      'found 0. Correct the number.',
    ],
    ['numRetained: expected one of checkpoint, ', 'Write it inside checkpoint.'],
    [
      'natsUrl: expected an address that begins with nats:// or tls://, ',
      'found "http://me:***@host". Add host and port.',
    ],
    ['localRecoveryFolders: expected a list of folders, ', 'found "one". Name at least one.'],
    [
      'checkpoint.inlineThresholdBytes: expected a whole number from 0 to 16384, ',
      'found 20000. Manifests are for small snapshots: let larger ones be written.',
    ],
    ['inlineThresholdBytes: expected one of ', 'Write it inside checkpoint.'],
    ['chekpointsFolder: expected one of ', 'Did you mean checkpointsFolder?'],
  ] as const) {
    const found = problems.filter(line => line.startsWith(at + start) && line.endsWith(end))
    t.is(found.length, 1, `${start}…${end}\n${problems.join('\n')}`)
  }
  t.is(problems.length, 12)
})

test('the environment is held to the same rules, and told by the names of its variables', async t => {
  const folder = await folderWith(t, {})
  const env = { SLUICE_CHECKPOINT_NUM_RETAINED: '0', SLUICE_LIMITS_LINGERMS: '5' }
  t.deepEqual([...(await problemsOf(t, folder, { env }))].sort(), [
    '  SLUICE_CHECKPOINT_NUM_RETAINED: expected a whole number of at least 1, found 0. Correct the number.',
    '  SLUICE_LIMITS_LINGERMS: expected the name of a setting, found "SLUICE_LIMITS_LINGERMS". Did you mean SLUICE_LIMITS_LINGER_MS?',
  ])
})

test('settings that do not fit together are told with the place of the one that is not in the code', async t => {
  const folder = await folderWith(t, { 'sluice.config.json': { checkpoint: { minPauseMs: 500 } } })
  const env = { SLUICE_CHECKPOINT_MAX_CONCURRENT: '2' }
  const { message } = await refusalOf(t, ['config', jobFile('throwing')], { folder, env })
  const path = join(folder, 'sluice.config.json')
  t.true(
    message.includes(
      `checkpoint.minPauseMs: expected none with a maxConcurrent above 1, found 500 (file ${path}).`,
    ),
    message,
  )
})

for (const [what, files, args, says] of [
  ['is not there', {}, ['--config', 'gone.json'], /^there is no configuration file 'gone.json'$/],
  [
    'is no JSON',
    { 'sluice.config.json': '{ "checkpoint": ' },
    [],
    /sluice\.config\.json' cannot be parsed as JSON: /,
  ],
  [
    'holds no object',
    { 'sluice.config.json': '[]' },
    [],
    /sluice\.config\.json: expected an object, found an array\./,
  ],
  [
    'throws',
    { 'sluice.config.ts': "throw new Error('no database')" },
    [],
    /sluice\.config\.ts' cannot be loaded: no database/,
  ],
  [
    'exports nothing',
    { 'sluice.config.ts': 'export const x = 1' },
    [],
    /sluice\.config\.ts: expected an object, found nothing\./,
  ],
  [
    'is one of two',
    { 'sluice.config.ts': 'export default {}', 'sluice.config.json': '{}' },
    [],
    /^there are two configuration files: /,
  ],
] as const) {
  test(`a configuration file that ${what} is refused`, async t => {
    const folder = await folderWith(t, files)
    const { type, message } = await refusalOf(t, ['config', ...args], { folder })
    t.is(type, 'invalid')
    t.regex(message.replace(':\n  ', ': '), says)
  })
}

test('a configuration file that cannot be read is refused', async t => {
  const folder = await folderWith(t, {})
  await mkdir(join(folder, 'sluice.config.json'))
  const { message } = await refusalOf(t, ['config'], { folder })
  t.regex(message, /sluice\.config\.json' cannot be read: /)
})

test('a wrong configuration stops every command that would use it, before anything starts', async t => {
  const folder = await folderWith(t, { 'sluice.config.json': { checkpoints: {} } })
  const job = jobFile('throwing')
  for (const args of [
    ['up', job],
    ['dev', job],
    ['coordinator', job],
    ['worker', job],
    ['status'],
  ]) {
    const exit = await runCli(t, args, { folder })
    assertPlain(t, exit)
    t.is(exit.code, 2, args[0])
    t.regex(exit.stdout + exit.stderr, /checkpoints: .*Did you mean checkpoint\?/)
    t.notRegex(exit.stdout, /started/)
  }
})

const typed = `
  interface Restart { readonly type: 'fixed-delay'; readonly attempts: number }
  const restart: Restart = { type: 'fixed-delay', attempts: 3 }
  export default { restart, checkpointsFolder: './here' }
`

test('a configuration may be written in TypeScript, and be named by --config or SLUICE_CONFIG', async t => {
  const folder = await folderWith(t, {
    'sluice.config.ts': typed,
    'other.ts': typed.replace('3', '4'),
  })
  const attemptsOf = async (args: readonly string[], env = {}): Promise<unknown> =>
    (await configOf(t, args, { folder, env })).config['restart.attempts']
  const from = (name: string) => ({ type: 'file', path: join(folder, name) })
  t.deepEqual(await attemptsOf([]), { value: 3, from: from('sluice.config.ts') })
  t.deepEqual(await attemptsOf(['--config', 'other.ts']), { value: 4, from: from('other.ts') })
  const env = { SLUICE_CONFIG: join(folder, 'other.ts') }
  t.deepEqual(await attemptsOf([], env), { value: 4, from: from('other.ts') })
  t.deepEqual(await attemptsOf(['--config', 'sluice.config.ts'], env), {
    value: 3,
    from: from('sluice.config.ts'),
  })
})

/** Environments in which nobody says where the servers are. */
const quiet = { NATS_URL: '', REDIS_URL: '' }

for (const way of ['the working directory', '--config'] as const) {
  test.serial(
    `a job runs with what the file in ${way} says, its coordinator as its servers`,
    async t => {
      const { natsUrl, redisUrl } = await sharedServers()
      const restart = { type: 'fixed-delay', attempts: 2, delayMs: 30 }
      const name = way === '--config' ? 'other.json' : 'sluice.config.json'
      const folder = await folderWith(t, { [name]: { natsUrl, redisUrl, restart } })
      const settings = { JOB: uniqueName('throwing') }
      const args = ['up', jobFile('throwing'), '--json', ...(way === '--config' ? [way, name] : [])]
      const cli = startCli(t, args, { folder, settings, env: quiet })
      t.is((await exitOf(cli)).code, 1)
      t.is(notesOf(cli, 'failed').length, 3)
      const status = await runCli(t, ['status', settings.JOB, '--config', name], {
        folder,
        env: quiet,
      })
      t.regex(status.stdout, /: failed \(/)
    },
  )
}

test.serial('the workers of a job have the settings of the file, too', async t => {
  const { natsUrl, redisUrl } = await sharedServers()
  const nats = await openNats(t, natsUrl)
  const input = uniqueName('IN')
  await streamOf(nats, input, numbers(50))
  const restart = { type: 'none' }
  // It is the sink's subtask that finds out.
  const limits = { sinkPendingBytesMax: 10 }
  const folder = await folderWith(t, {
    'sluice.config.json': { natsUrl, redisUrl, restart, limits },
  })
  const settings = {
    JOB: uniqueName('counts'),
    IN: input,
    OUT: uniqueName('OUT'),
    SUBJECT: uniqueName('o'),
  }
  const { code, stderr, stdout } = await runCli(t, ['up', jobFile('counts')], {
    folder,
    settings,
    env: quiet,
  })
  t.is(code, 1)
  t.regex(stdout + stderr, /failed: (.|\n)*sinkPendingBytesMax/)
})

test.serial('a program names the file, for itself and every process of the job', async t => {
  const { natsUrl, redisUrl } = await sharedServers()
  const restart = { type: 'fixed-delay', attempts: 1, delayMs: 30 }
  const folder = await folderWith(t, { 'named.json': { restart } })
  const events: JobEvent[] = []
  const running = await startJob({
    jobFile: jobFile('throwing'),
    natsUrl,
    redisUrl,
    config: join(folder, 'named.json'),
    onEvent: event => events.push(event),
  })
  t.teardown(() => running.stop())
  t.like(await running.outcome, { type: 'ended', status: 'failed' })
  t.is(events.filter(event => event.type === 'note' && event.name === 'failed').length, 2)
  const gone = startJob({ jobFile: jobFile('throwing'), natsUrl, redisUrl, config: 'gone.json' })
  await t.throwsAsync(gone, { message: "there is no configuration file 'gone.json'" })
})

test.serial('what the command line and the environment say of servers beats the file', async t => {
  const servers = await sharedServers()
  const folder = await folderWith(t, { 'sluice.config.json': nowhere })
  const { natsUrl, redisUrl } = servers
  const settings = { JOB: uniqueName('throwing'), RESTART: '{"type":"none"}' }
  const up = ['up', jobFile('throwing'), '--json']
  const byName = startCli(t, [...up, '--nats', natsUrl, '--redis', redisUrl], {
    folder,
    settings,
    env: quiet,
  })
  t.is((await exitOf(byName)).code, 1)
  t.is(notesOf(byName, 'failed').length, 1)
  const other = { ...settings, JOB: uniqueName('throwing') }
  const byEnvironment = startCli(t, up, { folder, settings: other, servers })
  t.is((await exitOf(byEnvironment)).code, 1)
  t.is(notesOf(byEnvironment, 'failed').length, 1)
})
