/**
 * Plants one bug after the other into a copy of the product, and runs the copy's own simulator until
 * it finds the bug out. The product itself is never touched.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { cp, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import { changed, changesOf, type Mutant } from './mutants/mutant.js'
import { mutants } from './mutants.js'
import { Search } from './until-violation.js'

/** What came of one mutant. `invalid`: it could not be run, which is nobody's merit. */
type Verdict =
  | { readonly type: 'caught'; readonly after: number; readonly by: string; readonly facts: string }
  | { readonly type: 'missed'; readonly seeds: number }
  | { readonly type: 'invalid'; readonly why: string }
  | { readonly type: 'equivalent' }

interface Judged {
  readonly mutant: Mutant
  readonly verdict: Verdict
  readonly seconds: number
}

interface MutantOptions {
  readonly from: number
  readonly seeds: number
  readonly jobs: number
  readonly only: string | undefined
  readonly json: string | undefined
}

const project = fileURLToPath(new URL('../../../', import.meta.url))
const copied = ['lib', 'actors', 'test', 'package.json', 'tsconfig.json'] as const
const config = 'tsconfig.mutants.json'
/** A batch of seeds takes seconds; a process that says nothing for so long hangs. */
const silenceMs = 300_000
const outputMax = 64_000
const shownMax = 600

/** Runs all mutants whose name, file or rules hold `only`; answers the exit code. */
export const runMutants = async (options: MutantOptions): Promise<number> => {
  const { only } = options
  const chosen = mutants.filter(
    ({ name, file, rules }) =>
      only === undefined || [name, file, ...rules].some(text => text.includes(only)),
  )
  if (chosen.length === 0) {
    console.log(`no mutant has '${only}' in its name, file or rules`)
    return 1
  }
  const judged: Judged[] = []
  const copy = new Copy()
  const leave = (): void => {
    copy.stop()
    // At once: whatever waits for the copy would find it gone.
    copy.remove()
    process.exit(130)
  }
  process.once('SIGINT', leave)
  process.once('SIGTERM', leave)
  try {
    await copy.make()
    for (const mutant of chosen) {
      const startedAt = performance.now()
      const verdict = await copy.judge(mutant, options)
      judged.push({ mutant, verdict, seconds: Math.round((performance.now() - startedAt) / 1_000) })
      console.log(`${mutant.name} (${mutant.rules.join(', ')}): ${describe(verdict)}`)
    }
  } finally {
    process.off('SIGINT', leave)
    process.off('SIGTERM', leave)
    copy.remove()
  }
  return report(judged, options)
}

const report = async (judged: readonly Judged[], { json }: MutantOptions): Promise<number> => {
  const rows = judged.map(({ mutant, verdict, seconds }) => ({
    rules: mutant.rules.join(' '),
    name: mutant.name,
    seeds: verdict.type === 'caught' ? verdict.after : undefined,
    by: verdict.type === 'caught' ? verdict.by : verdict.type,
    facts: verdict.type === 'caught' ? verdict.facts : describe(verdict),
    seconds,
  }))
  console.log(['', 'rule', 'seeds', 'by', 'mutant'].join('\t').trimStart())
  for (const { rules, seeds, by, name } of rows)
    console.log([rules, seeds ?? '-', by, name].join('\t'))
  const count = (type: Verdict['type']): number =>
    judged.filter(({ verdict }) => verdict.type === type).length
  const counts = {
    caught: count('caught'),
    missed: count('missed'),
    invalid: count('invalid'),
    equivalent: count('equivalent'),
  }
  console.log(JSON.stringify(counts))
  if (json !== undefined)
    await writeFile(json, `${JSON.stringify({ ...counts, mutants: rows }, undefined, 2)}\n`)
  return counts.missed + counts.invalid > 0 ? 1 : 0
}

const describe = (verdict: Verdict): string => {
  switch (verdict.type) {
    case 'caught':
      return `caught at seed ${verdict.after} by ${verdict.by}: ${verdict.facts}`
    case 'missed':
      return `NOT CAUGHT in ${verdict.seeds}`
    case 'invalid':
      return `INVALID: ${verdict.why}`
    case 'equivalent':
      return 'not run: nobody could tell the difference'
  }
}

/** A copy of the product that may be broken. */
class Copy {
  #folder: string | undefined
  #child: ChildProcess | undefined

  async make(): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-mutants-'))
    this.#folder = folder
    for (const name of copied)
      await cp(join(project, name), join(folder, name), { recursive: true })
    await symlink(join(project, 'node_modules'), join(folder, 'node_modules'))
    const entries = ['test/simulation/main.ts', 'test/simulation/child.ts']
    const compilerOptions = { declaration: false, sourceMap: false }
    const compiled = { extends: './tsconfig.json', compilerOptions, include: [], files: entries }
    await writeFile(join(folder, config), JSON.stringify(compiled))
  }

  async judge(mutant: Mutant, options: MutantOptions): Promise<Verdict> {
    if (mutant.equivalent !== undefined) return { type: 'equivalent' }
    const before = new Map<string, string>()
    try {
      for (const change of changesOf(mutant)) {
        const path = this.#path(change.file)
        const text = await readFile(path, 'utf8')
        const broken = changed(text, change)
        if (broken === undefined)
          return { type: 'invalid', why: `what it changes is not once in ${change.file}` }
        if (!before.has(path)) before.set(path, text)
        await writeFile(path, broken)
      }
      const compiled = await this.#run(['node_modules/typescript/bin/tsc', '-p', config])
      if (compiled.code !== 0)
        return {
          type: 'invalid',
          why: `it does not compile: ${compiled.output.slice(0, shownMax)}`,
        }
      return await this.#search(options)
    } finally {
      for (const [path, text] of before) await writeFile(path, text)
    }
  }

  async #search({ from, seeds, jobs }: MutantOptions): Promise<Verdict> {
    const { code, output } = await this.#run([
      'dist/test/simulation/main.js',
      '--until-violation',
      ...['--from', String(from), '--seeds', String(seeds), '--jobs', String(jobs)],
    ])
    const found = lastLine(output)
    if (found === undefined)
      return {
        type: 'invalid',
        why: `its simulator ended with code ${code}: ${output.slice(-shownMax)}`,
      }
    if (found.caught === null) return { type: 'missed', seeds: found.unharmed }
    const { seed, rule, facts } = found.caught
    return {
      type: 'caught',
      after: seed - from + 1,
      by: rule,
      facts: facts.split('\n', 1)[0] ?? '',
    }
  }

  /** Runs a program of Node in the copy. */
  #run(
    args: readonly string[],
  ): Promise<{ readonly code: number | null; readonly output: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [...args], {
        cwd: this.#path('.'),
        // A group of its own: what it starts must not write into the copy when it is gone.
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      this.#child = child
      let output = ''
      const giveUp = (): void => {
        output += `\nkilled: nothing was heard of it for ${silenceMs} ms`
        this.stop()
      }
      let silence = setTimeout(giveUp, silenceMs)
      const hear = (data: Buffer): void => {
        output = `${output}${data}`.slice(-outputMax)
        clearTimeout(silence)
        silence = setTimeout(giveUp, silenceMs)
      }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
      child.once('error', reject)
      child.once('close', code => {
        clearTimeout(silence)
        resolve({ code, output: output.trim() })
      })
    })
  }

  stop(): void {
    const { pid, exitCode, signalCode } = this.#child ?? {}
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL')
  }

  remove(): void {
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
  }

  #path(name: string): string {
    if (this.#folder === undefined) throw new Error('the copy is not made yet')
    return join(this.#folder, name)
  }
}

const lastLine = (output: string): Search | undefined => {
  try {
    const decoded = Search.decode(JSON.parse(output.split('\n').at(-1) ?? ''))
    return E.isRight(decoded) ? decoded.right : undefined
  } catch {
    return undefined
  }
}
