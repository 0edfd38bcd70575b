/** How long a job stands still when one of its processes is killed. */
import { readFileSync } from 'node:fs'
import * as t from 'io-ts'
import type { Bench } from './bench.js'
import { figure } from './figures.js'
import { startBenchJob } from './job-run.js'
import { newFile, type Stage } from './stage.js'

const First = t.type({ pid: t.number, at: t.number })

/** When each process of the job handled its first record. */
const firstRecords = (file: string): ReadonlyMap<number, number> => {
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  const found = lines.map((line): unknown => JSON.parse(line)).filter(First.is)
  return new Map(found.map(({ pid, at }) => [pid, at]))
}

const keys = 100_000

/** Kills the process with the state, again and again; the ms from each kill to the next first record. */
const recoveriesOf = async (stage: Stage, kills: number): Promise<readonly number[]> => {
  const marks = newFile(stage)
  const job = await startBenchJob(stage, 'recovery', {
    BENCH_MARKS: marks,
    BENCH_KEYS: keys,
    BENCH_FROM: 0,
    BENCH_RECORDS: Number.MAX_SAFE_INTEGER,
    BENCH_INTERVAL_MS: 500,
  })
  const found: number[] = []
  try {
    while (found.length < kills) {
      // Two checkpoints of this generation: all keys are there, and it is warm.
      await job.checkpoints(2)
      const victim = job.running.processes().find(({ role }) => role === 'totals/0')
      if (victim === undefined) throw new Error('nobody runs totals/0')
      const before = firstRecords(marks)
      const killedAt = performance.timeOrigin + performance.now()
      process.kill(victim.pid, 'SIGKILL')
      await job.checkpoints(1)
      const after = [...firstRecords(marks)].find(([pid]) => !before.has(pid))
      if (after === undefined) throw new Error('no new process has handled a record')
      found.push(after[1] - killedAt)
      stage.say(`kill ${found.length} of ${kills}: ${(after[1] - killedAt).toFixed(0)} ms`)
    }
  } finally {
    await job.running.stop()
  }
  return found
}

export const recovery: Bench = {
  name: 'recovery',
  what: 'from SIGKILL of a process with 100 000 keys to the first record after its restore, restarts without delay',
  run: async stage => {
    const found = await recoveriesOf(stage, stage.quick ? 2 : 9)
    const about = { unit: 'ms, median', bar: { atMost: 1 }, baseline: '1.5 s' }
    const against = found.map(() => 1_500)
    return [figure({ ...about, name: 'recovery' }, found, against)]
  },
}
