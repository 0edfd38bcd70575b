/** Failures of a shared folder as ours. */
import { messageOf, type StreamError, streamError } from '../../errors.js'

/** The code of a failure of the system, `ENOSPC`; empty for others. */
export const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : ''

/** What a failure of the file system means, to somebody who wanted to do something in a folder. */
export const folderError = (folder: string, doing: string, thrown: unknown): StreamError => {
  const code = codeOf(thrown)
  const message = `could not ${doing} in the folder ${JSON.stringify(folder)}`
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return streamError('full', `${message}: its disk or quota is full (${code})`, {
        next: 'Make room there; the job goes on, and its next checkpoint is tried again.',
        cause: thrown,
      })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return streamError('refused', `${message}: no permission to (${code})`, {
        next: 'Let the user that runs the job read, write and make folders there.',
        cause: thrown,
      })
    case 'ENOTDIR':
    case 'EEXIST':
    case 'EISDIR':
    case 'ENAMETOOLONG':
    case 'ELOOP':
      return streamError('invalid', `${message}: that is no folder (${code})`, {
        next: 'Name a folder in stateBackend({ type: "fs", folder }).',
        cause: thrown,
      })
    default:
      // A server of files that is away, or a broken disk: it may be back by the next try.
      return streamError('unavailable', `${message}: ${messageOf(thrown)}`, {
        next: 'Check that the folder is mounted and answers on this machine.',
        cause: thrown,
      })
  }
}
