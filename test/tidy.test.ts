/**
 * The architecture as a test: the import table, the purity of the core, and what nobody may do.
 *
 * The first tests hold the project to the rules; those below hold each rule to a sample that breaks
 * it, since a rule that cannot fail protects nothing.
 */
import test from 'ava'
import {
  cycles,
  deadFiles,
  documentationViolations,
  honestyViolations,
  importViolations,
  portViolations,
  purityViolations,
  table,
} from './tidy/rules.js'
import { factsOf, sourceFiles } from './tidy/source.js'

const product = sourceFiles('lib', 'actors')
const examples = sourceFiles('examples')
const everything = [...product, ...examples, ...sourceFiles('test')]

/** What is started or imported from outside. */
const entries = ['lib/index.ts', 'actors/index.ts', 'actors/cli/main.ts']

test('every import is allowed by the import table', t => {
  t.true(product.length > 50, 'the files were not found')
  t.deepEqual(
    [...product, ...examples].flatMap(file => importViolations(file)),
    [],
  )
})

test('every row of the import table covers a file', t => {
  const files = [...product, ...examples]
  const idle = table.filter(row => !files.some(file => `${file.path}/`.startsWith(`${row.at}/`)))
  t.deepEqual(idle, [])
})

test('ports are types and nothing else', t => {
  t.deepEqual(product.flatMap(portViolations), [])
})

test('the pure folders have no clock, no chance and no waiting, and actors only their scheduler', t => {
  t.deepEqual(product.flatMap(purityViolations), [])
})

test('no file lies to the compiler, exports a default that is no job, or keeps tests from running', t => {
  t.deepEqual(everything.flatMap(honestyViolations), [])
})

test('every exported name has a doc comment', t => {
  t.deepEqual(product.flatMap(documentationViolations), [])
})

test('no imports form a cycle', t => {
  t.deepEqual(cycles(everything), [])
})

test('no file is dead', t => {
  t.deepEqual(deadFiles(product, entries), [])
})

const violations = (
  rule: (file: ReturnType<typeof factsOf>) => readonly string[],
  path: string,
  text: string,
): readonly string[] => rule(factsOf(path, text))

const breaks = test.macro({
  exec(
    t,
    rule: (file: ReturnType<typeof factsOf>) => readonly string[],
    path: string,
    text: string,
    expected: string,
  ) {
    t.deepEqual(violations(rule, path, text), [`${path}:1 ${expected}`])
  },
  title: (_, _rule, path, text) => `the checker refuses in ${path}: ${text}`,
})

const keeps = test.macro({
  exec(
    t,
    rule: (file: ReturnType<typeof factsOf>) => readonly string[],
    path: string,
    text: string,
  ) {
    t.deepEqual(violations(rule, path, text), [])
  },
  title: (_, _rule, path, text) => `the checker allows in ${path}: ${text}`,
})

const imports = (file: ReturnType<typeof factsOf>): readonly string[] => importViolations(file)

test(breaks, imports, 'lib/protocol/a.ts', "import { connect } from 'nats'", 'may not import nats')
test(breaks, imports, 'lib/protocol/a.ts', "import 'node:fs'", 'may not import node:fs')
test(
  breaks,
  imports,
  'lib/protocol/a.ts',
  "export * from '../state/s.js'",
  'may not import ../state/s.js',
)
test(
  breaks,
  imports,
  'lib/protocol/a.ts',
  "import type { X } from '../../actors/a.js'",
  'may not import ../../actors/a.js, not even types',
)
test(breaks, imports, 'lib/protocol/a.ts', "const a = import('immer')", 'may not import immer')
test(
  breaks,
  imports,
  'lib/state/a.ts',
  "import { job } from '../job/b.js'",
  'may not import ../job/b.js',
)
test(
  breaks,
  imports,
  'lib/adapters/redis/a.ts',
  "import { natsEventLog } from '../nats/event-log.js'",
  'may not import ../nats/event-log.js',
)
test(breaks, imports, 'lib/adapters/nats/a.ts', "import 'ioredis'", 'may not import ioredis')
test(
  breaks,
  imports,
  'actors/source.ts',
  "import { connectNats } from '../lib/adapters/nats/connection.js'",
  'may not import ../lib/adapters/nats/connection.js',
)
test(
  breaks,
  imports,
  'actors/index.ts',
  "import { startServers } from '../lib/adapters/servers/embedded.js'",
  'may not import ../lib/adapters/servers/embedded.js',
)
test(
  breaks,
  imports,
  'examples/a/job.ts',
  "import { plan } from '../../lib/job/plan.js'",
  'may not import ../../lib/job/plan.js',
)
test(
  breaks,
  imports,
  'examples/a/job.ts',
  "import 'sluice/lib/job'",
  'may not import sluice/lib/job',
)
test(keeps, imports, 'lib/protocol/a.ts', "import { right } from 'fp-ts/lib/Either.js'")
test(keeps, imports, 'lib/protocol/a.ts', "const text = `import 'nats'` // import 'nats'")
test(keeps, imports, 'lib/state/a.ts', "import type { StateSpec } from '../job/contracts.js'")
test(keeps, imports, 'lib/state/a.ts', "import { type StateSpec } from '../job/contracts.js'")
test(keeps, imports, 'actors/deploy.ts', "import { a } from '../lib/adapters/nats/connection.js'")
test(
  keeps,
  imports,
  'actors/index.ts',
  "import type { A } from '../lib/adapters/servers/embedded.js'",
)

test('the checker refuses a file that no row of the table covers', t => {
  const found = violations(imports, 'lib/utils/a.ts', '')
  t.deepEqual(found, ['lib/utils/a.ts: no row of the import table covers it'])
})

const port = 'lib/ports/p.ts'
test(
  breaks,
  portViolations,
  port,
  "import { a } from '../errors.js'",
  'imports ../errors.js as a value',
)
test(keeps, portViolations, port, "import type { StreamError } from '../errors.js'")

const core = 'lib/protocol/a.ts'
test(breaks, purityViolations, core, 'const a = Date.now()', 'uses Date.now')
test(breaks, purityViolations, core, 'const a = new Date()', 'uses new Date()')
test(breaks, purityViolations, core, 'const a = Math.random', 'uses Math.random')
test(breaks, purityViolations, core, 'setTimeout(f, 1)', 'uses setTimeout')
test(breaks, purityViolations, core, 'const a = [setInterval, 1]', 'uses setInterval')
test(breaks, purityViolations, core, 'const a = { setImmediate }', 'uses setImmediate')
test(breaks, purityViolations, core, 'const f = async () => 1', 'uses async')
test(breaks, purityViolations, core, 'await f', 'uses await')
test(breaks, purityViolations, core, 'class A { async f() {} }', 'uses async')
test(breaks, purityViolations, 'actors/source.ts', 'setTimeout(f, 1)', 'uses setTimeout')
test(keeps, purityViolations, 'actors/source.ts', 'const f = async () => this.scheduler.now()')
test(keeps, purityViolations, core, "const a = state.process + b['x'].performance // Date.now()")
test(keeps, purityViolations, core, 'const a = { process: new Date(0), crypto: Date.parse(b) }')
test(keeps, purityViolations, 'actors/deploy.ts', 'setInterval(touch, 1)')

test('the checker sees a name of the surroundings also behind a dot', t => {
  const found = violations(purityViolations, core, 'const a = process.env + performance.now()')
  t.deepEqual(found, [`${core}:1 uses process`, `${core}:1 uses performance`])
})

test(breaks, honestyViolations, core, 'const a: any = 1', 'uses any')
test(breaks, honestyViolations, core, 'const a = b as unknown as string', 'uses as unknown as')
test(breaks, honestyViolations, core, '// @ts-ignore', 'uses ts-ignore')
test(breaks, honestyViolations, core, '/* @ts-nocheck */', 'uses ts-nocheck')
test(breaks, honestyViolations, core, '// @ts-expect-error', 'uses ts-expect-error')
test(breaks, honestyViolations, core, 'export default 1', 'has a default export that is no job')
test(
  breaks,
  honestyViolations,
  core,
  'const a = 1; export { a as default }',
  'has a default export that is no job',
)
test(breaks, honestyViolations, 'test/a.test.ts', "test.only('a', f)", 'has a test.only')
test(breaks, honestyViolations, 'test/a.test.ts', "test.serial.skip('a', f)", 'has a test.skip')
test(keeps, honestyViolations, 'test/types/a.ts', '// @ts-expect-error')
test(keeps, honestyViolations, 'examples/a/job.ts', "export default job('a').from(s).into(t)")
test(keeps, honestyViolations, 'examples/a/job.ts', "const a = job('a').from(s); export default a")
test(keeps, honestyViolations, 'test/support/jobs/not-a-job.ts', 'export default 1')
test(keeps, honestyViolations, core, "const any = 'as unknown as' // any")

test('the checker finds an exported name without a doc comment', t => {
  const text =
    '/** One. */\nexport const a = 1\n// Two.\nexport const b = 2\nexport { c } from "./c.js"'
  t.deepEqual(violations(documentationViolations, core, text), [`${core}: b has no doc comment`])
})

test('the checker finds a cycle of values, and leaves a cycle of types alone', t => {
  const a = factsOf('lib/a.ts', "import { b } from './b.js'")
  const b = factsOf('lib/b.ts', "export { c } from './c.js'")
  const c = factsOf('lib/c.ts', "import { a } from './a.js'")
  t.deepEqual(cycles([a, b, c]), ['lib/a.ts → lib/b.ts → lib/c.ts → lib/a.ts'])
  t.deepEqual(cycles([a, b, factsOf('lib/c.ts', "import type { A } from './a.js'")]), [])
})

test('the checker finds a dead file, and follows imports, re-exports and addresses', t => {
  const files = [
    factsOf('actors/main.ts', "export { b } from './b.js'\nimport('./c.js')"),
    factsOf('actors/b.ts', "new Thread(new URL('./thread.js', import.meta.url))"),
    factsOf('actors/c.ts', ''),
    factsOf('actors/thread.ts', ''),
    factsOf('actors/dead.ts', "import './main.js'"),
  ]
  t.deepEqual(deadFiles(files, ['actors/main.ts']), ['actors/dead.ts: nobody reaches it'])
  t.deepEqual(deadFiles([], ['actors/gone.ts']), ['actors/gone.ts: no such entry'])
})
