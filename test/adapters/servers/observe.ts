/** What the tests of the servers see of the system: processes, and conditions that become true. */
import { execFile } from 'node:child_process'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

const DEADLINE_MS = 20_000
const POLL_MS = 20

/** Resolves once the condition holds; rejects, naming it, when it does not in time. */
export const until = async (
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> => {
  const giveUpAt = performance.now() + DEADLINE_MS
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`)
    await delay(POLL_MS)
  }
}

const run = promisify(execFile)

/**
 * The command lines of all running processes that mention the text; the dead that wait for burial
 * are out.
 */
export const processesWith = async (text: string): Promise<readonly string[]> => {
  const { stdout } = await run('ps', ['-axww', '-o', 'stat=,pid=,args='])
  return stdout
    .split('\n')
    .filter(line => line.includes(text) && !line.startsWith('Z') && !line.includes('ps -axww'))
}

/** Whether the process runs. One that is dead but not yet buried by its parent does not. */
export const isRunning = async (pid: number): Promise<boolean> => {
  const stat = await run('ps', ['-o', 'stat=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
  return stat.stdout.trim() !== '' && !stat.stdout.startsWith('Z')
}

/** The process group that a terminal's signals would reach it by. */
export const processGroupOf = async (pid: number): Promise<number> =>
  Number((await run('ps', ['-o', 'pgid=', '-p', String(pid)])).stdout)
