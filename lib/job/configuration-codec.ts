/**
 * What is configured for all jobs, as an io-ts codec: built of the rules that a job's own settings
 * are held to, so that an option means and allows the same wherever it is said.
 *
 * Every problem has the path of its key. A key that nobody knows is a problem, too: a misspelt
 * option must not be dropped in silence.
 */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { defaultLimits, type Limits } from './limits.js'
import { masked } from './masked.js'
import { describe, type Problem, quote } from './problem.js'
import { isRecord, nonEmptyText, oneOf, type Rule, text, unknownOptions } from './rules.js'
import type { CheckpointOptions, RestartOptions } from './settings.js'
import { checkpointRules, limitRules, restartRules, stateBackendRules } from './settings-rules.js'

/**
 * What is configured for all jobs, in `sluice.config.json` or `sluice.config.ts`. A job's own code
 * beats it, and so does the environment.
 */
export interface Configuration {
  /** Any of the options of `.checkpoint(…)`. With `intervalMs`, every job is checkpointed. */
  readonly checkpoint?: Partial<CheckpointOptions>
  readonly restart?: RestartOptions
  /** Where snapshots are kept; `fs` without a folder uses `checkpointsFolder`. */
  readonly stateBackend?: ConfiguredBackend
  /** Any of a job's limits. */
  readonly limits?: Partial<Limits>
  /** The folder of the state backend `fs` where none is named with it. */
  readonly checkpointsFolder?: string
  /** Where savepoints will go. There are none yet: whoever starts a job is told so. */
  readonly savepointsFolder?: string
  /**
   * Folders of each machine where a worker's copies of snapshots outlive it, with
   * `checkpoint.localRecovery`. They must be there.
   */
  readonly localRecoveryFolders?: readonly string[]
  /** Where NATS is. */
  readonly natsUrl?: string
  /** Where Redis is. */
  readonly redisUrl?: string
}

/** Where snapshots are kept, for all jobs. */
export type ConfiguredBackend =
  | { readonly type: 'memory'; readonly stateBytesMax?: number }
  | { readonly type: 'fs'; readonly folder?: string }
  | { readonly type: 'redis' }

type Partially<P extends t.Props> = { readonly [K in keyof P]?: t.TypeOf<P[K]> }
type Tagged<M extends Readonly<Record<string, t.Props>>> = {
  readonly [K in keyof M]: { readonly type: K } & Partially<M[K]>
}[keyof M]

/** A value that a rule finds right. Its name says what would be right; a failure, what to do. */
const ruled = <A>(rule: Rule, is: t.Is<A>): t.Type<A> => {
  const [sample] = rule('', undefined)
  const isRight = (value: unknown): value is A => rule('', value).length === 0 && is(value)
  return new t.Type<A>(
    sample?.expected ?? 'a value',
    isRight,
    (value, context) =>
      isRight(value) ? t.success(value) : t.failure(value, context, rule('', value)[0]?.next),
    t.identity,
  )
}

const number = (rule: Rule): t.Type<number> => ruled(rule, t.number.is)
const flag = (rule: Rule): t.Type<boolean> => ruled(rule, t.boolean.is)
const choice = <A extends string>(rule: Rule, ...values: readonly A[]): t.Type<A> =>
  ruled(rule, (value): value is A => values.some(one => one === value))
const folder = ruled(nonEmptyText('the path of a folder', 'Name a folder.'), t.string.is)

/** A key that is not one of those that are known. */
class NoSuchKey extends t.Type<never> {
  constructor(expected: string) {
    const is = (_: unknown): _ is never => false
    super(expected, is, (value, context) => t.failure(value, context), t.identity)
  }
}

/** Hints for keys that are no typos. */
type Hints = Readonly<Record<string, string>>

const refusedKey = (
  key: string,
  value: unknown,
  context: t.Context,
  known: readonly string[],
  hints: Hints,
): t.Errors => {
  const [unknown] = unknownOptions('', { [key]: value }, known)
  const type = new NoSuchKey(unknown?.expected ?? '')
  const message = (Object.hasOwn(hints, key) ? hints[key] : undefined) ?? unknown?.next ?? ''
  return [{ value, context: t.appendContext(context, key, type, value), message }]
}

/** An object that may have these keys and no others; a key that is undefined was not said. */
const options = <P extends t.Props>(props: P, hints: Hints = {}): t.Type<Partially<P>> => {
  const isKey = (key: string): boolean => Object.hasOwn(props, key)
  const is = (value: unknown): value is Partially<P> =>
    isRecord(value) &&
    Object.entries(value).every(([key, of]) => isKey(key) && props[key]?.is(of) === true)
  return new t.Type<Partially<P>>(
    'an object',
    is,
    (value, context) => {
      if (!isRecord(value))
        return t.failure(value, context, 'Write the options by name, in braces.')
      const errors: t.ValidationError[] = []
      const said: Record<string, unknown> = {}
      for (const [key, of] of Object.entries(value)) {
        if (of === undefined) continue
        const type = isKey(key) ? props[key] : undefined
        if (type === undefined) {
          errors.push(...refusedKey(key, of, context, Object.keys(props), hints))
          continue
        }
        const decoded = type.validate(of, t.appendContext(context, key, type, of))
        if (E.isLeft(decoded)) errors.push(...decoded.left)
        else said[key] = decoded.right
      }
      if (errors.length > 0) return t.failures(errors)
      return is(said) ? t.success(said) : t.failure(value, context)
    },
    t.identity,
  )
}

/** An object whose `type` says which other keys it may have. */
const byType = <M extends Readonly<Record<string, t.Props>>>(kinds: M): t.Type<Tagged<M>> => {
  const types = Object.keys(kinds)
  const type = choice(oneOf(...types), ...types)
  const kindOf = (value: unknown): Pick<t.Decoder<unknown, unknown>, 'validate'> | undefined => {
    if (!isRecord(value) || typeof value.type !== 'string') return undefined
    const props = Object.hasOwn(kinds, value.type) ? kinds[value.type] : undefined
    return props === undefined ? undefined : options({ type, ...props })
  }
  const is = (value: unknown): value is Tagged<M> => {
    const kind = kindOf(value)
    return kind !== undefined && E.isRight(kind.validate(value, []))
  }
  return new t.Type<Tagged<M>>(
    'an object',
    is,
    (value, context) => {
      if (!isRecord(value))
        return t.failure(value, context, 'Write the options by name, in braces.')
      const kind = kindOf(value)
      const decoded =
        kind === undefined
          ? type.validate(value.type, t.appendContext(context, 'type', type, value.type))
          : kind.validate(value, context)
      if (E.isLeft(decoded)) return decoded
      return is(decoded.right) ? t.success(decoded.right) : t.failure(value, context)
    },
    t.identity,
  )
}

const address = (...schemes: readonly string[]): t.Type<string> => {
  const list = schemes.map(scheme => `${scheme}://`).join(' or ')
  const faultOf = (value: string): string | undefined =>
    schemes.some(scheme => value.startsWith(`${scheme}://`)) ? undefined : 'does not'
  return ruled(
    text(`an address that begins with ${list}`, faultOf, 'Add host and port.'),
    t.string.is,
  )
}

const folders = ruled<readonly string[]>(
  (path, value) =>
    t.array(t.string).is(value) && value.length > 0 && value.every(one => one !== '')
      ? []
      : [
          {
            path,
            expected: 'a list of folders',
            found: describe(value),
            next: 'Name at least one.',
          },
        ],
  t.readonlyArray(t.string).is,
)

const checkpoint = options({
  intervalMs: number(checkpointRules.intervalMs),
  mode: choice(checkpointRules.mode, 'exactly-once', 'at-least-once'),
  timeoutMs: number(checkpointRules.timeoutMs),
  minPauseMs: number(checkpointRules.minPauseMs),
  maxConcurrent: number(checkpointRules.maxConcurrent),
  onCheckpointError: choice(checkpointRules.onCheckpointError, 'fail', 'decline'),
  tolerableFailures: number(checkpointRules.tolerableFailures),
  retention: choice(
    checkpointRules.retention,
    'none',
    'delete-on-cancellation',
    'retain-on-cancellation',
  ),
  numRetained: number(checkpointRules.numRetained),
  async: flag(checkpointRules.async),
  incremental: flag(checkpointRules.incremental),
  inlineThresholdBytes: number(checkpointRules.inlineThresholdBytes),
  localRecovery: flag(checkpointRules.localRecovery),
  force: flag(checkpointRules.force),
})

const { 'fixed-delay': fixed, 'failure-rate': rate, 'exponential-delay': growing } = restartRules
const restart = byType({
  none: {},
  'fixed-delay': { attempts: number(fixed.attempts), delayMs: number(fixed.delayMs) },
  'failure-rate': {
    maxFailures: number(rate.maxFailures),
    perMs: number(rate.perMs),
    delayMs: number(rate.delayMs),
  },
  'exponential-delay': {
    initialMs: number(growing.initialMs),
    maxMs: number(growing.maxMs),
    multiplier: number(growing.multiplier),
    jitter: number(growing.jitter),
    resetAfterMs: number(growing.resetAfterMs),
    attempts: number(growing.attempts),
  },
})

const stateBackend = byType({
  memory: { stateBytesMax: number(stateBackendRules.memory.stateBytesMax) },
  fs: { folder },
  redis: {},
})

const limits = options(
  Object.fromEntries(Object.entries(limitRules).map(([limit, rule]) => [limit, number(rule)])),
)

const inside = (group: string, keys: object): Hints =>
  Object.fromEntries(Object.keys(keys).map(key => [key, `Write it inside ${group}.`]))

const hints: Hints = {
  ...inside('limits', defaultLimits),
  ...inside('checkpoint', checkpointRules),
}

/** Decodes what is configured for all jobs. */
export const Configuration: t.Type<Configuration> = options(
  {
    checkpoint,
    restart,
    stateBackend,
    limits,
    checkpointsFolder: folder,
    savepointsFolder: folder,
    localRecoveryFolders: folders,
    natsUrl: address('nats', 'tls'),
    redisUrl: address('redis', 'rediss'),
  },
  hints,
)

const plainKey = /^[A-Za-z][A-Za-z0-9]{0,40}$/

/** What io-ts found, as problems; where, in the words of whoever reads them. */
export const configurationProblems = (
  errors: t.Errors,
  whereIs: (path: string) => string,
): readonly Problem[] =>
  errors.map(({ context, value, message }) => {
    const keys = context.slice(1).map(({ key }) => key)
    const last = context.at(-1)
    const path = keys.map(key => (plainKey.test(key) ? key : quote(key))).join('.')
    return {
      path: whereIs(path),
      expected: last?.type.name ?? 'something else',
      found:
        last?.type instanceof NoSuchKey
          ? `the unknown option ${quote(last.key)}`
          : describe(typeof value === 'string' ? masked(value) : value),
      next: message ?? 'Correct it.',
    }
  })
