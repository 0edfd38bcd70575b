/** What is right in a job's settings, field by field. */
import type { Problem } from './problem.js'
import {
  fields,
  integer,
  isRecord,
  milliseconds,
  nonEmptyText,
  number,
  oneOf,
  optional,
  problem,
  type Rule,
  trueOrFalse,
} from './rules.js'

const checkpointFields = fields({
  intervalMs: milliseconds(10),
  mode: oneOf('exactly-once', 'at-least-once'),
  timeoutMs: milliseconds(10),
  minPauseMs: milliseconds(0),
  maxConcurrent: integer(1),
  onCheckpointError: oneOf('fail', 'decline'),
  tolerableFailures: integer(0),
  retention: oneOf('none', 'delete-on-cancellation', 'retain-on-cancellation'),
  numRetained: integer(1),
  async: trueOrFalse,
  incremental: trueOrFalse,
  localRecovery: trueOrFalse,
  force: trueOrFalse,
})

/** Checkpointing with its defaults filled in. */
export const checkpointRule: Rule = (path, value) => [
  ...checkpointFields(path, value),
  ...pauseProblems(path, value),
]

/** A pause after each completion means nothing where another attempt is already under way. */
const pauseProblems = (path: string, value: unknown): readonly Problem[] => {
  if (!isRecord(value)) return []
  const { minPauseMs, maxConcurrent } = value
  if (typeof minPauseMs !== 'number' || typeof maxConcurrent !== 'number') return []
  if (minPauseMs <= 0 || maxConcurrent <= 1) return []
  return problem(
    `${path}.minPauseMs`,
    'none with a maxConcurrent above 1',
    minPauseMs,
    'Leave out one of the two: with a pause only one checkpoint is under way.',
  )
}

/** An object whose `type` says which fields it has. */
const byType =
  (kinds: Readonly<Record<string, Rule>>): Rule =>
  (path, value) => {
    if (!isRecord(value))
      return problem(path, 'an object', value, 'Pass the options by name, in braces.')
    const wrong = oneOf(...Object.keys(kinds))(`${path}.type`, value.type)
    const rule = typeof value.type === 'string' ? kinds[value.type] : undefined
    return wrong.length > 0 || rule === undefined ? wrong : rule(path, value)
  }

/** What follows a failure. */
export const restartRule: Rule = byType({
  none: fields({ type: oneOf('none') }),
  'fixed-delay': fields({
    type: oneOf('fixed-delay'),
    attempts: optional(integer(0)),
    delayMs: optional(milliseconds(0)),
  }),
  'failure-rate': fields({
    type: oneOf('failure-rate'),
    maxFailures: optional(integer(1)),
    perMs: optional(milliseconds(1)),
    delayMs: optional(milliseconds(0)),
  }),
  'exponential-delay': fields({
    type: oneOf('exponential-delay'),
    initialMs: optional(milliseconds(1)),
    maxMs: optional(milliseconds(1)),
    multiplier: optional(number('a number above 1', value => value > 1)),
    jitter: optional(number('a number from 0 to 1', value => value >= 0 && value <= 1)),
    resetAfterMs: optional(milliseconds(1)),
    attempts: optional(integer(0)),
  }),
})

/** Where snapshots are kept. */
export const stateBackendRule: Rule = byType({
  memory: fields({ type: oneOf('memory'), stateBytesMax: optional(integer(1)) }),
  fs: fields({
    type: oneOf('fs'),
    folder: nonEmptyText('the path of a folder', 'Name a folder that every process sees.'),
  }),
  redis: fields({ type: oneOf('redis') }),
})
