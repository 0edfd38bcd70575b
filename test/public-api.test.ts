/** The public surface: it cannot grow, shrink or lose its documentation by accident. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import * as sluice from 'sluice'
import * as actors from 'sluice/actors'
import { targetOf } from './tidy/rules.js'
import { projectFolder, type SourceFacts, sourceFiles } from './tidy/source.js'

const files = new Map(sourceFiles('lib', 'actors').map(file => [file.path, file]))

const values = {
  sluice: ['actor', 'isJob', 'iterable', 'jetstream', 'job', 'problemText', 'validate'],
  'sluice/actors': ['SluiceError', 'startJob', 'startServers'],
}

const types = {
  sluice: [
    'Actor',
    'ActorOptions',
    'AnyActor',
    'AnySource',
    'CheckpointConfig',
    'CheckpointNotice',
    'CheckpointOptions',
    'Configuration',
    'ConfiguredBackend',
    'Context',
    'Delivery',
    'Durability',
    'Edge',
    'ErrorPolicy',
    'Folders',
    'IterableSource',
    'IterableSourceOptions',
    'IterateOptions',
    'JetStreamSink',
    'JetStreamSinkOptions',
    'JetStreamSource',
    'JetStreamSourceOptions',
    'Job',
    'JobGraph',
    'JobOptions',
    'JobSettings',
    'Key',
    'KeyOf',
    'KeyedState',
    'KeyedStream',
    'Limits',
    'NewJob',
    'NotJson',
    'OpenJob',
    'OperatorOptions',
    'Problem',
    'RestartOptions',
    'Retention',
    'Sink',
    'SinkOptions',
    'Source',
    'SourceEnd',
    'SourceStart',
    'StateBackendOptions',
    'StateNeedsKey',
    'StateSpec',
    'Stream',
    'StreamDoesNotFit',
    'Vertex',
    'When',
  ],
  'sluice/actors': [
    'EmbeddedServers',
    'EmbeddedServersOptions',
    'JobEvent',
    'JobOutcome',
    'JobProgress',
    'RunningJob',
    'StartJobOptions',
    'StreamError',
  ],
}

const entryFile = (path: string): SourceFacts => {
  const file = files.get(path)
  if (file === undefined) throw new Error(`${path} is not there`)
  return file
}

/** All names that an entry exports, types and values alike. */
const namesOf = (path: string): readonly string[] => {
  const { exported, reexported } = entryFile(path)
  return [...exported.keys(), ...reexported.keys()].sort()
}

test('sluice exports these values', t => {
  t.deepEqual(Object.keys(sluice).sort(), values.sluice)
})

test('sluice/actors exports these values', t => {
  t.deepEqual(Object.keys(actors).sort(), values['sluice/actors'])
})

test('sluice exports these types besides', t => {
  t.deepEqual(namesOf('lib/index.ts'), [...values.sluice, ...types.sluice].sort())
})

test('sluice/actors exports these types besides', t => {
  const expected = [...values['sluice/actors'], ...types['sluice/actors']].sort()
  t.deepEqual(namesOf('actors/index.ts'), expected)
})

/** Whether the declaration behind a public name has a doc comment, in whatever file it is. */
const isDocumented = (path: string, name: string): boolean => {
  const file = entryFile(path)
  const here = file.exported.get(name)
  if (here !== undefined) return here.documented
  const from = file.reexported.get(name)
  if (from === undefined) return false
  const { specifier } = from
  const target = targetOf(path, { specifier, typeOnly: false, kind: 'static', line: 0 })
  return target !== undefined && isDocumented(target, from.name)
}

for (const path of ['lib/index.ts', 'actors/index.ts']) {
  test(`every public name of ${path} has a doc comment`, t => {
    t.deepEqual(
      namesOf(path).filter(name => !isDocumented(path, name)),
      [],
    )
  })
}

test('the package has no other entries', t => {
  const manifest: unknown = JSON.parse(readFileSync(join(projectFolder, 'package.json'), 'utf8'))
  t.like(manifest, { name: 'sluice' })
  const entries =
    typeof manifest === 'object' && manifest !== null && 'exports' in manifest
      ? manifest.exports
      : undefined
  t.deepEqual(Object.keys(entries ?? {}), ['.', './actors', './package.json'])
})

for (const deep of [
  'sluice/lib/job/plan.js',
  'sluice/dist/lib/job/plan.js',
  'sluice/actors/deploy.js',
  'sluice/lib',
]) {
  test(`${deep} cannot be imported`, async t => {
    await t.throwsAsync(import(deep), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' })
  })
}
