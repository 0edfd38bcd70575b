/** The model keeps what it says: its rules are those of the project, and each has its counterexample. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { projectFolder } from '../tidy/source.js'
import { removals } from './rules.js'
import { readFound } from './search.js'

const read = (path: string): string => readFileSync(join(projectFolder, path), 'utf8')
const model = read('test/model/checkpoint.pml')
const unique = (words: readonly string[]): readonly string[] => [...new Set(words)].sort()
const matches = (text: string, pattern: RegExp): readonly string[] =>
  unique([...text.matchAll(pattern)].map(match => match[1] ?? ''))

const rules = matches(read('lib/README.md'), /^\| (P\d+) \|/gm)

test('every rule that the model names is a rule of lib/README.md', t => {
  t.true(rules.length >= 13)
  const named = matches(model, /\b(?:NO_)?(P\d+)(?![\w.])/g)
  t.true(named.length >= 10)
  t.deepEqual(
    named.filter(rule => !rules.includes(rule)),
    [],
  )
})

test('every invariant that the model names is one of lib/README.md', t => {
  const ranges = [...read('lib/README.md').matchAll(/^\| ([A-Z]{1,2})1(?:–\1(\d+))? \|/gm)]
  const last = new Map(ranges.map(([, prefix = '', to = '1']) => [prefix, Number(to)]))
  const unknown = [...model.matchAll(/\b([AKOSW])(\d+)\b/g)]
    .filter(([, prefix = '', number]) => Number(number) > (last.get(prefix) ?? 0))
    .map(([name]) => name)
  t.deepEqual(unknown, [])
})

test('every rule that can be taken out of the model is taken out by npm run model', t => {
  const inModel = matches(model, /^\s*#if(?:n?def)? (NO_P\w+)/gm)
  t.deepEqual(inModel, unique(removals.flatMap(({ names }) => names)))
})

test('every rule that is taken out has its counterexample among the tests', t => {
  const files = ['test/model/counterexamples.test.ts', 'test/contract/counterexamples.ts']
  const titles = files.flatMap(path =>
    [...read(path).matchAll(/(?:test|fact)\(\s*'([^:']+):/g)].flatMap(([, names = '']) =>
      names.split(', '),
    ),
  )
  const wanted = removals.flatMap(({ names }) => names.map(name => name.replace('NO_', '')))
  t.deepEqual(unique(titles), unique(wanted))
})

const printed = `
Depth=      49 States=    1e+06 Transitions= 5.7e+06 Memory=   358.9\tt=     3.16 R=   3e+05
State-vector 220 byte, depth reached 49, errors: 0
  5723632 states, stored
 1353.703\tequivalent memory usage for states (stored*(State-vector + overhead))
 1268.293\ttotal actual memory usage
pan: elapsed time 25.2 seconds
`

test('a search that looked at everything and found nothing is read as that', t => {
  t.deepEqual(readFound(printed), {
    error: undefined,
    complete: true,
    states: 5_723_632,
    depth: 49,
    seconds: 25.2,
    memoryMiB: 1268.293,
  })
})

test('a search that was cut short is not complete', t => {
  for (const sign of [
    'Warning: Search not completed',
    'error: max search depth too small',
    'pan: reached -DMEMLIM bound',
  ]) {
    t.false(readFound(`${sign}\n${printed}`).complete, sign)
  }
  t.false(readFound('').complete)
  t.false(readFound(printed.replace('errors: 0', 'errors: 1')).complete)
})

test('what broke is read from what the search printed', t => {
  const found = readFound(`pan:1: assertion violated (x_==consumed[i]) (at depth 26)\n${printed}`)
  t.is(found.error, 'assertion violated (x_==consumed[i])')
})
