/**
 * Kills processes of the running job, one after another, while records flow.
 *
 * Invariants
 *   K1. A process is killed only while its generation runs and has completed a checkpoint: what the
 *       previous kill broke is mended, and the job has moved on.
 *   K2. Input remains for every kill: the feed holds the last records back until all are done.
 */
import type { RunningJob } from 'sluice/actors'
import type { Watch } from './watch.js'

/** Whom to kill, and how many outputs there must be before. */
export interface Victim {
  readonly role: string
  readonly atOutputs: number
}

/** A killed process, and where the job was. */
export interface Kill {
  readonly role: string
  readonly pid: number
  readonly generation: number
  readonly outputs: number
  readonly fed: number
}

/** How the job came back. */
export interface Recovery {
  readonly generation: number
  /** The checkpoint that it came back to. Undefined: it started from nothing. */
  readonly restored: number | undefined
  /** From the kill until every subtask ran again. */
  readonly durationMs: number
}

/** Told what is done and what came of it. */
export interface KillListener {
  readonly onKill: (kill: Kill) => void
  readonly onRecovery: (recovery: Recovery) => void
}

/** The plan: a `delays` subtask, then the sink, then the coordinator. */
export const victimsOf = (records: number): readonly Victim[] => [
  { role: 'delays/1', atOutputs: records * 0.2 },
  { role: 'delays-out/0', atOutputs: records * 0.45 },
  { role: 'coordinator', atOutputs: records * 0.7 },
]

/** Resolves when every victim was killed and the job runs again after each. */
export const killEach = async (
  victims: readonly Victim[],
  job: RunningJob,
  watch: Watch,
  { onKill, onRecovery }: KillListener,
): Promise<void> => {
  for (const { role, atOutputs } of victims) {
    await watch.until(
      `the moment to kill ${role}`,
      () => watch.running && watch.hasAdvanced && watch.outputs >= atOutputs,
    )
    const pid = job.processes().find(process => process.role === role)?.pid
    if (pid === undefined) throw new Error(`no process runs ${role}`)
    const { generation, outputs, fed } = watch
    process.kill(pid, 'SIGKILL')
    const killedAt = performance.now()
    onKill({ role, pid, generation, outputs, fed })
    await watch.until(
      `the job to recover from the death of ${role}`,
      () => watch.running && watch.generation > generation,
    )
    const durationMs = Math.round(performance.now() - killedAt)
    onRecovery({ generation: watch.generation, restored: watch.restored, durationMs })
  }
}
