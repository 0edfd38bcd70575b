/**
 * A long run's batches in a file, so that a run that was cut off goes on where it was: one line of
 * JSON for the run, one for every batch that has ended. What was compiled belongs to it: seeds mean
 * something else to other code.
 */
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import type { Batch } from './batch.js'

/** What a file of batches belongs to. */
export const Run = t.strict({ from: t.number, seeds: t.number, code: t.string })
export type Run = t.TypeOf<typeof Run>

const Line = t.strict({
  seconds: t.number,
  batch: t.strict({
    from: t.number,
    seeds: t.number,
    events: t.number,
    recoveries: t.number,
    virtualMs: t.number,
    hash: t.number,
    counters: t.record(t.string, t.number),
    failed: t.array(
      t.strict({
        seed: t.number,
        violations: t.array(t.strict({ rule: t.string, facts: t.string, atMs: t.number })),
      }),
    ),
  }),
})

/** The batches of a run that have ended, of which some may have ended long ago. */
export class Kept {
  readonly #batches: Batch[] = []
  #seconds = 0

  private constructor(private readonly file: string) {}

  /** Opens the file of a run, or begins it. Throws an Error in plain words if it is of another run. */
  static open(file: string, run: Run): Kept {
    const kept = new Kept(file)
    if (!existsSync(file)) {
      writeFileSync(file, `${JSON.stringify(run)}\n`)
      return kept
    }
    const text = readFileSync(file, 'utf8')
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    // The last line may have been cut off with the run.
    if (whole !== text) writeFileSync(file, whole)
    const [first = '', ...lines] = whole.split('\n')
    const found = Run.decode(parsed(first))
    if (E.isLeft(found)) throw new Error(`${file} holds no run: name another file, or remove it`)
    const { from, seeds, code } = found.right
    if (from !== run.from || seeds !== run.seeds)
      throw new Error(`${file} holds a run of ${seeds} seeds from ${from}: name another file`)
    if (code !== run.code)
      throw new Error(`${file} holds a run of other code: remove it, or name another file`)
    for (const line of lines) {
      const decoded = Line.decode(parsed(line))
      if (line === '') continue
      if (E.isLeft(decoded)) throw new Error(`${file} holds what is no batch: ${line.slice(0, 80)}`)
      kept.#batches.push(decoded.right.batch)
      kept.#seconds += decoded.right.seconds
    }
    return kept
  }

  get batches(): readonly Batch[] {
    return this.#batches
  }

  /** How long all that is kept has taken, seconds at which nothing ran left out. */
  get seconds(): number {
    return this.#seconds
  }

  /** Keeps a batch that ended so many seconds after the one before. */
  add(batch: Batch, seconds: number): void {
    this.#batches.push(batch)
    this.#seconds += seconds
    appendFileSync(this.file, `${JSON.stringify({ seconds, batch })}\n`)
  }
}

const parsed = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** A fingerprint of all compiled code that a seed's run depends on. */
export const codeFingerprint = (): string => {
  const compiled = fileURLToPath(new URL('../../', import.meta.url))
  const hash = createHash('sha256')
  for (const folder of ['lib', 'actors', 'test/support', 'test/simulation']) {
    const names = readdirSync(join(compiled, folder), { recursive: true, encoding: 'utf8' })
    for (const name of names.sort())
      if (/(?<!\.test)\.js$/.test(name))
        hash.update(name).update(readFileSync(join(compiled, folder, name)))
  }
  return hash.digest('hex').slice(0, 16)
}
