/**
 * What has happened at least once. A fault that never happens proves nothing: a counter that is
 * still at zero after a whole run fails the run.
 */

/** Everything that must happen in a run of many seeds. */
export const sometimes = [
  'fault struck',
  'checkpoint compared with the reference',
  'output compared with the reference',
  'crash of a coordinator',
  'crash of a worker',
  'pause of a coordinator',
  'pause of a worker',
  'two coordinators at once',
  'two workers of a subtask at once',
  'coordinator fenced',
  'commit refused: fenced',
  'commit refused: parts are missing',
  'commit repeated: it had happened',
  'commit of unknown outcome',
  'publish refused by the stream',
  're-commit on restore',
  'frame stored twice',
  'late report',
  'barrier superseded another',
  'checkpoint aborted: timeout',
  'checkpoint aborted: declined',
  'checkpoints ended a generation',
  'checkpoints overlapped',
  'checkpoint by hand',
  'checkpoint by hand came to nothing',
  'dead letter',
  'log restarted',
  'memory streams lost',
  'log cut off',
  'log hung',
  'log full',
  'consumers lost',
  'request torn',
  'store hung',
  'store down',
  'store out of memory',
  'store read-only',
  'store loading',
  'part expired',
  'tail of a source lost',
  'tail of an output lost',
  'loss found and named',
  'store went back in time',
  'others knew later numbers than the store',
  'clock jumped',
  'workers were hard of hearing',
  'a worker heard nothing',
  'operator threw',
  'slow way',
  'lossy way',
  'worker lost by silence',
  'at least once: a record came twice',
  'checkpoints kept after the end',
  'actor heard: completed',
  'actor heard: aborted',
  'restored from a local copy',
  'local copy damaged',
  'restored from a copy on disk',
  'copy on disk damaged',
  'snapshot of changes',
] as const
export type Sometimes = (typeof sometimes)[number]

/** Adds to a counter. */
export const count = (counters: Map<string, number>, what: Sometimes, by = 1): void => {
  counters.set(what, (counters.get(what) ?? 0) + by)
}
