/** What a job's options mean to its coordinator, and to its subtasks. */
import type { CheckpointRules } from '../protocol/checkpoint.js'
import { type InlineRules, inlineRules } from '../protocol/inline.js'
import type { Plan } from './plan.js'
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

/** What each subtask of a job may carry in its reports. */
export const inlineRulesOf = (
  { graph, subtasks }: Pick<Plan, 'graph' | 'subtasks'>,
  payloadBytesMax: number,
): InlineRules => {
  const backend = graph.settings?.stateBackend
  // A state that is too large for the coordinator's memory is not to get there by another way.
  const stateBytesMax = backend?.type === 'memory' ? backend.stateBytesMax : undefined
  const threshold = graph.checkpoint?.inlineThresholdBytes ?? 0
  return inlineRules({
    thresholdBytes: Math.min(threshold, stateBytesMax ?? threshold),
    bytesMax: graph.limits.inlineBytesMax,
    subtasks: subtasks.length,
    payloadBytesMax,
  })
}
