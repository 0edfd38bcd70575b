/** What a job's options mean to its coordinator. */
import type { CheckpointRules } from '../protocol/checkpoint.js'
import type { CheckpointConfig } from './settings.js'

/** When checkpoints are taken, and how many may come to nothing; a job without them takes final ones. */
export const checkpointRulesOf = (
  config: CheckpointConfig | undefined,
): { readonly checkpoints: CheckpointRules; readonly tolerableFailures: number | undefined } => ({
  checkpoints: {
    intervalMs: config?.intervalMs,
    minPauseMs: config?.minPauseMs ?? 0,
    timeoutMs: config?.timeoutMs ?? 600_000,
    maxConcurrent: config?.maxConcurrent ?? 1,
  },
  tolerableFailures: config?.onCheckpointError === 'fail' ? config.tolerableFailures : undefined,
})
