/** Many seeds in one process: what came of them, added up. */
import { takeUses } from './forbidden.js'
import type { Violation } from './observer.js'
import { runSeed } from './seed.js'

/** Seeds `from`, `from + 1`, … and what came of them. */
export interface Batch {
  readonly from: number
  readonly seeds: number
  readonly events: number
  readonly recoveries: number
  readonly virtualMs: number
  /** Fingerprint of all seeds' events. */
  readonly hash: number
  readonly counters: Readonly<Record<string, number>>
  readonly failed: readonly { readonly seed: number; readonly violations: readonly Violation[] }[]
}

/** What a process is asked to run. */
export interface BatchRequest {
  readonly from: number
  readonly seeds: number
  /** Whether the first seed that breaks a promise is the last one to be run. */
  readonly untilViolation: boolean
}

/** Runs them, one after the other. */
export const runBatch = async ({ from, seeds, untilViolation }: BatchRequest): Promise<Batch> => {
  const counters = new Map<string, number>()
  const failed: Batch['failed'][number][] = []
  let [events, recoveries, virtualMs, hash] = [0, 0, 0, 0]
  for (let seed = from; seed < from + seeds; seed += 1) {
    const result = await runSeed({ seed }, counters)
    events += result.events
    recoveries += Math.max(0, result.recoveries)
    virtualMs += result.virtualMs
    hash = (Math.imul(hash, 31) + result.hash) >>> 0
    const uses = takeUses()
    const real = uses.length > 0 ? [{ rule: 'I14', facts: `really: ${uses[0]}`, atMs: 0 }] : []
    const violations = [...result.violations, ...real]
    if (violations.length > 0) failed.push({ seed, violations })
    if (untilViolation && failed.length > 0) break
  }
  return {
    from,
    seeds,
    events,
    recoveries,
    virtualMs,
    hash,
    counters: Object.fromEntries(counters),
    failed,
  }
}
