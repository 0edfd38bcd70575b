/**
 * What the environment says of a job's settings: one variable for each key of the configuration.
 *
 * `checkpoint.intervalMs` is `SLUICE_CHECKPOINT_INTERVAL_MS`, and so on; the two servers have the
 * names that they have always had, `NATS_URL` and `REDIS_URL`. An empty variable says nothing.
 */
import * as E from 'fp-ts/lib/Either.js'
import { Configuration, configurationProblems } from './configuration-codec.js'
import { defaultLimits } from './limits.js'
import { type Problem, quote } from './problem.js'
import { meantBy } from './rules.js'
import { checkpointRules, restartRules, stateBackendRules } from './settings-rules.js'

/** Names and values, as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>

const groups: Readonly<Record<string, readonly string[]>> = {
  checkpoint: Object.keys(checkpointRules),
  restart: ['type', ...new Set(Object.values(restartRules).flatMap(Object.keys))],
  stateBackend: ['type', ...new Set(Object.values(stateBackendRules).flatMap(Object.keys))],
  limits: Object.keys(defaultLimits),
}

/** Every key of the configuration but the servers, with its group in front. */
const keys: readonly string[] = [
  ...Object.entries(groups).flatMap(([group, names]) => names.map(name => `${group}.${name}`)),
  'checkpointsFolder',
  'savepointsFolder',
  'localRecoveryFolders',
]

const servers: Readonly<Record<string, string>> = { natsUrl: 'NATS_URL', redisUrl: 'REDIS_URL' }

const capitals = (name: string): string =>
  name.replaceAll('.', '_').replace(/[A-Z]/g, '_$&').toUpperCase()

/** The variable that sets a key of the configuration. */
export const environmentName = (key: string): string => servers[key] ?? `SLUICE_${capitals(key)}`

/** What the environment configures, or all that is wrong with it, by the names of variables. */
export const configurationIn = (
  environment: Environment,
): E.Either<readonly Problem[], Configuration> => {
  const decoded = Configuration.decode(saidIn(environment))
  const problems = [
    ...unknownNames(environment),
    ...(E.isLeft(decoded) ? configurationProblems(decoded.left, environmentName) : []),
  ]
  if (E.isLeft(decoded) || problems.length > 0) return E.left(problems)
  // Whoever connects judges these.
  const { NATS_URL: natsUrl, REDIS_URL: redisUrl } = environment
  return E.right({
    ...decoded.right,
    ...(isSaid(natsUrl) ? { natsUrl } : {}),
    ...(isSaid(redisUrl) ? { redisUrl } : {}),
  })
}

const isSaid = (value: string | undefined): value is string => value !== undefined && value !== ''

const saidIn = (environment: Environment): Readonly<Record<string, unknown>> => {
  const said = new Map<string, unknown>()
  const inGroups = new Map<string, Map<string, unknown>>()
  for (const key of keys) {
    const found = environment[environmentName(key)]
    if (!isSaid(found)) continue
    const [group = '', name] = key.split('.')
    if (name === undefined) said.set(key, meaningOf(key, found))
    else inGroups.set(group, (inGroups.get(group) ?? new Map()).set(name, meaningOf(name, found)))
  }
  for (const [group, values] of inGroups) said.set(group, Object.fromEntries(values))
  return Object.fromEntries(said)
}

const texts = new Set(['checkpointsFolder', 'savepointsFolder', 'folder'])
const numeric = /^[+-]?(\d+(\.\d*)?|\.\d+)$/

/** What a text stands for; one that stands for nothing is left as it is, for the codec to refuse. */
const meaningOf = (name: string, found: string): unknown => {
  if (texts.has(name)) return found
  if (name === 'localRecoveryFolders') return found.split(',').map(folder => folder.trim())
  if (found === 'true' || found === 'false') return found === 'true'
  return numeric.test(found.trim()) ? Number(found) : found
}

const prefixes = Object.keys(groups).map(group => `SLUICE_${capitals(group)}_`)

/** A misspelt setting must not be dropped in silence. */
const unknownNames = (environment: Environment): readonly Problem[] => {
  const known = keys.map(environmentName)
  return Object.keys(environment)
    .filter(name => prefixes.some(prefix => name.startsWith(prefix)) && !known.includes(name))
    .map(name => {
      const meant = meantBy(name, known)
      return {
        path: name,
        expected: 'the name of a setting',
        found: quote(name),
        next: meant === undefined ? 'Unset it.' : `Did you mean ${meant}?`,
      }
    })
}
