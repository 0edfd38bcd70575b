/** What happens to a job, in words: one plain sentence each, for a terminal or a log. */
import type { CoordinatorState, Note, RestoredFrom } from '../lib/protocol/coordinator.js'
import { unassignable } from '../lib/protocol/coordinator.js'
import type { JobProgress } from './ipc.js'

/** A note as one plain sentence. */
export const describeNote = (note: Note): string => {
  switch (note.type) {
    case 'generation-begun':
      return note.restored === undefined
        ? `generation ${note.generation} starts from nothing`
        : `generation ${note.generation} starts from checkpoint ${note.restored}`
    case 'running':
      return `generation ${note.generation} runs${restoredText(note.restored)}`
    case 'worker-joined':
      return note.fits
        ? `worker ${note.worker} joined`
        : `worker ${note.worker} has loaded another version of the job and gets nothing to do; start it with the same job file`
    case 'worker-lost':
      return `worker ${note.worker} is lost: ${note.reason}`
    case 'failed': {
      const then =
        note.delayMs === undefined ? 'giving up' : `restarting in ${Math.round(note.delayMs)} ms`
      // A reason may be a sentence of its own, with what to do about it.
      return `generation ${note.generation} failed: ${note.reason.replace(/\.$/, '')}; ${then}`
    }
    case 'checkpoint-completed':
      return `checkpoint ${note.epoch} completed in ${Math.round(note.durationMs)} ms, ${note.bytes} bytes`
    case 'checkpoint-aborted':
      return `checkpoint ${note.epoch} aborted (${note.reason}): ${note.facts}`
    case 'store-trouble':
      return `trouble ${note.doing}: ${note.error.message}`
  }
}

const restoredText = (restored: RestoredFrom | undefined): string => {
  if (restored === undefined) return ''
  const { memory, disk, store, manifest = 0 } = restored
  const places = [
    ...(memory === 0 ? [] : [`${memory} from memory`]),
    ...(disk === 0 ? [] : [`${disk} from disk`]),
    ...(store === 0 ? [] : [`${store} from the store`]),
    ...(manifest === 0 ? [] : [`${manifest} from the manifest`]),
  ]
  return `; restored: ${places.join(', ')}`
}

/** What a coordinator knows, as progress for people. */
export const progressOf = (state: CoordinatorState): JobProgress => {
  const { phase } = state
  let records = 0
  let skipped = 0
  for (const worker of state.workers.values()) {
    for (const subtask of worker.subtasks.values()) {
      records += subtask.records
      skipped += subtask.skipped
    }
  }
  return {
    phase: phase.type,
    generation: 'generation' in phase ? phase.generation : 0,
    completed:
      phase.type === 'running'
        ? phase.checkpoints.completed
        : 'restore' in phase
          ? (phase.restore?.epoch ?? 0)
          : 0,
    records,
    skipped,
    workers: state.workers.size,
    waiting: phase.type === 'assembling' ? [...unassignable(state)] : [],
  }
}
