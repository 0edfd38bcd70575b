/**
 * Planted bugs: each takes out one rule of the product. One that no seed finds out says that the
 * simulator looks away, or that the rule is held twice.
 */
import { alignmentMutants } from './mutants/alignment.js'
import { channelMutants } from './mutants/channel.js'
import { checkpointMutants } from './mutants/checkpoint.js'
import { coordinatorMutants } from './mutants/coordinator.js'
import { idempotentMutants } from './mutants/idempotent.js'
import { loopMutants } from './mutants/loop.js'
import type { Mutant } from './mutants/mutant.js'
import { outputMutants } from './mutants/output.js'
import { sourceMutants } from './mutants/source.js'
import { stateMutants } from './mutants/state.js'
import { workerMutants } from './mutants/worker.js'

export const mutants: readonly Mutant[] = [
  ...channelMutants,
  ...alignmentMutants,
  ...stateMutants,
  ...loopMutants,
  ...sourceMutants,
  ...outputMutants,
  ...idempotentMutants,
  ...checkpointMutants,
  ...coordinatorMutants,
  ...workerMutants,
]
