/** SIGSTOP and SIGCONT for servers of tests. */
import { readdir, readFile } from 'node:fs/promises'

/** Stops a process; resolves when none of its threads does anything more: the signal alone says nothing. */
export const stop = async (pid: number): Promise<void> => {
  process.kill(pid, 'SIGSTOP')
  while (!(await isStopped(pid)));
}

/** Lets it go on. */
export const goOn = (pid: number): void => {
  process.kill(pid, 'SIGCONT')
}

const isStopped = async (pid: number): Promise<boolean> => {
  const folder = `/proc/${pid}/task`
  for (const thread of await readdir(folder)) {
    const stat = await readFile(`${folder}/${thread}/stat`, 'latin1')
    // The name may hold anything, the state follows behind its last bracket.
    if (stat[stat.lastIndexOf(')') + 2] !== 'T') return false
  }
  return true
}
