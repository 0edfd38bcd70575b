import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { findBinaries, findPrograms } from '../../../lib/adapters/servers/binaries.js'
import type { CommandResult, System } from '../../../lib/adapters/servers/system.js'

interface Machine {
  readonly files: readonly string[]
  readonly isRoot?: boolean
  readonly platform?: NodeJS.Platform
  readonly path?: readonly string[]
  /** What a command does, by its text: how it ends, and which files it creates. */
  readonly run?: (
    command: string,
  ) => Partial<CommandResult> & { readonly creates?: readonly string[] }
  /** Files that another process has created when the lock is got. */
  readonly createdMeanwhile?: readonly string[]
}

const systemOf = (machine: Machine) => {
  const files = new Set(machine.files)
  const commands: string[] = []
  const system: System = {
    platform: machine.platform ?? 'linux',
    isRoot: machine.isRoot ?? false,
    path: machine.path ?? ['/usr/bin'],
    isExecutable: async file => files.has(file),
    run: async command => {
      const text = command.join(' ')
      commands.push(text)
      const { code = 0, output = '', creates = [] } = machine.run?.(text) ?? {}
      for (const file of creates) files.add(file)
      return { code, output }
    },
    exclusively: (_say, work) => {
      for (const file of machine.createdMeanwhile ?? []) files.add(file)
      return work()
    },
  }
  return { system, commands }
}

const find = async (machine: Machine) => {
  const { system, commands } = systemOf(machine)
  const said: string[] = []
  const outcome = await findBinaries(['nats', 'redis'], line => said.push(line), system)()
  return { outcome, commands, said }
}

const BOTH = { nats: '/usr/sbin/nats-server', redis: '/usr/bin/redis-server' }
const INSTALLED = Object.values(BOTH)
const APT_ENV =
  'env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 RUNLEVEL=1 SYSTEMD_OFFLINE=1'
const APT = `${APT_ENV} /usr/bin/apt-get -q -o DPkg::Lock::Timeout=120`
const APT_INSTALL = `${APT} install -y --no-install-recommends nats-server redis-server`

/** A package manager that works: the install command creates the programs. */
const installs = (word: string) => (command: string) =>
  command.includes(word) ? { creates: INSTALLED } : {}

test('programs on PATH are used, in its order, and nothing is run', async t => {
  const { outcome, commands, said } = await find({
    path: ['/a', '/b'],
    files: ['/b/nats-server', '/a/redis-server', '/b/redis-server', '/usr/sbin/nats-server'],
  })
  t.deepEqual(outcome, E.right({ nats: '/b/nats-server', redis: '/a/redis-server' }))
  t.deepEqual([commands, said], [[], []])
})

for (const folder of [
  '/usr/sbin',
  '/usr/local/sbin',
  '/sbin',
  '/opt/homebrew/bin',
  '/usr/local/bin',
]) {
  test(`programs in ${folder} are found when PATH lacks it`, async t => {
    const { outcome, commands } = await find({
      files: [`${folder}/nats-server`, `${folder}/redis-server`],
    })
    const right = { nats: `${folder}/nats-server`, redis: `${folder}/redis-server` }
    t.deepEqual(outcome, E.right(right))
    t.deepEqual(commands, [])
  })
}

test('root installs with apt-get, with the services kept from starting', async t => {
  const { outcome, commands, said } = await find({
    isRoot: true,
    files: ['/usr/bin/apt-get', '/usr/bin/systemctl'],
    run: installs('apt-get -q -o DPkg::Lock::Timeout=120 install'),
  })
  t.deepEqual(outcome, E.right(BOTH))
  t.deepEqual(commands, [
    `${APT} update`,
    APT_INSTALL,
    `${APT_ENV} /usr/bin/systemctl disable nats-server redis-server`,
  ])
  t.deepEqual(said, [
    'nats-server and redis-server not found: installing with apt-get',
    ...commands.map(command => `running: ${command}`),
  ])
})

test('only what is missing is installed', async t => {
  const { outcome, commands } = await find({
    isRoot: true,
    files: ['/usr/bin/apt-get', '/usr/sbin/nats-server'],
    run: installs(' install '),
  })
  t.deepEqual(outcome, E.right(BOTH))
  t.deepEqual(commands, [`${APT} update`, `${APT} install -y --no-install-recommends redis-server`])
})

test('other programs come with their packages, in their order, and nothing is disabled', async t => {
  const compiler = {
    program: 'gcc',
    apt: ['gcc', 'libc6-dev'],
    brew: [],
    apk: [],
    isService: false,
  }
  const shell = { ...compiler, program: 'sh' }
  const { system, commands } = systemOf({
    isRoot: true,
    files: ['/usr/bin/apt-get', '/usr/bin/systemctl', '/usr/bin/sh'],
    run: command => (command.includes(' install ') ? { creates: ['/usr/bin/gcc'] } : {}),
  })
  const found = await findPrograms([shell, compiler], () => {}, system)()
  t.deepEqual(found, E.right(['/usr/bin/sh', '/usr/bin/gcc']))
  const install = `${APT} install -y --no-install-recommends gcc libc6-dev`
  t.deepEqual(commands, [`${APT} update`, install])
})

test('a user with sudo that asks for no password installs with apt-get through it', async t => {
  const { outcome, commands, said } = await find({
    files: ['/usr/bin/apt-get', '/usr/bin/sudo'],
    run: installs(' install '),
  })
  t.deepEqual(outcome, E.right(BOTH))
  t.deepEqual(commands, [
    '/usr/bin/sudo -n true',
    `/usr/bin/sudo -n ${APT} update`,
    `/usr/bin/sudo -n ${APT_INSTALL}`,
  ])
  t.true(said.includes(`running: /usr/bin/sudo -n ${APT_INSTALL}`))
})

test('brew installs for a user', async t => {
  const { outcome, commands } = await find({
    platform: 'darwin',
    files: ['/opt/homebrew/bin/brew'],
    run: () => ({ creates: ['/opt/homebrew/bin/nats-server', '/opt/homebrew/bin/redis-server'] }),
  })
  t.true(E.isRight(outcome))
  t.deepEqual(commands, ['/opt/homebrew/bin/brew install nats-server redis'])
})

const askingMacro = test.macro(async (t, machine: Machine, next: string) => {
  const { outcome, commands, said } = await find(machine)
  t.like(E.isLeft(outcome) ? outcome.left : {}, {
    type: 'missing',
    message:
      'nats-server and redis-server not found, and they cannot be installed from here without a password',
    next,
  })
  t.deepEqual(said, [])
  t.false(commands.some(command => command.includes('install')))
})

const typeApt = 'Type: sudo apt-get update && sudo apt-get install -y nats-server redis-server'

test(
  'EB2: sudo that would ask for a password is not used; the command is printed',
  askingMacro,
  { files: ['/usr/bin/apt-get', '/usr/bin/sudo'], run: () => ({ code: 1 }) },
  typeApt,
)
test(
  'EB2: a user without sudo gets the command printed',
  askingMacro,
  { files: ['/usr/bin/apt-get'] },
  typeApt,
)
test(
  'a Mac without brew gets the command printed',
  askingMacro,
  { files: [], platform: 'darwin' },
  'Type: brew install nats-server redis',
)
test(
  'root does not run brew, which refuses root; the command is printed',
  askingMacro,
  { files: ['/usr/local/bin/brew'], platform: 'darwin', isRoot: true },
  'Type: brew install nats-server redis',
)
test(
  'a system with apk gets its command printed',
  askingMacro,
  { files: ['/sbin/apk'] },
  'Type: apk add nats-server redis (as root)',
)
test(
  'a system without a known package manager is told what is needed',
  askingMacro,
  { files: [] },
  'Install nats-server and redis-server so that PATH finds them, or give the addresses of running servers.',
)

test('an installation that fails is an error with its output and the command to type', async t => {
  const { outcome, commands } = await find({
    isRoot: true,
    files: ['/usr/bin/apt-get'],
    run: command =>
      command.includes('update') ? {} : { code: 100, output: 'E: no such package\n' },
  })
  t.deepEqual(
    outcome,
    E.left({
      type: 'unavailable',
      message: `${APT_INSTALL} failed (100): E: no such package`,
      next: 'Type: apt-get update && apt-get install -y nats-server redis-server',
    }),
  )
  t.is(commands.length, 2)
})

test('an update that fails is said, and the installation tried all the same', async t => {
  const { outcome, said } = await find({
    isRoot: true,
    files: ['/usr/bin/apt-get'],
    run: command =>
      command.endsWith('update') ? { code: 100, output: 'E: one list\n' } : { creates: INSTALLED },
  })
  t.deepEqual(outcome, E.right(BOTH))
  t.true(said.includes(`${APT} update failed (100): E: one list`))
})

test('programs still missing after an installation are an error', async t => {
  const { outcome } = await find({ isRoot: true, files: ['/usr/bin/apt-get'] })
  t.like(E.isLeft(outcome) ? outcome.left : {}, {
    type: 'unavailable',
    message: 'nats-server and redis-server not found after installing',
  })
})

test('what another process installed meanwhile is used', async t => {
  const { outcome, commands } = await find({
    isRoot: true,
    files: ['/usr/bin/apt-get'],
    createdMeanwhile: INSTALLED,
  })
  t.deepEqual(outcome, E.right(BOTH))
  t.deepEqual(commands, [])
})
