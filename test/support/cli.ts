/**
 * The `sluice` command as a child process of a test: what it prints, how it ends, and nothing of it
 * left when the test ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as codec from 'io-ts'
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
  /** The working directory. Default: that of the test. */
  readonly folder?: string
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
    cwd: options.folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const cli = cliOf(child)
  t.teardown(async () => {
    if (!t.passed) t.log(`sluice ${args.join(' ')}\n${excerptOf(cli)}`)
    cli.signal('SIGKILL')
    await cli.exited
    await gone(cli)
  })
  return cli
}

const excerptLinesMax = 30

/** What a command said last, without what it says several times a second. */
const excerptOf = (cli: Cli): string => {
  const lines = `${cli.stdout()}${cli.stderr()}`.split('\n')
  const telling = lines.filter(line => !/"progress"|"checkpoint-completed"/.test(line))
  return telling.slice(-excerptLinesMax).join('\n')
}

/** Runs the command to its end. */
export const runCli = (
  t: ExecutionContext,
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliExit> => exitOf(startCli(t, args, options))

/** How a command ends; rejects when it does not. */
export const exitOf = async (cli: Cli, withinMs: number = deadlineMs): Promise<CliExit> => {
  const timeout = new AbortController()
  const late = delay(withinMs, undefined, { signal: timeout.signal }).then(() => {
    throw new Error(`the command did not end within ${withinMs} ms`)
  })
  try {
    return await Promise.race([cli.exited, late])
  } finally {
    late.catch(() => undefined) // Aborted in the next line; nobody waits for it any more.
    timeout.abort()
  }
}

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

/** How a command refuses, as `--json` prints it. */
export interface Refusal {
  readonly type: string
  readonly message: string
  readonly next?: string
}

/**
 * Runs the command with `--json` and asserts that it fails in plain words: an exit code, one sentence
 * and what to do, no stack trace.
 */
export const refusalOf = async (
  t: ExecutionContext,
  args: readonly string[],
  options: CliOptions = {},
): Promise<Refusal> => {
  const exit = await runCli(t, [...args, '--json'], options)
  assertPlain(t, exit)
  t.is(exit.stderr, '')
  return refusalIn(JSON.parse(exit.stdout.trim().split('\n').at(-1) ?? ''))
}

/** Asserts that a command failed, and did not show where in the code. */
export const assertPlain = (t: ExecutionContext, { code, stdout, stderr }: CliExit): void => {
  t.true(code === 1 || code === 2, `exit code ${code}`)
  t.notRegex(stdout + stderr, /^\s+at .*:\d+:\d+|node_modules|node:internal|Error:/m)
}

const refusalIn = (value: unknown): Refusal => {
  const decoded = Printed.decode(value)
  if (E.isLeft(decoded)) throw new Error(`not an error: ${JSON.stringify(value)}`)
  const { type, message, next } = decoded.right.error
  return { type, message, ...(next === undefined ? {} : { next }) }
}

const Printed = codec.type({
  type: codec.literal('error'),
  error: codec.type({
    type: codec.string,
    message: codec.string,
    next: codec.union([codec.undefined, codec.string]),
  }),
})
