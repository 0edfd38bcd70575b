/** What the system says about a process that is known by its id only. */

const codeOf = (thrown: unknown): unknown =>
  thrown instanceof Error && 'code' in thrown ? thrown.code : undefined

/** Whether a process with this id exists (one of another user's counts). */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return codeOf(thrown) === 'EPERM'
  }
}

/** Sends the signal; false if there is no such process any more. */
export const signalTo = (pid: number, signal: NodeJS.Signals): boolean => {
  try {
    process.kill(pid, signal)
    return true
  } catch (thrown) {
    if (codeOf(thrown) === 'ESRCH') return false
    throw thrown
  }
}
