/**
 * Runs that once broke a promise, made small: jobs and faults as data, so that they stay the same
 * when what seeds stand for changes. They are always run. Never remove one; `npm run sim -- --seed N`
 * prints a new one. Some were thought out, to find a planted bug that seeds do not come by.
 */
import { readdir, readFile } from 'node:fs/promises'
import * as t from 'io-ts'
import type { Fault } from './faults.js'
import type { Shape } from './random-job.js'

/** One run that once failed. */
export interface Regression {
  /** What it found. */
  readonly why: string
  readonly seed: number
  readonly shape: Shape
  readonly faults: readonly Fault[]
}

// Written by `explain`, so that looking at the frame is enough: what is in it is this folder's own.
const Frame = t.type({
  why: t.string,
  seed: t.number,
  shape: t.UnknownRecord,
  faults: t.UnknownArray,
})

const isRegression = (value: unknown): value is Regression => Frame.is(value)

/** All of them, by file name. */
export const regressions = async (): Promise<ReadonlyMap<string, Regression>> => {
  const folder = new URL('../../../test/simulation/regressions/', import.meta.url)
  const names = (await readdir(folder)).filter(name => name.endsWith('.json')).sort()
  const found = new Map<string, Regression>()
  for (const name of names) {
    const value: unknown = JSON.parse(await readFile(new URL(name, folder), 'utf8'))
    if (!isRegression(value)) throw new Error(`${name} is no regression`)
    found.set(name, value)
  }
  return found
}
