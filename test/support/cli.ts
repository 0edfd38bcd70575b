/**
 * The `sluice` command as a child process of a test: what it prints, how it ends, and nothing of it
 * left when the test ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { isRunning } from '../adapters/servers/observe.js'

/** Long enough for a busy machine; a condition that holds sooner is seen sooner. */
const deadlineMs = 90_000
const pollMs = 25

const entry = fileURLToPath(new URL('../../actors/cli/main.js', import.meta.url))

/** Where servers answer. */
export interface Addresses {
  readonly natsUrl: string
  readonly redisUrl: string
}

export interface CliOptions {
  /** Given as NATS_URL and REDIS_URL. */
  readonly servers?: Addresses
  /** Settings of the job file, without the prefix (see jobs/setting.ts). */
  readonly settings?: Readonly<Record<string, string | number>>
  readonly env?: Readonly<Record<string, string>>
}

/** One line of `--json`. */
export interface CliEvent {
  readonly type: string
  readonly [field: string]: unknown
}

export interface CliExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A running command. */
export interface Cli {
  readonly pid: number
  readonly exited: Promise<CliExit>
  stdout(): string
  stderr(): string
  /** The lines of `--json` so far. */
  events(): readonly CliEvent[]
  /** Process id of each role that it supervises, the latest of each. */
  processes(): ReadonlyMap<string, number>
  signal(signal: NodeJS.Signals): void
}

/** Resolves with what the check gives once that is not undefined or false; rejects, naming it, if it never is. */
export const eventually = async <A>(
  what: string,
  check: () => A | undefined | false | Promise<A | undefined | false>,
  withinMs: number = deadlineMs,
): Promise<A> => {
  const giveUpAt = performance.now() + withinMs
  for (;;) {
    const found = await check()
    if (found !== undefined && found !== false) return found
    if (performance.now() > giveUpAt) throw new Error(`not within ${withinMs} ms: ${what}`)
    await delay(pollMs)
  }
}

/** Starts the command; it and all that it started are gone when the test ends. */
export const startCli = (
  t: ExecutionContext,
  args: readonly string[],
  options: CliOptions = {},
): Cli => {
  const child = spawn(process.execPath, [entry, ...args], {
    env: environmentOf(options),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const cli = cliOf(child)
  t.teardown(async () => {
    if (!t.passed) t.log(`sluice ${args.join(' ')}\n${cli.stdout()}${cli.stderr()}`)
    // In good order if it can: only then its servers' folder goes at once.
    cli.signal('SIGKILL')
    await cli.exited
    await gone(cli)
  })
  return cli
}

/** Runs the command to its end. */
export const runCli = (
  t: ExecutionContext,
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliExit> => startCli(t, args, options).exited

/** Resolves when every process that the command ever started is gone. */
export const gone = async (cli: Cli): Promise<void> => {
  for (const event of cli.events()) {
    if (event.type !== 'process-started') continue
    const pid = Number(event.pid)
    await eventually(`process ${pid} (${event.role}) is gone`, async () => !(await isRunning(pid)))
  }
}

/** Names of notes, in their order. */
export const notesOf = (cli: Cli, name?: string): readonly CliEvent[] =>
  cli.events().filter(e => e.type === 'note' && (name === undefined || e.name === name))

/** Resolves once the note has been said so many times. */
export const untilNoted = (cli: Cli, name: string, times = 1): Promise<CliEvent> =>
  eventually(`${times} × ${name}`, () => notesOf(cli, name)[times - 1])

/** Process id of a role, once it runs. */
export const pidOf = (cli: Cli, role: string): Promise<number> =>
  eventually(`${role} runs`, () => cli.processes().get(role))

const environmentOf = ({ servers, settings = {}, env = {} }: CliOptions): NodeJS.ProcessEnv => ({
  ...process.env,
  ...(servers === undefined ? {} : { NATS_URL: servers.natsUrl, REDIS_URL: servers.redisUrl }),
  ...Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [`SLUICE_TEST_${name}`, String(value)]),
  ),
  ...env,
})

const cliOf = (child: ChildProcess): Cli => {
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const events = (): readonly CliEvent[] =>
    stdout
      .slice(0, stdout.lastIndexOf('\n') + 1)
      .split('\n')
      .filter(line => line.startsWith('{'))
      .map((line): CliEvent => JSON.parse(line))
  const { pid } = child
  if (pid === undefined) throw new Error('the command did not start')
  return {
    pid,
    // `close` and not `exit`: by then everything that it printed has been read.
    exited: new Promise(resolve =>
      child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr })),
    ),
    stdout: () => stdout,
    stderr: () => stderr,
    events,
    processes: () => {
      const running = new Map<string, number>()
      for (const event of events()) {
        if (event.type === 'process-started') running.set(String(event.role), Number(event.pid))
        if (event.type === 'process-exited' && running.get(String(event.role)) === event.pid)
          running.delete(String(event.role))
      }
      return running
    },
    signal: signal => {
      child.kill(signal)
    },
  }
}
