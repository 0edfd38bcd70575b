/** What is right in a job's settings, field by field. */
import { defaultLimits, type Limits } from './limits.js'
import type { Problem } from './problem.js'
import { restartDefaults } from './restart.js'
import {
  type FieldRules,
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

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

/** Where a limit has an upper bound of its own. */
const limitBounds: Partial<Limits> = {
  chunkBytesMax: mebibyte,
  frameBytesMax: mebibyte / 2,
  inlineBytesMax: 384 * kibibyte,
}

/** What is right in each option of checkpointing. */
export const checkpointRules = {
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
  inlineThresholdBytes: integer(
    0,
    16 * kibibyte,
    'Manifests are for small snapshots: let larger ones be written.',
  ),
  localRecovery: trueOrFalse,
  force: trueOrFalse,
} as const satisfies FieldRules

const checkpointFields = fields(checkpointRules)

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

/** What is right in each option of a restart strategy, by its type. */
export const restartRules = {
  none: {},
  'fixed-delay': { attempts: integer(0), delayMs: milliseconds(0) },
  'failure-rate': {
    maxFailures: integer(1),
    perMs: milliseconds(1),
    delayMs: milliseconds(0),
  },
  'exponential-delay': {
    initialMs: milliseconds(1),
    maxMs: milliseconds(1),
    multiplier: number('a number above 1', value => value > 1),
    jitter: number('a number from 0 to 1', value => value >= 0 && value <= 1),
    resetAfterMs: milliseconds(1),
    attempts: integer(0),
  },
} as const satisfies Readonly<Record<string, FieldRules>>

/** What is right in each option of a state backend, by its type. */
export const stateBackendRules = {
  memory: { stateBytesMax: integer(1) },
  fs: { folder: nonEmptyText('the path of a folder', 'Name a folder that every process sees.') },
  redis: {},
} as const satisfies Readonly<Record<string, FieldRules>>

/** What is right in each limit of a job. */
export const limitRules: FieldRules = Object.fromEntries(
  Object.keys(defaultLimits).map(limit => {
    const bound = Object.entries(limitBounds).find(([bounded]) => bounded === limit)?.[1]
    return [limit, limit.endsWith('Ms') ? milliseconds(1) : integer(1, bound)]
  }),
)

/** An object whose `type` says which fields it has; `needed` are those that it must have. */
const byType = (
  kinds: Readonly<Record<string, FieldRules>>,
  needed: readonly string[] = [],
): Rule => {
  const rules = Object.entries(kinds).map(([type, own]): readonly [string, Rule] => {
    const each = Object.entries(own).map(([name, rule]) => [
      name,
      needed.includes(name) ? rule : optional(rule),
    ])
    return [type, fields({ type: oneOf(type), ...Object.fromEntries(each) })]
  })
  return (path, value) => {
    if (!isRecord(value))
      return problem(path, 'an object', value, 'Pass the options by name, in braces.')
    const rule = rules.find(([type]) => type === value.type)?.[1]
    return rule === undefined
      ? oneOf(...Object.keys(kinds))(`${path}.type`, value.type)
      : rule(path, value)
  }
}

const restartFields = byType(restartRules)

/** What follows a failure. */
export const restartRule: Rule = (path, value) => [
  ...restartFields(path, value),
  ...delayProblems(path, value),
]

/** The first delay is not above the last, defaults included. */
const delayProblems = (path: string, value: unknown): readonly Problem[] => {
  if (!isRecord(value) || value.type !== 'exponential-delay') return []
  const { initialMs, maxMs } = { ...restartDefaults['exponential-delay'], ...value }
  if (typeof initialMs !== 'number' || typeof maxMs !== 'number' || maxMs >= initialMs) return []
  const expected = `at least initialMs (${initialMs})`
  return problem(`${path}.maxMs`, expected, maxMs, 'Say both, the smaller one as initialMs.')
}

/** Where snapshots are kept. */
export const stateBackendRule: Rule = byType(stateBackendRules, ['folder'])

/** The limits of a job. */
export const limitsRule: Rule = fields(limitRules)
