/** Which of code, environment, file and defaults a setting is taken from. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { iterable, job } from '../../lib/index.js'
import {
  type ConfiguredValue,
  configure,
  configuredForAll,
  type Layers,
  type Origin,
  originText,
} from '../../lib/job/configuration.js'
import { Configuration, configurationProblems } from '../../lib/job/configuration-codec.js'
import type { JobGraph } from '../../lib/job/graph.js'
import { defaultLimits, type Limits } from '../../lib/job/limits.js'
import { problemText } from '../../lib/job/problem.js'
import type { CheckpointOptions, RestartOptions } from '../../lib/job/settings.js'
import { validate } from '../../lib/job/validate.js'

const path = '/srv/sluice.config.json'

const layers = (file: Configuration = {}, environment: Configuration = {}): Layers => ({
  environment,
  file: { path, values: file },
})

const open = (limits: Partial<Limits> = {}) =>
  job('j', { limits }).from(iterable.source({ id: 'numbers', open: () => [1] }))

const plain = (limits: Partial<Limits> = {}): JobGraph => {
  const stream: unknown = open(limits)
  return isJobLike(stream) ? stream.graph : failed()
}
const isJobLike = (value: unknown): value is { readonly graph: JobGraph } =>
  typeof value === 'object' && value !== null && 'graph' in value
const failed = (): never => {
  throw new Error('no job')
}

/** A graph that says these things in its code. */
const saying = (
  said: { readonly checkpoint?: Partial<CheckpointOptions>; readonly restart?: RestartOptions },
  limits: Partial<Limits> = {},
): JobGraph => {
  const graph = plain(limits)
  const { checkpoint, restart } = said
  return {
    ...graph,
    settings: {
      ...graph.settings,
      ...(restart === undefined ? {} : { restart }),
      ...(isComplete(checkpoint) ? { checkpoint } : {}),
    },
  }
}
const isComplete = (value: Partial<CheckpointOptions> | undefined): value is CheckpointOptions =>
  value !== undefined

const at = (values: readonly ConfiguredValue[], key: string): ConfiguredValue =>
  values.find(one => one.key === key) ?? { key, value: 'nothing', from: { type: 'default' } }

/** Three right values for each option of checkpointing: said by code, environment and file. */
const checkpointValues: { readonly [K in keyof CheckpointOptions]-?: readonly unknown[] } = {
  intervalMs: [100, 200, 300],
  mode: ['at-least-once', 'exactly-once', 'at-least-once'],
  timeoutMs: [1_000, 2_000, 3_000],
  minPauseMs: [1, 2, 3],
  maxConcurrent: [1, 2, 3],
  onCheckpointError: ['decline', 'fail', 'decline'],
  tolerableFailures: [1, 2, 3],
  retention: ['none', 'delete-on-cancellation', 'retain-on-cancellation'],
  numRetained: [2, 3, 4],
  async: [true, false, true],
  incremental: [true, false, true],
  inlineThresholdBytes: [1, 2, 3],
  localRecovery: [false, true, false],
  force: [true, false, true],
}

const origins: readonly Origin['type'][] = ['code', 'environment', 'file']

test('CG1: each option is that of the first who says it: code, environment, file, default', t => {
  let cases = 0
  for (const [key, values] of Object.entries(checkpointValues)) {
    for (let who = 0; who < 8; who += 1) {
      const says = origins.map((_, layer) => (who & (1 << layer)) !== 0)
      const [code, environment, file] = says.map((isSaid, layer) => ({
        checkpoint: isSaid ? { [key]: values[layer] } : {},
      }))
      const configured = configure(saying(code ?? {}), layers(file, environment))
      const found = at(configured.values, `checkpoint.${key}`)
      const winner = says.indexOf(true)
      t.is(found.from.type, origins[winner] ?? 'default', `${key} ${says}`)
      if (winner >= 0) t.is(found.value, values[winner], `${key} ${says}`)
      cases += 1
    }
  }
  t.is(cases, 14 * 8)
})

test('CG1: options of one group may come from all of them at once', t => {
  const { graph, values } = configure(
    saying({ checkpoint: { intervalMs: 100 } }),
    layers(
      { checkpoint: { intervalMs: 300, timeoutMs: 3_000, numRetained: 4 } },
      { checkpoint: { intervalMs: 200, timeoutMs: 2_000 } },
    ),
  )
  t.like(graph.checkpoint, { intervalMs: 100, timeoutMs: 2_000, numRetained: 4, minPauseMs: 0 })
  t.deepEqual(
    ['intervalMs', 'timeoutMs', 'numRetained', 'minPauseMs'].map(key =>
      originText(at(values, `checkpoint.${key}`).from),
    ),
    ['code', 'environment SLUICE_CHECKPOINT_TIMEOUT_MS', `file ${path}`, 'default'],
  )
})

test('an interval for all jobs checkpoints those that do not ask for it', t => {
  t.is(configure(plain(), layers({ checkpoint: { timeoutMs: 50 } })).graph.checkpoint, undefined)
  const { graph } = configure(plain(), layers({ checkpoint: { intervalMs: 50 } }))
  t.is(graph.checkpoint?.intervalMs, 50)
})

test('CG2: the first who says a restart strategy decides its type', t => {
  const { graph, values } = configure(
    saying({ restart: { type: 'fixed-delay', attempts: 7 } }),
    layers(
      { restart: { type: 'fixed-delay', attempts: 1, delayMs: 5 } },
      { restart: { type: 'failure-rate', delayMs: 99, maxFailures: 9 } },
    ),
  )
  t.deepEqual(graph.settings.restart, { type: 'fixed-delay', attempts: 7, delayMs: 5 })
  t.deepEqual(
    values.filter(({ key }) => key.startsWith('restart.')).map(({ key, from }) => [key, from.type]),
    [
      ['restart.type', 'code'],
      ['restart.attempts', 'code'],
      ['restart.delayMs', 'file'],
    ],
  )
})

test('without a word on restarts the default depends on whether the job is checkpointed', t => {
  const typeOf = (graph: JobGraph, file: Configuration): unknown =>
    at(configure(graph, layers(file)).values, 'restart.type').value
  t.is(typeOf(plain(), {}), 'none')
  t.is(typeOf(saying({ checkpoint: { intervalMs: 50 } }), {}), 'exponential-delay')
  t.is(typeOf(plain(), { checkpoint: { intervalMs: 50 } }), 'exponential-delay')
  t.is(typeOf(plain(), { restart: { type: 'failure-rate' } }), 'failure-rate')
})

test('limits of all jobs hold where a job names none', t => {
  const file = { limits: { lingerMs: 9, historyMax: 3 } }
  const { graph } = configure(plain({ lingerMs: 7 }), layers(file))
  t.deepEqual(graph.limits, { ...defaultLimits, lingerMs: 7, historyMax: 3 })
})

test('a state backend in files has the folder for checkpoints unless it names one', t => {
  const checkpointsFolder = '/all'
  const backendOf = (file: Configuration): unknown =>
    configure(plain(), layers(file)).graph.settings.stateBackend
  t.deepEqual(backendOf({ checkpointsFolder, stateBackend: { type: 'fs' } }), {
    type: 'fs',
    folder: '/all',
  })
  t.deepEqual(backendOf({ checkpointsFolder, stateBackend: { type: 'fs', folder: '/own' } }), {
    type: 'fs',
    folder: '/own',
  })
  t.is(backendOf({ checkpointsFolder }), undefined)
  const nowhere = validate(configure(plain(), layers({ stateBackend: { type: 'fs' } })).graph)
  t.true(E.isLeft(nowhere) && nowhere.left.some(({ path: of }) => of === 'stateBackend.folder'))
})

test('folders for all jobs come to the graph', t => {
  const { graph } = configure(
    plain(),
    layers({ savepointsFolder: '/s', localRecoveryFolders: ['/a', '/b'] }),
  )
  t.deepEqual(graph.folders, { savepoints: '/s', localRecovery: ['/a', '/b'] })
  t.is(configure(plain(), layers()).graph.folders, undefined)
})

test('CG3: what the code says wrongly is left for validate, and what fits nothing else, too', t => {
  const wrong = validate(configure(saying({ checkpoint: { intervalMs: 1 } }), layers()).graph)
  t.true(E.isLeft(wrong) && wrong.left.some(({ path: of }) => of === 'checkpoint.intervalMs'))
  const { graph } = configure(
    saying({ checkpoint: { intervalMs: 100, maxConcurrent: 2 } }),
    layers({ checkpoint: { minPauseMs: 5 } }),
  )
  const both = validate(graph)
  t.true(E.isLeft(both) && both.left.some(({ path: of }) => of === 'checkpoint.minPauseMs'))
})

test('a job for which nothing is configured stays as it is', t => {
  const graph = saying({ checkpoint: { intervalMs: 100 }, restart: { type: 'none' } })
  const configured = configure(graph, { environment: {}, file: undefined })
  t.deepEqual(configured.graph.settings, graph.settings)
  t.deepEqual(configured.graph.limits, graph.limits)
})

test('every setting has a line, with or without a job', t => {
  const keys = configuredForAll({ environment: {}, file: undefined }).map(({ key }) => key)
  t.is(new Set(keys).size, keys.length)
  for (const key of Object.keys(checkpointValues)) t.true(keys.includes(`checkpoint.${key}`), key)
  for (const key of Object.keys(defaultLimits)) t.true(keys.includes(`limits.${key}`), key)
})

/** What the codec says of a value, line by line. */
const judged = (value: unknown): readonly string[] => {
  const decoded = Configuration.decode(value)
  return E.isRight(decoded)
    ? []
    : configurationProblems(decoded.left, key => key).map(problem => problemText(problem))
}

test('every option of checkpointing is held to its rule, by its path', t => {
  for (const [key, values] of Object.entries(checkpointValues)) {
    for (const value of values) t.deepEqual(judged({ checkpoint: { [key]: value } }), [])
    const [problem = ''] = judged({ checkpoint: { [key]: 'wrong' } })
    t.regex(problem, new RegExp(`^checkpoint\\.${key}: expected .+, found "wrong"\\. [A-Z].+\\.$`))
  }
})

test('an option that is undefined was not said', t => {
  const decoded = Configuration.decode({ checkpoint: { mode: undefined }, restart: undefined })
  t.deepEqual(decoded, E.right({ checkpoint: {} }))
})

test('a key that only looks like one of an object is unknown', t => {
  const value: unknown = JSON.parse(
    '{ "__proto__": 1, "toString": 2, "checkpoint": { "valueOf": 3 } }',
  )
  t.is(judged(value).length, 3)
})
