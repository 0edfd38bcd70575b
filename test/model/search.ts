/** Spin's part: a model becomes a C program, which searches all states. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Package } from '../../lib/adapters/servers/binaries.js'

/** What a search needs on the machine. */
export const spinPackage: Package = {
  program: 'spin',
  apt: ['spin'],
  brew: ['spin'],
  apk: ['spin'],
  isService: false,
}
export const compilerPackage: Package = {
  program: 'gcc',
  apt: ['gcc', 'libc6-dev'],
  brew: ['gcc'],
  apk: ['gcc', 'musl-dev'],
  isService: false,
}

/** Where the programs are. */
export interface Tools {
  readonly spin: string
  readonly compiler: string
}

/** What a search found. */
export interface Found {
  /** What broke; undefined: nothing did. */
  readonly error: string | undefined
  /** Every state was looked at: neither depth, memory nor time ended the search. */
  readonly complete: boolean
  readonly states: number
  readonly depth: number
  readonly seconds: number
  readonly memoryMiB: number
}

/** How a search is done. */
export interface Search {
  readonly defines: readonly string[]
  /** Breadth first: slower, and the counterexample is the shortest one. */
  readonly breadth?: boolean
  readonly memoryMiB: number
  readonly secondsMax: number
}

const model = fileURLToPath(new URL('../../../test/model/checkpoint.pml', import.meta.url))
const depthMax = 1_000_000

interface Ended {
  readonly code: number | null
  readonly output: string
}

const run = (
  [program = '', ...args]: readonly string[],
  folder: string,
  onOutput: (text: string) => void = () => {},
  secondsMax = 60,
): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: folder, timeout: secondsMax * 1_000 })
    let output = ''
    const take = (text: string): void => {
      output += text
      onOutput(text)
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.once('error', reject)
    child.once('close', code => resolve({ code, output }))
  })

const mustRun = async (command: readonly string[], folder: string): Promise<string> => {
  const { code, output } = await run(command, folder)
  if (code === 0) return output
  throw new Error(`${command.join(' ')} failed (${code ?? 'killed'}): ${output.trim()}`)
}

const numberIn = (pattern: RegExp, text: string): number => Number(pattern.exec(text)?.[1] ?? 0)

/** What the searching program printed, as data. */
export const readFound = (output: string): Found => ({
  error: /^pan:1: (.*) \(at depth \d+\)$/m.exec(output)?.[1],
  complete:
    /, errors: 0$/m.test(output) &&
    !/Search not completed|search depth too small|MEMLIM/.test(output),
  states: numberIn(/^\s*(\S+) states, stored/m, output),
  depth: numberIn(/depth reached (\d+)/, output),
  seconds: numberIn(/elapsed time (\S+) seconds/, output),
  memoryMiB: numberIn(/^\s*(\S+)\s+total actual memory usage/m, output),
})

const definesOf = ({ defines, breadth = false }: Search): readonly string[] =>
  [...defines, ...(breadth ? ['BREADTH'] : [])].map(name => `-D${name}`)

/** Does something with a searching program, in a folder that is removed afterwards. */
const withProgram = async <A>(
  { spin, compiler }: Tools,
  search: Search,
  work: (folder: string) => Promise<A>,
): Promise<A> => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-model-'))
  try {
    await mustRun([spin, '-a', ...definesOf(search), model], folder)
    const options = ['SAFETY', `MEMLIM=${search.memoryMiB}`]
    if (search.breadth === true) options.push('BFS')
    const flags = options.map(name => `-D${name}`)
    await mustRun([compiler, '-O2', '-w', ...flags, '-o', 'pan', 'pan.c'], folder)
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const searchIn = async (
  folder: string,
  search: Search,
  onProgress: (states: number, seconds: number) => void,
): Promise<Found> => {
  const { output } = await run(
    [join(folder, 'pan'), '-n', '-w24', `-m${depthMax}`],
    folder,
    text => {
      const states = numberIn(/States=\s*(\S+)/, text)
      if (states > 0) onProgress(states, numberIn(/t=\s*(\S+)/, text))
    },
    search.secondsMax,
  )
  return readFound(output)
}

/** Looks at every state, up to the first that breaks something. */
export const searchAll = (
  tools: Tools,
  search: Search,
  onProgress: (states: number, seconds: number) => void,
): Promise<Found> => withProgram(tools, search, folder => searchIn(folder, search, onProgress))

/** The shortest conversation that breaks something, line by line; and what breaks. */
export const shortestConversation = (
  tools: Tools,
  defines: readonly string[],
): Promise<readonly string[]> => {
  const search: Search = {
    defines,
    breadth: true,
    memoryMiB: 8_192,
    secondsMax: 600,
  }
  return withProgram(tools, search, async folder => {
    const { error } = await searchIn(folder, search, () => {})
    if (error === undefined) return ['nothing breaks']
    const trail = ['-T', '-k', 'checkpoint.pml.trail', ...definesOf(search), model]
    const { output } = await run([tools.spin, ...trail], folder)
    const said = output
      .split('\n')
      .filter(line => /^(coordinator|store|source|sink|parts|the p)/.test(line))
    return [...said, error]
  })
}
