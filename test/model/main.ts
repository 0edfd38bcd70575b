/**
 * `npm run model`: searches all states of the checkpoint protocol's model, as it is and with each rule
 * taken out. Exit code 1 when anything comes out otherwise than it must.
 */
import { writeFile } from 'node:fs/promises'
import { Command } from 'commander'
import * as E from 'fp-ts/lib/Either.js'
import { findPrograms } from '../../lib/adapters/servers/binaries.js'
import { type Check, checks, fullChecks, removals } from './rules.js'
import {
  compilerPackage,
  type Found,
  searchAll,
  shortestConversation,
  spinPackage,
  type Tools,
} from './search.js'

interface Options {
  readonly full: boolean
  readonly trace?: string
  readonly json?: string
}

const options = new Command('model')
  .description('Searches all states of the model of the checkpoint protocol')
  .option(
    '--full',
    'more generations, and rules that another one covers: minutes, and 10 GB',
    false,
  )
  .option('--trace <name>', 'print the shortest counterexample without a rule, as NO_P9')
  .option('--json <file>', 'write the result of every search to a file')
  .parse()
  .opts<Options>()

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const findTools = async (): Promise<Tools> => {
  const found = await findPrograms([spinPackage, compilerPackage], print)()
  if (E.isLeft(found)) throw new Error([found.left.message, found.left.next].join('. '))
  const [spin = '', compiler = ''] = found.right
  return { spin, compiler }
}

interface Result extends Found {
  readonly check: Check
  /** Why it is not what it must be; undefined: it is. */
  readonly surprise: string | undefined
}

const surpriseOf = ({ breaks, statesMin }: Check, found: Found): string | undefined => {
  if (breaks) return found.error === undefined ? 'nothing broke' : undefined
  if (found.error !== undefined) return `it broke: ${found.error}`
  if (!found.complete) return 'the search was not completed'
  return found.states < statesMin ? `it has less than ${statesMin} states` : undefined
}

const millions = (states: number): string => `${(states / 1e6).toFixed(1)} M states`

const perform = async (check: Check, tools: Tools): Promise<Result> => {
  print(check.title)
  const search = { ...check, memoryMiB: options.full ? 14_336 : 2_048 }
  let printed = 0
  const found = await searchAll(tools, search, (states, seconds) => {
    if (seconds - printed < 10) return
    printed = seconds
    print(`  ${millions(states)} in ${seconds.toFixed(0)} s`)
  })
  const surprise = surpriseOf(check, found)
  const verdict = surprise ?? (check.breaks ? `breaks, as it must: ${found.error}` : 'holds')
  const figures = `${millions(found.states)}, ${found.seconds} s, ${Math.round(found.memoryMiB)} MiB`
  print(`  ${surprise === undefined ? '' : 'SURPRISE: '}${verdict} (${figures})`)
  return { ...found, check, surprise }
}

const table = (results: readonly Result[]): void => {
  print('\n  states    seconds   depth   result   what')
  for (const { states, seconds, depth, check, surprise } of results) {
    const result = surprise !== undefined ? 'WRONG' : check.breaks ? 'breaks' : 'holds'
    const cells = [String(states).padStart(9), seconds.toFixed(1).padStart(8)]
    print(
      `${cells.join('  ')}  ${String(depth).padStart(6)}   ${result.padEnd(6)}   ${check.title}`,
    )
  }
}

const checkAll = async (tools: Tools): Promise<void> => {
  const results: Result[] = []
  for (const check of options.full ? [...checks, ...fullChecks] : checks)
    results.push(await perform(check, tools))
  table(results)
  const surprises = results.filter(({ surprise }) => surprise !== undefined)
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0)
  print(
    surprises.length === 0
      ? `\nthe protocol holds, and every rule is needed: ${results.length} searches in ${seconds.toFixed(0)} s`
      : `\n${surprises.length} of ${results.length} searches came out otherwise than they must`,
  )
  if (options.json !== undefined) {
    const rows = results.map(({ check, ...found }) => ({ ...check, ...found }))
    await writeFile(options.json, `${JSON.stringify(rows, null, 2)}\n`)
  }
  process.exitCode = surprises.length === 0 ? 0 : 1
}

const tell = async (name: string, tools: Tools): Promise<void> => {
  const removal = removals.find(({ names }) => names.includes(name))
  if (removal === undefined) {
    const known = removals.flatMap(({ names }) => names).join(', ')
    throw new Error(`the model has no rule ${name} to take out; it has ${known}`)
  }
  const defines = [...removal.names, ...(removal.defines ?? [])]
  for (const line of await shortestConversation(tools, defines)) print(line)
}

try {
  const tools = await findTools()
  await (options.trace === undefined ? checkAll(tools) : tell(options.trace, tools))
} catch (thrown) {
  process.stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`)
  process.exitCode = 1
}
