/** The READMEs keep what they say: their program runs, their tables and links are true. */
import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { exitCodes } from '../actors/ipc.js'
import { Configuration } from '../lib/job/configuration-codec.js'
import { defaultLimits } from '../lib/job/limits.js'
import { restartDefaults } from '../lib/job/restart.js'
import { checkpointDefaults } from '../lib/job/settings.js'
import { projectFolder, sourceFiles } from './tidy/source.js'

const read = (path: string): string => readFileSync(join(projectFolder, path), 'utf8')
const readme = read('README.md')

/** The fenced blocks of a language, in order. */
const blocks = (text: string, language: string): readonly string[] =>
  [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
    .filter(match => match[1] === language)
    .map(match => match[2] ?? '')

/** The part of the README below a heading, up to the next one. */
const section = (heading: string): string =>
  readme.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''

/** The cells of every row of the tables in a text, backquotes removed. */
const rows = (text: string): readonly (readonly string[])[] =>
  text
    .split('\n')
    .filter(line => line.startsWith('|') && !line.startsWith('|---'))
    .map(line =>
      line
        .split('|')
        .slice(1, -1)
        .map(cell => cell.trim().replaceAll('`', '')),
    )

const cli = join(projectFolder, 'dist/actors/cli/main.js')
const programPath = 'examples/word-count/job.ts'

test('the program in the README is the example', t => {
  const [program] = blocks(section('A program'), 'ts')
  t.is(program, `// ${programPath}\n${read(programPath)}`)
})

/** What differs from run to run. */
const masked = (line: string): string =>
  line.replaceAll(/127\.0\.0\.1:\d+/g, '<address>').replaceAll(/\(\d+\)/g, '(<pid>)')

const run = (
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly out: string }> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...args], { cwd: projectFolder, stdio: 'pipe' })
    let out = ''
    const take = (text: string): void => {
      out += text
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.once('error', reject)
    child.once('close', code => resolve({ code, out }))
  })

test('the program in the README prints what the README says', async t => {
  const { code, out } = await run(['dev', programPath])
  t.log(out)
  t.is(code, 0)
  const [printed = ''] = blocks(section('A program'), '')
  const lines = out.split('\n').map(masked)
  for (const line of printed.trimEnd().split('\n')) t.true(lines.includes(masked(line)), line)
  const counts = (text: string): readonly string[] =>
    text
      .split('\n')
      .filter(line => /^\w+: \d+$/.test(line))
      .sort()
  // A machine too busy for the heartbeats restarts the job, and what an actor prints comes again.
  t.deepEqual([...new Set(counts(out))], counts(printed))
})

/** `32 KiB`, `5 ms`, `100` as a number of bytes, milliseconds or things. */
const amount = (text: string): number => {
  const [figure, unit] = text.split(' ')
  const factors = new Map([
    ['KiB', 1024],
    ['MiB', 1024 * 1024],
    ['s', 1_000],
    ['ms', 1],
  ])
  return Number(figure) * (unit === undefined ? 1 : (factors.get(unit) ?? Number.NaN))
}

test('the table of limits names all of them with their defaults', t => {
  const named = rows(section('Options and limits of a job')).filter(
    ([name]) => name !== undefined && name in defaultLimits,
  )
  const table = named.map(([name, value]) => [name, amount(value ?? '')])
  t.deepEqual(Object.fromEntries(table), { ...defaultLimits })
})

/** Every row of the conformance suite. */
const conformance = [
  'async-snapshots',
  'configuration',
  'finished-sources',
  'history',
  'incremental',
  'inline-threshold',
  'interval',
  'iterations',
  'local-recovery',
  'manual-trigger',
  'max-concurrent',
  'min-pause',
  'mode',
  'notifications',
  'num-retained',
  'on-checkpoint-error',
  'restart-strategies',
  'retention',
  'state-backends',
  'timeout',
]

const options = rows(section('Every option, and Flink’s name for it')).slice(1)

test('each option links to the test that holds it to its meaning, or says that there is none', t => {
  const cells = options.map(cells => cells.at(-1) ?? '')
  const named = cells.map(cell => /^(?:\[|not yet \()([a-z-]+)[\])]/.exec(cell)?.[1] ?? cell)
  t.deepEqual([...new Set(named)].sort(), conformance)
  for (const name of conformance) {
    const path = `test/conformance/${name}.test.ts`
    const right = existsSync(join(projectFolder, path)) ? `[${name}](${path})` : `not yet (${name})`
    const wrong = cells.filter((cell, index) => named[index] === name && cell !== right)
    t.deepEqual(wrong, [], `write ${right}`)
  }
})

test('the tables of options name all of checkpointing and restarts with their defaults', t => {
  const defaults = new Map(
    options.flatMap(([name = '', value = '']) =>
      name.startsWith('checkpoint.') ? [[name.slice(11), value.replaceAll(' ', '')]] : [],
    ),
  )
  const expected = Object.entries({ intervalMs: 'off', ...checkpointDefaults })
  t.deepEqual([...defaults].sort(), expected.map(([name, value]) => [name, String(value)]).sort())
  const restarts = rows(section('Restarts')).slice(1)
  t.deepEqual(
    restarts.map(([type]) => type?.replaceAll("'", '')),
    Object.keys(restartDefaults),
  )
  for (const [index, own] of Object.values(restartDefaults).entries()) {
    const said = restarts[index]?.[1]?.replaceAll(/(\d) (\d)/g, '$1$2') ?? ''
    for (const [name, value] of Object.entries(own)) t.true(said.includes(`${name} ${value}`), name)
  }
})

test('the configuration that the README shows is right', t => {
  const shown = blocks(section('Configuration'), 'json')
  t.is(shown.length, 1)
  for (const text of shown) t.is(Configuration.decode(JSON.parse(text))._tag, 'Right')
})

test('the table of exit codes names all of them', t => {
  const named = rows(section('Command line')).filter(([code]) => /^\d+$/.test(code ?? ''))
  t.deepEqual(
    named.map(([code]) => Number(code)),
    Object.values(exitCodes).sort(),
  )
})

const help = async (...args: readonly string[]): Promise<string> =>
  (await promisify(execFile)(process.execPath, [cli, ...args, '--help'])).stdout

test('the table of commands names all of them with their options', async t => {
  const commands = [...(await help()).matchAll(/^ {2}([a-z]+) \[options\]/gm)].map(m => m[1] ?? '')
  t.true(commands.length >= 6)
  const common = ['--help', '--json', '--verbose', '--config']
  for (const command of commands) {
    const options = [...(await help(command)).matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(
      m => m[1] ?? '',
    )
    const row =
      rows(section('Command line'))
        .find(([name]) => name?.split(' ')[0] === command)
        ?.join(' ') ?? ''
    const missing = options.filter(option => !common.includes(option) && !row.includes(option))
    t.deepEqual(missing, [], command)
  }
})

for (const path of ['README.md', 'lib/README.md', 'examples/README.md', 'CHANGELOG.md']) {
  if (!existsSync(join(projectFolder, path))) continue
  test(`every link of ${path} leads to a file`, t => {
    const links = [...read(path).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(
      match => match[1] ?? '',
    )
    const broken = links.filter(link => !existsSync(join(projectFolder, dirname(path), link)))
    t.deepEqual(broken, [])
  })
}

test('every test that the guarantee names is in its file', t => {
  const named = rows(section('The guarantee')).filter(([, fails]) => fails?.includes('](') === true)
  t.true(named.length >= 5)
  const raw = section('The guarantee')
    .split('\n')
    .filter(line => line.startsWith('|'))
  for (const line of raw) {
    const file = /\]\((test\/[^)]+)\)/.exec(line)?.[1]
    if (file === undefined) continue
    const text = read(file)
    for (const [, title = ''] of line.matchAll(/`([^`]+)`/g)) t.true(text.includes(title), title)
  }
})

test('every script that a README names is one of the package', t => {
  const manifest = read('package.json')
  for (const path of ['README.md', 'lib/README.md']) {
    for (const [, script = ''] of read(path).matchAll(/npm run (?:-s )?([a-z]+)/g)) {
      t.true(manifest.includes(`"${script}":`), script)
    }
  }
})

const maintainers = read('lib/README.md')

test('the map of lib/README.md shows every file, and none that is not there', t => {
  const mapped = maintainers
    .split('\n### `')
    .slice(1)
    .flatMap(part => {
      const [folder = ''] = part.split('`')
      return rows(part.split('\n## ')[0] ?? '').flatMap(([name]) =>
        name?.endsWith('.ts') === true ? [`${folder}/${name}`] : [],
      )
    })
  const files = sourceFiles('lib', 'actors').map(file => file.path)
  t.deepEqual(mapped.sort(), [...files].sort())
})

/** `A1–A8`, as the numbers of a file's first comment give it. */
const rangesOf = (text: string): readonly string[] => {
  const last = new Map<string, number>()
  for (const [, prefix = '', number] of text.matchAll(/^ \*\s+([A-Z]{1,2})(\d+)\.\s/gm)) {
    last.set(prefix, Number(number))
  }
  return [...last].map(([prefix, n]) => (n === 1 ? `${prefix}1` : `${prefix}1–${prefix}${n}`))
}

test('lib/README.md lists the invariants of every file, and each prefix has one file', t => {
  const found = sourceFiles('lib', 'actors').flatMap(({ path }) =>
    rangesOf(read(path)).map(range => `${range} ${path}`),
  )
  const part = maintainers.split('\n## Invariants\n')[1]?.split('\n## ')[0] ?? ''
  const listed = rows(part)
    .slice(1)
    .map(([range, file]) => `${range} ${file}`)
  t.deepEqual([...listed].sort(), [...found].sort())
  const prefixes = found.map(one => /^[A-Z]+/.exec(one)?.[0])
  t.deepEqual(prefixes, [...new Set(prefixes)])
})
