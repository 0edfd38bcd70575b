import {
  type CheckpointEffect,
  type CheckpointEvent,
  type CheckpointRules,
  type CheckpointState,
  startCheckpoints,
  stepCheckpoints,
} from '../../lib/protocol/checkpoint.js'
import type { Report } from '../../lib/protocol/messages.js'

export const rules: CheckpointRules = {
  intervalMs: 1_000,
  minPauseMs: 0,
  timeoutMs: 5_000,
  maxConcurrent: 1,
}

export const generation = 7

export const reportOf = (subtask: string, epoch: number, by = generation): Report => ({
  part: { subtask, epoch, generation: by, digest: `d-${subtask}-${epoch}`, chunks: 1, bytes: 10 },
  alignmentMs: 1,
  syncMs: 1,
  asyncMs: 1,
  looped: 0,
})

/** The checkpoints of a generation with subtasks `a/0` and `b/0`, and what they caused. */
export class Checkpoints {
  state: CheckpointState
  effects: readonly CheckpointEffect[] = []

  constructor(more: Partial<CheckpointRules> = {}, restored = 0, subtasks = ['a/0', 'b/0']) {
    this.state = startCheckpoints({
      rules: { ...rules, ...more },
      generation,
      subtasks,
      restored,
      now: 0,
    })
  }

  step(event: CheckpointEvent): readonly CheckpointEffect[] {
    const [state, effects] = stepCheckpoints(this.state, event)
    this.state = state
    this.effects = effects
    return effects
  }

  tick(now: number, allEnded = false): readonly CheckpointEffect[] {
    return this.step({ type: 'tick', now, allEnded })
  }

  allocated(epoch: number, now: number): readonly CheckpointEffect[] {
    return this.step({ type: 'allocated', epoch, now })
  }

  report(subtask: string, epoch: number, by = generation): readonly CheckpointEffect[] {
    return this.step({ type: 'reported', report: reportOf(subtask, epoch, by) })
  }

  committed(epoch: number, now: number): readonly CheckpointEffect[] {
    return this.step({ type: 'committed', epoch, now })
  }

  /** Triggers an epoch and has every subtask report it. */
  reported(epoch: number, now: number): readonly CheckpointEffect[] {
    this.tick(now)
    this.allocated(epoch, now)
    for (const subtask of this.state.subtasks) this.report(subtask, epoch)
    return this.effects
  }

  /** The whole life of an epoch, in one instant. */
  complete(epoch: number, now: number): readonly CheckpointEffect[] {
    this.reported(epoch, now)
    return this.committed(epoch, now)
  }

  get types(): readonly string[] {
    return this.effects.map(effect => effect.type)
  }

  get pending(): readonly number[] {
    return this.state.pending.map(attempt => attempt.epoch)
  }
}
