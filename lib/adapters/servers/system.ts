/**
 * The machine as the installation sees it: an interface, so that tests can describe any machine.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import type { StreamError } from '../../errors.js'
import { withLock } from './lock.js'

const COMMAND_DEADLINE_MS = 10 * 60_000
const LOCK_DEADLINE_MS = 15 * 60_000
const OUTPUT_CHARS_MAX = 2_000

/** How a command ended, and the last of what it printed. */
export interface CommandResult {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly output: string
}

/** What the installation asks of a machine. */
export interface System {
  readonly platform: NodeJS.Platform
  readonly isRoot: boolean
  /** The folders of PATH, in order. */
  readonly path: readonly string[]
  isExecutable(file: string): Promise<boolean>
  /** Never rejects: a command that cannot be run has code 127. */
  run(command: readonly string[]): Promise<CommandResult>
  /** Does the work while no other process of this user does work under it. */
  exclusively<A>(
    say: (line: string) => void,
    work: () => Promise<Either<StreamError, A>>,
  ): Promise<Either<StreamError, A>>
}

const userId = process.getuid?.()

/** The machine that this process runs on. */
export const thisSystem: System = {
  platform: process.platform,
  isRoot: userId === 0,
  path: (process.env.PATH ?? '').split(delimiter).filter(folder => folder !== ''),
  isExecutable: async file => {
    try {
      await access(file, constants.X_OK)
      return (await stat(file)).isFile()
    } catch {
      return false // Not there, or not for us: both mean "look elsewhere".
    }
  },
  run: command => run(command),
  exclusively: (say, work) =>
    withLock(
      {
        path: join(tmpdir(), `sluice-install-${userId ?? 'user'}.lock`),
        deadlineMs: LOCK_DEADLINE_MS,
        onWait: pid => say(`waiting for process ${pid}, which is installing the servers`),
      },
      work,
    ),
}

const run = (command: readonly string[]): Promise<CommandResult> =>
  new Promise(resolve => {
    const [program = '', ...args] = command
    let output = ''
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: COMMAND_DEADLINE_MS,
    })
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-OUTPUT_CHARS_MAX)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', error => resolve({ code: 127, output: error.message }))
    child.on('close', code => resolve({ code, output }))
  })
