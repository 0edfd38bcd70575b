/** What a job's options mean to its coordinator. */
import type { CheckpointRules } from '../protocol/checkpoint.js'
import type { CheckpointConfig } from './settings.js'

/** What a coordinator goes by. */
export interface CoordinatorRules {
  readonly checkpoints: CheckpointRules
  readonly tolerableFailures: number | undefined
  readonly localRecovery: boolean
}

/** When checkpoints are taken, and how many may come to nothing; a job without them takes final ones. */
export const checkpointRulesOf = (config: CheckpointConfig | undefined): CoordinatorRules => ({
  checkpoints: {
    intervalMs: config?.intervalMs,
    minPauseMs: config?.minPauseMs ?? 0,
    timeoutMs: config?.timeoutMs ?? 600_000,
    maxConcurrent: config?.maxConcurrent ?? 1,
  },
  tolerableFailures: config?.onCheckpointError === 'fail' ? config.tolerableFailures : undefined,
  localRecovery: config?.localRecovery ?? false,
})
