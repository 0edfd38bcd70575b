/**
 * Finds the servers' programs, or others, and installs them where that needs no password.
 *
 * Invariants
 *   EB1. Nothing is installed without saying the exact command first.
 *   EB2. Nothing asks for a password: either the installation goes without one, or the command is
 *       printed for a person to type.
 *   EB3. A package that is installed here does not start its own service, now or at the next boot.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../errors.js'
import type { ServerName } from './options.js'
import { type System, thisSystem } from './system.js'

/** The path of each program that was asked for. */
export type Binaries = Readonly<Partial<Record<ServerName, string>>>

/** Where programs are looked for after PATH: a user's PATH often lacks the sbin folders. */
export const USUAL_FOLDERS: readonly string[] = [
  '/usr/sbin',
  '/usr/local/sbin',
  '/sbin',
  '/opt/homebrew/bin',
  '/usr/local/bin',
]

/** A program, and what each package manager calls the packages that bring it. */
export interface Package {
  readonly program: string
  readonly apt: readonly string[]
  readonly brew: readonly string[]
  readonly apk: readonly string[]
  /** Debian would start it as a service of the system (EB3). */
  readonly isService: boolean
}

const SERVERS: Readonly<Record<ServerName, Package>> = {
  nats: {
    program: 'nats-server',
    apt: ['nats-server'],
    brew: ['nats-server'],
    apk: ['nats-server'],
    isService: true,
  },
  redis: {
    program: 'redis-server',
    apt: ['redis-server'],
    brew: ['redis'],
    apk: ['redis'],
    isService: true,
  },
}

/**
 * What keeps the packages' scripts quiet. SYSTEMD_OFFLINE makes systemctl ignore 'start', which is
 * what they call under systemd; RUNLEVEL makes invoke-rc.d refuse it under any other init system.
 */
const APT_ENVIRONMENT: readonly string[] = [
  'DEBIAN_FRONTEND=noninteractive',
  'NEEDRESTART_SUSPEND=1',
  'RUNLEVEL=1',
  'SYSTEMD_OFFLINE=1',
]

type Installer =
  | { readonly type: 'apt'; readonly apt: string; readonly sudo: readonly string[] }
  | { readonly type: 'brew'; readonly brew: string }
  | { readonly type: 'person'; readonly command: string }

interface Step {
  readonly command: readonly string[]
  /** Whether the installation can still succeed when this step fails. */
  readonly mayFail: boolean
}

/** The paths of the wanted servers' programs; see `findPrograms`. */
export const findBinaries = (
  wanted: readonly ServerName[],
  say: (line: string) => void,
  system: System = thisSystem,
): TaskEither<StreamError, Binaries> => {
  const packages = wanted.map(name => SERVERS[name])
  const byName = (paths: readonly string[]): Binaries =>
    Object.fromEntries(wanted.map((name, i) => [name, paths[i]]))
  return async () => E.map(byName)(await findPrograms(packages, say, system)())
}

/**
 * The paths of programs, in the order of their packages, installed first where they are missing and
 * that needs no password. Left 'missing' with the command to type otherwise, 'unavailable' when the
 * installation failed.
 */
export const findPrograms =
  (
    wanted: readonly Package[],
    say: (line: string) => void,
    system: System = thisSystem,
  ): TaskEither<StreamError, readonly string[]> =>
  async () => {
    const found = await locateAll(wanted, system)
    if (missingOf(wanted, found).length === 0) return E.right(pathsOf(wanted, found))
    return system.exclusively(say, () => install(wanted, say, system))
  }

/** Runs under the lock: whoever held it before may have installed what is wanted. */
const install = async (
  wanted: readonly Package[],
  say: (line: string) => void,
  system: System,
): Promise<E.Either<StreamError, readonly string[]>> => {
  const before = await locateAll(wanted, system)
  const missing = missingOf(wanted, before)
  if (missing.length === 0) return E.right(pathsOf(wanted, before))
  const what = programsOf(missing)
  const installer = await chooseInstaller(missing, system)
  if (installer.type === 'person') {
    return E.left(
      streamError(
        'missing',
        `${what} not found, and they cannot be installed from here without a password`,
        {
          next: installer.command,
        },
      ),
    )
  }
  say(`${what} not found: installing with ${installer.type === 'apt' ? 'apt-get' : 'brew'}`)
  for (const step of await stepsOf(installer, missing, system)) {
    const command = step.command.join(' ')
    say(`running: ${command}`) // EB1
    const result = await system.run(step.command)
    if (result.code === 0) continue
    const failure = `${command} failed (${result.code ?? 'killed'}): ${result.output.trim()}`
    if (!step.mayFail) return E.left(failed(failure, missing, installer))
    say(failure)
  }
  const after = await locateAll(wanted, system)
  const still = missingOf(wanted, after)
  if (still.length === 0) return E.right(pathsOf(wanted, after))
  return E.left(failed(`${programsOf(still)} not found after installing`, still, installer))
}

const failed = (
  message: string,
  missing: readonly Package[],
  installer: Exclude<Installer, { type: 'person' }>,
): StreamError =>
  streamError('unavailable', message, {
    next:
      installer.type === 'apt'
        ? aptByHand(missing, installer.sudo.length > 0)
        : brewByHand(missing),
  })

const chooseInstaller = async (missing: readonly Package[], system: System): Promise<Installer> => {
  const apt = await locate('apt-get', system)
  if (apt !== undefined) {
    if (system.isRoot) return { type: 'apt', apt, sudo: [] }
    const sudo = await locate('sudo', system)
    // EB2: -n makes sudo fail where it would ask.
    if (sudo !== undefined && (await system.run([sudo, '-n', 'true'])).code === 0) {
      return { type: 'apt', apt, sudo: [sudo, '-n'] }
    }
    return { type: 'person', command: aptByHand(missing, true) }
  }
  const brew = await locate('brew', system)
  if (brew !== undefined && !system.isRoot) return { type: 'brew', brew }
  if (brew !== undefined || system.platform === 'darwin') {
    return { type: 'person', command: brewByHand(missing) }
  }
  if ((await locate('apk', system)) !== undefined) {
    const names = missing.flatMap(one => one.apk).join(' ')
    return { type: 'person', command: `Type: apk add ${names} (as root)` }
  }
  const command = `Install ${programsOf(missing)} so that PATH finds them, or give the addresses of running servers.`
  return { type: 'person', command }
}

const stepsOf = async (
  installer: Exclude<Installer, { type: 'person' }>,
  missing: readonly Package[],
  system: System,
): Promise<readonly Step[]> => {
  if (installer.type === 'brew') {
    const names = missing.flatMap(one => one.brew)
    return [{ command: [installer.brew, 'install', ...names], mayFail: false }]
  }
  // sudo clears the environment, hence env behind it.
  const start = [...installer.sudo, 'env', ...APT_ENVIRONMENT]
  const apt = [...start, installer.apt, '-q', '-o', 'DPkg::Lock::Timeout=120']
  const names = missing.flatMap(one => one.apt)
  const services = missing.filter(one => one.isService).flatMap(one => one.apt)
  const systemctl = await locate('systemctl', system)
  return [
    // One broken third-party list fails the update and yet leaves the lists that are needed.
    { command: [...apt, 'update'], mayFail: true },
    { command: [...apt, 'install', '-y', '--no-install-recommends', ...names], mayFail: false },
    ...(systemctl === undefined || services.length === 0
      ? []
      : [{ command: [...start, systemctl, 'disable', ...services], mayFail: true }]), // EB3
  ]
}

const aptByHand = (missing: readonly Package[], needsSudo: boolean): string => {
  const names = missing.flatMap(one => one.apt).join(' ')
  const apt = needsSudo ? 'sudo apt-get' : 'apt-get'
  return `Type: ${apt} update && ${apt} install -y ${names}`
}

const brewByHand = (missing: readonly Package[]): string =>
  `Type: brew install ${missing.flatMap(one => one.brew).join(' ')}`

const programsOf = (packages: readonly Package[]): string =>
  packages.map(one => one.program).join(' and ')

type Found = ReadonlyMap<Package, string>

const missingOf = (wanted: readonly Package[], found: Found): readonly Package[] =>
  wanted.filter(one => !found.has(one))

const pathsOf = (wanted: readonly Package[], found: Found): readonly string[] =>
  wanted.flatMap(one => found.get(one) ?? [])

const locateAll = async (wanted: readonly Package[], system: System): Promise<Found> => {
  const found = new Map<Package, string>()
  for (const one of wanted) {
    const path = await locate(one.program, system)
    if (path !== undefined) found.set(one, path)
  }
  return found
}

const locate = async (program: string, system: System): Promise<string | undefined> => {
  for (const folder of [...system.path, ...USUAL_FOLDERS]) {
    const file = `${folder}/${program}`
    if (await system.isExecutable(file)) return file
  }
  return undefined
}
