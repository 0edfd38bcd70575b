/** Settings that are right and do nothing: taken, because one file is for all jobs, and said to be so. */
import type { ConfiguredValue } from './configuration.js'
import type { JobGraph } from './graph.js'

const noSavepoints =
  'no effect yet: there are no savepoints; keep checkpoints with checkpoint.retention, and start a job from one with --from'
const noCopies = 'no effect unless checkpoint.localRecovery is true'

/** Keys whose value nothing acts on, each with why, and what to do instead. */
export const idleSettings = (values: readonly ConfiguredValue[]): ReadonlyMap<string, string> => {
  const saidOf = (name: string): unknown => values.find(({ key }) => key === name)?.value
  const keepsCopies = saidOf('checkpoint.localRecovery') === true
  return new Map([
    ...(saidOf('savepointsFolder') === undefined
      ? []
      : [['savepointsFolder', noSavepoints] as const]),
    ...(saidOf('localRecoveryFolders') === undefined || keepsCopies
      ? []
      : [['localRecoveryFolders', noCopies] as const]),
  ])
}

/** What whoever starts a job should know of its settings. Folders may be there for other jobs. */
export const warningsOf = ({ folders }: JobGraph): readonly string[] =>
  folders?.savepoints === undefined
    ? []
    : [`savepointsFolder ${JSON.stringify(folders.savepoints)}: ${noSavepoints}`]
