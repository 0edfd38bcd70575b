/**
 * The settings of a job, put together: its own code beats the environment, that beats the
 * configuration file, and that beats the defaults, key by key.
 *
 * Invariants
 *   CG1. Each value is that of the first layer that says its key, and its origin names that layer.
 *   CG2. A restart strategy and a state backend have one type, said by the first layer that says
 *        one; options that were said with another type do not count.
 *   CG3. Nothing is judged here: what a job's code said wrongly is still there for `validate`.
 *
 * Every process of a job puts its own together; from the same layers all get the same.
 */
import type { Configuration } from './configuration-codec.js'
import { environmentName } from './environment.js'
import type { Folders, JobGraph } from './graph.js'
import { defaultLimits, type Limits } from './limits.js'
import { defaultRestart, restartDefaults } from './restart.js'
import { isRecord } from './rules.js'
import {
  type CheckpointOptions,
  checkpointDefaults,
  filledCheckpoint,
  type JobSettings,
  type RestartOptions,
  type StateBackendOptions,
} from './settings.js'

/** Who said a value. */
export type Origin =
  | { readonly type: 'code' }
  | { readonly type: 'environment'; readonly name: string }
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'default' }

/** One setting: `key` is its path, `checkpoint.intervalMs`; undefined where there is none. */
export interface ConfiguredValue {
  readonly key: string
  readonly value: unknown
  readonly from: Origin
}

/** What is said outside of a job's code. */
export interface Layers {
  readonly environment: Configuration
  readonly file: { readonly path: string; readonly values: Configuration } | undefined
}

/** A job with all its settings, and where each came from. */
export interface Configured {
  readonly graph: JobGraph
  readonly values: readonly ConfiguredValue[]
}

/** Where servers are looked for when nobody says where they are. */
export const defaultServers = {
  natsUrl: 'nats://127.0.0.1:4222',
  redisUrl: 'redis://127.0.0.1:6379',
} as const

type Fields = Readonly<Record<string, unknown>>

interface Layer {
  readonly said: Fields
  readonly from: (key: string) => Origin
}

const stateBackendDefaults: Readonly<Record<StateBackendOptions['type'], Fields>> = {
  memory: { stateBytesMax: 5 * 1024 * 1024 },
  fs: {},
  redis: {},
}

/** A graph with the settings that are configured for all jobs. */
export const configure = (graph: JobGraph, layers: Layers): Configured => {
  const said = graph.settings ?? {}
  const code: Fields = { checkpoint: graph.checkpoint, ...said }
  const all = layersOf(code, layers)
  const values = valuesIn(all, graph.checkpoint !== undefined, graph.limits)
  const folders = foldersIn(values)
  const checkpoint = saidOf(values, 'checkpoint')
  const restart = saidOf(values, 'restart')
  const stateBackend = saidOf(values, 'stateBackend')
  const isOn = graph.checkpoint !== undefined || checkpoint.intervalMs !== undefined
  const settings: JobSettings = {
    ...said,
    ...(isOn && isCheckpointOptions(checkpoint) ? { checkpoint } : {}),
    ...(isSome(restart) && isRestartOptions(restart) ? { restart } : {}),
    ...(isSome(stateBackend) && isStateBackendOptions(stateBackend) ? { stateBackend } : {}),
  }
  return {
    graph: Object.freeze({
      ...graph,
      settings: Object.freeze(settings),
      checkpoint:
        isOn && isCheckpointOptions(checkpoint) ? filledCheckpoint(checkpoint) : undefined,
      limits: Object.freeze({ ...graph.limits, ...saidOf(values, 'limits') }),
      ...(isSome(folders) ? { folders: Object.freeze(folders) } : {}),
    }),
    values,
  }
}

/** The settings of a job that says nothing of them in its code. */
export const configuredForAll = (layers: Layers): readonly ConfiguredValue[] =>
  valuesIn(layersOf({}, layers), false, defaultLimits)

/** An origin in words. */
export const originText = (from: Origin): string => {
  switch (from.type) {
    case 'environment':
      return `environment ${from.name}`
    case 'file':
      return `file ${from.path}`
    default:
      return from.type
  }
}

const layersOf = (code: Fields, { environment, file }: Layers): readonly Layer[] => [
  { said: code, from: () => ({ type: 'code' }) },
  { said: { ...environment }, from: key => ({ type: 'environment', name: environmentName(key) }) },
  ...(file === undefined
    ? []
    : [{ said: { ...file.values }, from: (): Origin => ({ type: 'file', path: file.path }) }]),
]

const valuesIn = (
  layers: readonly Layer[],
  isCheckpointed: boolean,
  limits: Limits,
): readonly ConfiguredValue[] => {
  const checkpoint = groupIn(layers, 'checkpoint', { intervalMs: undefined, ...checkpointDefaults })
  const isOn = isCheckpointed || valueAt(checkpoint, 'checkpoint.intervalMs') !== undefined
  const checkpointsFolder = single(layers, 'checkpointsFolder')
  const redisUrl = single(layers, 'redisUrl', defaultServers.redisUrl)
  const backend = redisUrl.value === undefined ? 'memory' : 'redis'
  return [
    ...checkpoint,
    ...typedIn(layers, 'restart', defaultRestart(isOn).type, restartDefaults),
    ...withFolder(
      typedIn(layers, 'stateBackend', backend, stateBackendDefaults),
      checkpointsFolder,
    ),
    checkpointsFolder,
    single(layers, 'savepointsFolder'),
    single(layers, 'localRecoveryFolders'),
    single(layers, 'natsUrl', defaultServers.natsUrl),
    redisUrl,
    ...groupIn(layers, 'limits', { ...limits }),
  ]
}

const single = (layers: readonly Layer[], key: string, fallback?: string): ConfiguredValue => {
  const layer = layers.find(({ said }) => said[key] !== undefined)
  if (layer === undefined) return { key, value: fallback, from: { type: 'default' } }
  return { key, value: layer.said[key], from: layer.from(key) }
}

/** The keys of one group, each from the first layer that says it (CG1). */
const groupIn = (
  layers: readonly Layer[],
  group: string,
  defaults: Fields,
): readonly ConfiguredValue[] => {
  const inner = layers.map(({ said, from }) => {
    const own = said[group]
    return { said: isRecord(own) ? own : {}, from: (name: string) => from(`${group}.${name}`) }
  })
  const names = new Set([defaults, ...inner.map(({ said }) => said)].flatMap(Object.keys))
  return [...names].map(name => {
    const { value = defaults[name], from } = single(inner, name)
    return { key: `${group}.${name}`, value, from }
  })
}

/** The keys of a group whose `type` decides what else it has (CG2). */
const typedIn = (
  layers: readonly Layer[],
  group: string,
  fallback: string,
  defaults: Readonly<Record<string, Fields>>,
): readonly ConfiguredValue[] => {
  const typeOf = ({ said }: Layer): unknown => {
    const own = said[group]
    return isRecord(own) ? own.type : undefined
  }
  const first = layers.find(({ said }) => said[group] !== undefined)
  const type = first === undefined ? fallback : typeOf(first)
  const own = typeof type === 'string' && Object.hasOwn(defaults, type) ? defaults[type] : {}
  const counting = layers.filter(layer => layer === first || typeOf(layer) === type)
  return groupIn(counting, group, { type, ...own })
}

/** A state backend in files without a folder of its own has the one for all jobs. */
const withFolder = (
  backend: readonly ConfiguredValue[],
  { value, from }: ConfiguredValue,
): readonly ConfiguredValue[] => {
  const key = 'stateBackend.folder'
  const isFs = valueAt(backend, 'stateBackend.type') === 'fs'
  if (!isFs || backend.some(one => one.key === key)) return backend
  return [...backend, { key, value, from }]
}

const valueAt = (values: readonly ConfiguredValue[], key: string): unknown =>
  values.find(one => one.key === key)?.value

/** What was said of a group by anybody, without defaults. */
const saidOf = (values: readonly ConfiguredValue[], group: string): Fields =>
  Object.fromEntries(
    values.flatMap(({ key, value, from }) =>
      key.startsWith(`${group}.`) && from.type !== 'default'
        ? [[key.slice(group.length + 1), value]]
        : [],
    ),
  )

const foldersIn = (values: readonly ConfiguredValue[]): Folders => {
  const savepoints = valueAt(values, 'savepointsFolder')
  const localRecovery = valueAt(values, 'localRecoveryFolders')
  return {
    ...(typeof savepoints === 'string' ? { savepoints } : {}),
    ...(Array.isArray(localRecovery) ? { localRecovery } : {}),
  }
}

const isSome = (fields: object): boolean => Object.keys(fields).length > 0

// These look at the kind of a thing only: `validate` judges every field of it (CG3).
const isCheckpointOptions = (value: Fields): value is Fields & CheckpointOptions => isRecord(value)
const isRestartOptions = (value: Fields): value is Fields & RestartOptions => isRecord(value)
const isStateBackendOptions = (value: Fields): value is Fields & StateBackendOptions =>
  isRecord(value)
