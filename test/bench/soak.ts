/** Whether the processes of a job hold more memory the longer it runs. */
import { setTimeout as delay } from 'node:timers/promises'
import { residentOf } from '../support/resident.js'
import type { Bench } from './bench.js'
import { type Figure, figure } from './figures.js'
import { startBenchJob } from './job-run.js'
import { newFile, type Stage } from './stage.js'

const sampleEveryMs = 1_000
const sayEverySamples = 30

/** The job's processes by role, sampled while it runs for so long after a warm-up. */
const samplesOf = async (stage: Stage, seconds: number): Promise<Map<string, number[]>> => {
  const job = await startBenchJob(stage, 'keyed-exchange', {
    BENCH_MARKS: newFile(stage),
    BENCH_KEYS: 100_000,
    BENCH_FROM: Number.MAX_SAFE_INTEGER - 1,
    BENCH_RECORDS: Number.MAX_SAFE_INTEGER,
    BENCH_INTERVAL_MS: 1_000,
  })
  const samples = new Map<string, number[]>()
  try {
    // By then all keys are there.
    await job.checkpoints(stage.quick ? 2 : 20)
    const processes = job.running.processes()
    const until = performance.now() + seconds * 1_000
    for (let taken = 1; performance.now() < until; taken += 1) {
      const sizes = await residentOf(processes.map(({ pid }) => pid))
      for (const { role, pid } of processes) {
        const size = sizes.get(pid)
        if (size === undefined) throw new Error(`the process of ${role} has ended`)
        samples.set(role, [...(samples.get(role) ?? []), size])
      }
      if (taken % sayEverySamples === 0) stage.say(`${taken} s: ${shown(samples)}`)
      await delay(sampleEveryMs)
    }
  } finally {
    await job.running.stop()
  }
  return samples
}

const shown = (samples: ReadonlyMap<string, readonly number[]>): string =>
  [...samples].map(([role, sizes]) => `${role} ${sizes.at(-1)?.toFixed(0)} MiB`).join(', ')

/**
 * The most that a process held in each eighth of the second half, against the most that it ever held in
 * the first: a single moment of garbage collection decides neither.
 */
const growthOf = (role: string, sizes: readonly number[]): Figure => {
  const half = Math.floor(sizes.length / 2)
  const early = Math.max(...sizes.slice(0, half))
  const late = Array.from({ length: 8 }, (_, k) => {
    const at = (share: number): number => half + Math.floor((share * (sizes.length - half)) / 8)
    return Math.max(...sizes.slice(at(k), Math.max(at(k) + 1, at(k + 1))))
  })
  const name = `soak-${role.split('/')[0]}`
  const about = { name, unit: 'MiB', bar: { atMost: 1.1 }, baseline: 'its most in the first half' }
  return figure(
    about,
    late,
    late.map(() => early),
  )
}

export const soak: Bench = {
  name: 'soak',
  what: 'resident memory of each process of a keyed job under full load, over ten minutes',
  run: async stage => {
    const samples = await samplesOf(stage, stage.quick ? 10 : 600)
    return [...samples].map(([role, sizes]) => growthOf(role, sizes))
  },
}
