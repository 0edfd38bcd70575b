/**
 * The tidy rules: who may import whom, what a pure module may not touch, and what nobody may do.
 *
 * A rule is a function from facts to violations, one line of text each, so that the tests can show
 * every rule a sample that breaks it.
 */
import { posix } from 'node:path'
import type { Import, SourceFacts } from './source.js'

/** One row of the import table: what the files below `at` may import. */
export interface Row {
  /** A folder or a file, from the project's folder. The longest one that matches a file decides. */
  readonly at: string
  /** Folders and files of the project; what a folder holds may always import from that folder. */
  readonly files: readonly string[]
  /** The same, where nothing but types may be imported. */
  readonly types?: readonly string[]
  /** Packages, by name; `node:` stands for all modules of Node. */
  readonly packages: readonly string[]
}

const basics = ['lib/errors.ts', 'lib/invariant.ts'] as const
const pure = ['lib/protocol', ...basics] as const
const stores = ['lib/adapters/digest.ts', 'lib/adapters/part.ts'] as const
const allButAdapters = ['lib/job', 'lib/operators', 'lib/ports', 'lib/state', ...pure] as const

/**
 * Who may import whom. Arrows never turn back: `lib` never imports `actors`, adapters never import
 * each other, and only the composition roots join adapters to actors.
 */
export const table: readonly Row[] = [
  { at: 'lib/errors.ts', files: [], packages: [] },
  { at: 'lib/invariant.ts', files: [], packages: [] },
  // Re-exports only: what a job file needs.
  { at: 'lib/index.ts', files: ['lib/job'], types: ['lib/protocol'], packages: [] },
  { at: 'lib/protocol', files: basics, packages: ['io-ts', 'fp-ts'] },
  // Snapshots decode what they restore, by io-ts, and answer an Either; a state's codec and first
  // value are part of what users write, so the contract's types come from lib/job.
  { at: 'lib/state', files: pure, types: ['lib/job'], packages: ['immer', 'io-ts', 'fp-ts'] },
  // What users write is typed by their codecs, hence io-ts.
  { at: 'lib/job', files: pure, packages: ['fp-ts', 'io-ts'] },
  { at: 'lib/operators', files: pure, types: ['lib/job', 'lib/state'], packages: ['fp-ts'] },
  // Interfaces only: a port that imported a value would hold a decision.
  { at: 'lib/ports', files: [], types: ['lib/protocol', 'lib/errors.ts'], packages: ['fp-ts'] },
  adapter('lib/adapters/nats', ['nats']),
  // Records from the store are decoded by io-ts; tokens of a claim come from node:crypto.
  adapter('lib/adapters/redis', ['ioredis', 'io-ts', 'node:'], stores),
  // The digest of what is stored, and codecs for what comes back.
  adapter('lib/adapters/fs', ['io-ts', 'node:'], stores),
  adapter('lib/adapters/memory', ['io-ts', 'node:'], stores),
  // Child processes and files are what these are for.
  adapter('lib/adapters/servers', ['node:']),
  adapter('lib/adapters/node', ['node:']),
  adapter('lib/adapters/codec', ['node:']),
  // What several stores share.
  { at: 'lib/adapters/digest.ts', files: [], packages: ['node:'] },
  { at: 'lib/adapters/part.ts', files: [], types: ['lib/protocol'], packages: [] },
  { at: 'actors', files: allButAdapters, packages: ['fp-ts', 'io-ts'] },
  // The composition root, in two parts, and the entry of the one thread that it starts.
  { at: 'actors/stores.ts', files: ['lib'], packages: ['fp-ts', 'node:'] },
  { at: 'actors/deploy.ts', files: ['lib', 'actors'], packages: ['fp-ts', 'io-ts', 'node:'] },
  { at: 'actors/heartbeat-thread.ts', files: ['lib'], packages: ['fp-ts', 'io-ts', 'node:'] },
  // Public options of the embedded servers are the adapter's own, by type.
  {
    at: 'actors/index.ts',
    files: ['actors', ...allButAdapters],
    types: ['lib/adapters'],
    packages: ['fp-ts'],
  },
  // It forks processes, and decodes what they say.
  {
    at: 'actors/supervisor.ts',
    files: ['actors', ...allButAdapters],
    packages: ['fp-ts', 'io-ts', 'node:'],
  },
  // They read users' files, TypeScript or not.
  {
    at: 'actors/import-file.ts',
    files: ['actors', ...allButAdapters],
    packages: ['fp-ts', 'node:', 'tsx/cjs/api', 'tsx/esm/api'],
  },
  {
    at: 'actors/load-job.ts',
    files: ['actors', ...allButAdapters],
    packages: ['fp-ts', 'node:'],
  },
  {
    at: 'actors/load-configuration.ts',
    files: ['actors', ...allButAdapters],
    packages: ['fp-ts', 'node:'],
  },
  {
    at: 'actors/cli',
    files: ['actors', ...allButAdapters],
    packages: ['fp-ts', 'node:', 'commander'],
  },
  // What a user could write: the package's public entries, and data from outside.
  {
    at: 'examples',
    files: [],
    packages: ['sluice', 'sluice/actors', 'io-ts', 'nats', 'vega-datasets', 'node:'],
  },
]

function adapter(at: string, packages: readonly string[], more: readonly string[] = []): Row {
  return { at, files: ['lib/ports', ...pure, ...more], packages: ['fp-ts', ...packages] }
}

const isBelow = (path: string, place: string): boolean =>
  path === place || path.startsWith(`${place}/`)

const rowOf = (rows: readonly Row[], path: string): Row | undefined =>
  rows
    .filter(row => isBelow(path, row.at))
    .reduce<Row | undefined>(
      (a, b) => (a === undefined || b.at.length > a.at.length ? b : a),
      undefined,
    )

/** The project's file that an import names; undefined for a package. */
export const targetOf = (from: string, { specifier }: Import): string | undefined =>
  specifier.startsWith('.')
    ? posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts')
    : undefined

/** Imports that the table does not allow. */
export const importViolations = (
  file: SourceFacts,
  rows: readonly Row[] = table,
): readonly string[] => {
  const row = rowOf(rows, file.path)
  if (row === undefined) return [`${file.path}: no row of the import table covers it`]
  return file.imports
    .filter(one => !isAllowed(file.path, row, one))
    .map(one => `${file.path}:${one.line} may not import ${one.specifier}${kindOf(one)}`)
}

const kindOf = ({ typeOnly }: Import): string => (typeOnly ? ', not even types' : '')

const isAllowed = (path: string, row: Row, one: Import): boolean => {
  const target = targetOf(path, one)
  if (target === undefined) return row.packages.some(name => isOfPackage(one.specifier, name))
  if (row.at !== path && isBelow(target, row.at)) return true
  if (row.files.some(place => isBelow(target, place))) return true
  return one.typeOnly && (row.types ?? []).some(place => isBelow(target, place))
}

/** The parts of a package that its users import one by one. */
const inParts = new Set(['fp-ts', 'io-ts'])

const isOfPackage = (specifier: string, name: string): boolean => {
  if (name === 'node:') return specifier.startsWith('node:')
  return specifier === name || (inParts.has(name) && specifier.startsWith(`${name}/lib/`))
}

/** Where a type would turn into a value: ports are erased by the compiler, whole. */
export const portViolations = (file: SourceFacts): readonly string[] =>
  !isBelow(file.path, 'lib/ports')
    ? []
    : file.imports
        .filter(one => !one.typeOnly)
        .map(one => `${file.path}:${one.line} imports ${one.specifier} as a value`)

/** Deterministic and without I/O: time enters as an event, and so does every outcome. */
const pureFolders = ['lib/protocol', 'lib/state', 'lib/job', 'lib/operators'] as const

/** Actors get time and chance from the scheduler, so that a simulation can own both. */
const scheduled = (path: string): boolean =>
  isBelow(path, 'actors') && !isBelow(path, 'actors/cli') && !processOwners.includes(path)

const processOwners: readonly string[] = [
  'actors/deploy.ts',
  'actors/stores.ts',
  'actors/heartbeat-thread.ts',
  'actors/import-file.ts',
  'actors/load-configuration.ts',
  'actors/load-job.ts',
  'actors/supervisor.ts',
]

const clocks = [
  'Date.now',
  'new Date()',
  'performance',
  'Math.random',
  'crypto',
  'process',
] as const
const timers = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'] as const
const surroundings = ['console', 'fetch', 'globalThis', 'require', 'Buffer'] as const

/** Clocks, chance, timers and waiting where they have no place. */
export const purityViolations = (file: SourceFacts): readonly string[] => {
  const isPure = pureFolders.some(folder => isBelow(file.path, folder))
  if (!isPure && !scheduled(file.path)) return []
  const banned = new Set<string>([...clocks, ...timers, ...(isPure ? surroundings : [])])
  return [...file.names.filter(({ name }) => banned.has(name)), ...(isPure ? file.waits : [])].map(
    ({ name, line }) => `${file.path}:${line} uses ${name}`,
  )
}

/** Job files for tests, some of them wrong on purpose. */
const wrongJobs = 'test/support/jobs'

/** What no file may do. In a test `ts-expect-error` states a fact: this does not compile. */
export const honestyViolations = (file: SourceFacts): readonly string[] => [
  ...file.evasions
    .filter(({ name }) => name !== 'ts-expect-error' || !isBelow(file.path, 'test'))
    .map(({ name, line }) => `${file.path}:${line} uses ${name}`),
  ...file.defaultExports
    .filter(({ name }) => name !== 'job' && !isBelow(file.path, wrongJobs))
    .map(({ line }) => `${file.path}:${line} has a default export that is no job`),
  ...file.unrun.map(({ name, line }) => `${file.path}:${line} has a ${name}`),
]

/** Exported names that nothing explains. */
export const documentationViolations = (file: SourceFacts): readonly string[] =>
  [...file.exported]
    .filter(([, { documented }]) => !documented)
    .map(([name]) => `${file.path}: ${name} has no doc comment`)

/** Import cycles, each once, of imports that load something; types may refer to each other. */
export const cycles = (files: readonly SourceFacts[]): readonly string[] => {
  const graph = new Map(files.map(file => [file.path, loaded(file)]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path)
    if (at >= 0) found.push([...trail.slice(at), path].join(' → '))
    if (at >= 0 || done.has(path)) return
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const path of graph.keys()) visit(path, [])
  return found
}

const loaded = (file: SourceFacts): readonly string[] =>
  file.imports
    .filter(one => !one.typeOnly && one.kind === 'static')
    .map(one => targetOf(file.path, one))
    .filter(target => target !== undefined)

/** Files that no entry reaches, by any import or by an address. */
export const deadFiles = (
  files: readonly SourceFacts[],
  entries: readonly string[],
): readonly string[] => {
  const byPath = new Map(files.map(file => [file.path, file]))
  const reached = new Set(entries)
  // A set may grow while it is walked.
  for (const path of reached) {
    const file = byPath.get(path)
    for (const one of file?.imports ?? []) {
      const target = targetOf(path, one)
      if (target !== undefined && byPath.has(target)) reached.add(target)
    }
  }
  return [
    ...entries.filter(path => !byPath.has(path)).map(path => `${path}: no such entry`),
    ...files.filter(file => !reached.has(file.path)).map(file => `${file.path}: nobody reaches it`),
  ]
}
