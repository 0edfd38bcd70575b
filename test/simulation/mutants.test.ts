import { readFile } from 'node:fs/promises'
import test from 'ava'
import { changed, changesOf, type Mutant } from './mutants/mutant.js'
import { mutants } from './mutants.js'

/** Problems of a mutant whose text is no longer in the product. */
const problemsOf = async (mutant: Mutant): Promise<readonly string[]> => {
  const texts = new Map<string, string>()
  const problems: string[] = []
  for (const change of changesOf(mutant)) {
    const { file, find, replace } = change
    const path = new URL(`../../../${file}`, import.meta.url)
    const text = texts.get(file) ?? (await readFile(path, 'utf8'))
    const broken = changed(text, change)
    if (broken === undefined) problems.push(`${mutant.name}: not once in ${file}: ${find}`)
    if (find === replace) problems.push(`${mutant.name}: changes nothing in ${file}`)
    if (!/^(lib|actors)\//.test(file)) problems.push(`${mutant.name}: ${file} is no product`)
    texts.set(file, broken ?? text)
  }
  return problems
}

test('every planted bug still changes what the product says', async t => {
  const problems = await Promise.all(mutants.map(problemsOf))
  t.deepEqual(problems.flat(), [])
})

test('at least 34 bugs are planted that can be found out, each under a name of its own', t => {
  t.true(mutants.filter(({ equivalent }) => equivalent === undefined).length >= 34)
  t.is(new Set(mutants.map(({ name }) => name)).size, mutants.length)
})

test('every rule that the simulated run executes is broken by one of them', t => {
  const broken = new Set(
    mutants.filter(({ equivalent }) => equivalent === undefined).flatMap(({ rules }) => rules),
  )
  // P13 is about connections, which the ports in memory do not have.
  const rules = Array.from({ length: 12 }, (_, index) => `P${index + 1}`)
  t.deepEqual(
    rules.filter(rule => !broken.has(rule)),
    [],
  )
})

test('a change applies only where its text is exactly once', t => {
  const change = { file: 'lib/a.ts', find: 'b', replace: 'x' }
  t.is(changed('abc', change), 'axc')
  t.is(changed('ac', change), undefined)
  t.is(changed('abcb', change), undefined)
})
