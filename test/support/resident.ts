/** How much memory processes hold. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Resident memory of processes in mebibytes, by their ids; of one that is gone, nothing. */
export const residentOf = async (pids: readonly number[]): Promise<ReadonlyMap<number, number>> => {
  const { stdout } = await run('ps', ['-o', 'pid=,rss=', '-p', pids.join(',')])
  const sizes = new Map<number, number>()
  for (const line of stdout.trim().split('\n')) {
    const [pid = 0, kib = 0] = line.trim().split(/\s+/).map(Number)
    sizes.set(pid, kib / 1024)
  }
  return sizes
}
