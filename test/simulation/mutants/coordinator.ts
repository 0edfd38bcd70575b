/** Bugs in a job's life: who is lost, what runs when, and when it is over. */
import type { Mutant } from './mutant.js'

const file = 'lib/protocol/coordinator.ts'
const actor = 'actors/coordinator.ts'

export const coordinatorMutants: readonly Mutant[] = [
  {
    name: 'subtasks run before all are restored',
    rules: ['O2', 'P8'],
    file,
    find: `  if (phase.type !== 'deploying' || unready(state, phase.assignment).length > 0) return [state, []] // O2`,
    replace: `  if (phase.type !== 'deploying') return [state, []]`,
  },
  {
    name: 'a job is finished without a final checkpoint',
    rules: ['O5'],
    file,
    find: `  const final = phase.checkpoints.finalCompleted
`,
    replace: `  const final = allEnded(state, phase.assignment) ? phase.checkpoints.completed : undefined
`,
  },
  {
    name: 'a job is finished before its output is published',
    rules: ['O5', 'O4'],
    file,
    find: `  return published ? stop(state, 'finished', undefined, now) : [state, []] // O5`,
    replace: `  return published || final > 0 ? stop(state, 'finished', undefined, now) : [state, []]`,
    also: [
      {
        file,
        find: `  if (holding && now - phase.since < settings.stopTimeoutMs) return [state, []] // O4`,
        replace: `  if (holding && now < phase.since) return [state, []]`,
      },
    ],
  },
  {
    name: 'a silent worker is never lost',
    rules: ['M1', 'O3'],
    file: 'lib/protocol/membership.ts',
    find: `    if (silentMs > timeoutMs) {`,
    replace: `    if (silentMs > 10_000 * timeoutMs) {`,
  },
  {
    name: 'the loss of a worker ends nothing',
    rules: ['O3'],
    file,
    find: `  if (lost.length === 0) return [without, [note]]`,
    replace: `  if (lost.length >= 0) return [without, [note]]`,
  },
  {
    name: 'the failure of a subtask ends nothing',
    rules: ['O3'],
    file,
    find: `subtask.phase !== 'failed')`,
    replace: `subtask.phase === 'failed')`,
  },
  {
    name: 'what a store forgot is not noticed by its numbers',
    rules: ['O7', 'P1'],
    file: 'lib/protocol/store-history.ts',
    find: `  phase.type === 'running' && phase.generation === generation && epoch <= phase.checkpoints.highest
`,
    replace: `  phase.type === 'running' && phase.generation === generation && epoch < 0
`,
    also: [
      {
        file,
        find: `  if (ahead === undefined || askedAt <= ahead.since) return [state, []]`,
        replace: `  if (ahead === undefined || askedAt >= 0) return [state, []]`,
      },
    ],
  },
  {
    name: 'a worker that has heard of later numbers is not believed',
    rules: ['O7'],
    file,
    find: `  if (ahead === undefined || askedAt <= ahead.since) return [state, []]`,
    replace: `  if (ahead === undefined || askedAt >= 0) return [state, []]`,
  },
  {
    name: 'a job that the store has forgotten starts fresh',
    rules: ['P10'],
    file: 'actors/claim.ts',
    find: `  const mustExist = isKnown || goesOn`,
    replace: `  const mustExist = false`,
  },
  {
    name: 'orders are given once',
    rules: ['W1'],
    file: 'lib/protocol/orders.ts',
    find: `  if (!ordersDiffer(before.phase, after.phase) && now < after.ordersDueAt) return [after, effects]`,
    replace: `  if (!ordersDiffer(before.phase, after.phase) && now > 0) return [after, effects]`,
  },
  {
    name: 'mailboxes that could not be made are not tried again',
    rules: ['P8'],
    file,
    find: `      return generationOf(state) === event.generation
        ? fail(state,`,
    replace: `      return generationOf(state) < 0
        ? fail(state,`,
  },
  {
    name: 'a generation that could not begin is not tried again',
    rules: ['O1'],
    file,
    find: `  const phase: Phase = { type: 'beginning', retryAt: now + storeRetryMs }`,
    replace: `  const phase: Phase = { type: 'beginning', retryAt: now < 0 ? now + storeRetryMs : undefined }`,
  },
  {
    name: "a job's end leaves its mailboxes behind",
    rules: ['O4'],
    file: actor,
    find: `    const removed = await this.removeMailboxes(this.state.newest + 1)`,
    replace: `    const removed = await this.removeMailboxes(0)`,
  },
  {
    name: 'a job that both know is refused at every second look',
    rules: ['P10'],
    file: 'actors/claim.ts',
    find: `  return right.type === 'resumable' ? E.left(running(job)) : E.right(right)`,
    replace: `  if (right.type === 'acquired' && right.claim.term % 2 === 0) return E.left(forgotten(job))
  return right.type === 'resumable' ? E.left(running(job)) : E.right(right)`,
  },
]
