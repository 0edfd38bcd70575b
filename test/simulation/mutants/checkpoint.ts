/** Bugs in how a checkpoint comes to be complete. */
import type { Mutant } from './mutant.js'

const file = 'lib/protocol/checkpoint.ts'
const coordinator = 'actors/coordinator.ts'

export const checkpointMutants: readonly Mutant[] = [
  {
    name: 'epochs are counted from the last completed one',
    rules: ['P1', 'K1'],
    file: coordinator,
    find: `this.dispatch({ type: 'epoch-allocated', generation, epoch: epoch.right })`,
    replace: `{
      const { phase } = this.state
      const last = phase.type === 'running' ? phase.checkpoints.completed : epoch.right - 1
      this.dispatch({ type: 'epoch-allocated', generation, epoch: last + 1 })
    }`,
  },
  {
    name: 'a report counts for whatever checkpoint is pending',
    rules: ['P2', 'K3'],
    file,
    find: `  const attempt = state.pending.find(p => p.epoch === part.epoch)`,
    replace: `  const attempt = state.pending.find(p => p.epoch >= part.epoch)`,
  },
  {
    name: 'a report of another generation counts',
    rules: ['P2', 'O1'],
    file,
    find: `  const known = part.generation === state.generation && state.subtasks.has(part.subtask)`,
    replace: `  const known = state.subtasks.has(part.subtask)`,
    equivalent:
      'An epoch is never used twice (P1) and is pending in one generation only, so a report of it is of that generation.',
  },
  {
    name: 'a checkpoint commits before the last report',
    rules: ['P5', 'K3'],
    file,
    find: `p.reports.size >= state.subtasks.size`,
    replace: `p.reports.size >= state.subtasks.size - 1`,
  },
  {
    name: 'a commit that is under way times out',
    rules: ['P5', 'K4'],
    file,
    find: `    if (attempt.committing || now < attempt.registeredAt + state.rules.timeoutMs) continue`,
    replace: `    if (now < attempt.registeredAt + state.rules.timeoutMs) continue`,
  },
  {
    name: 'completion is told while the commit is under way',
    rules: ['P6', 'K5'],
    file: 'lib/protocol/orders.ts',
    find: `    triggers,
    completed,`,
    replace: `    triggers,
    completed: pending.find(p => p.committing)?.epoch ?? completed,`,
  },
  {
    name: 'a commit of unknown outcome is taken for failed',
    rules: ['P5', 'K4'],
    file: coordinator,
    find: `    if (error.type === 'timed-out' || error.type === 'unavailable') {
      // Unknown`,
    replace: `    if (error.type === 'missing') {
      // Unknown`,
  },
  {
    name: 'a commit of unknown outcome is taken for done',
    rules: ['P5', 'K4'],
    file: coordinator,
    find: `    if (error.type === 'timed-out' || error.type === 'unavailable') {
      // Unknown`,
    replace: `    if (error.type === 'timed-out') return this.committed(manifest, { type: 'committed' })
    if (error.type === 'unavailable') {
      // Unknown`,
  },
  {
    name: 'a commit of unknown outcome is not asked again',
    rules: ['P5'],
    file: coordinator,
    find: `        if (this.isAt(generation)) void this.tryCommit(manifest, history)`,
    replace: `        if (this.isAt(generation - 1)) void this.tryCommit(manifest, history)`,
  },
  {
    name: 'a commit that the store refused is taken for done',
    rules: ['P5'],
    file: coordinator,
    find: `        refused('parts-missing', \`the store has lost the parts of \${outcome.subtasks.join(', ')}\`)`,
    replace: `        this.dispatch({ type: 'committed', generation, epoch })`,
  },
  {
    name: 'commits of several checkpoints are under way at once',
    rules: ['K4', 'K5'],
    file,
    find: `  if (state.pending.some(p => p.committing)) return [state, effects]
  const attempt = state.pending.find(p => p.reports.size >= state.subtasks.size) // K3`,
    replace: `  const attempt = state.pending.find(
    p => !p.committing && p.reports.size >= state.subtasks.size,
  ) // K3`,
  },
  {
    name: 'after a failed allocation no checkpoint is tried again',
    rules: ['K2'],
    file,
    find: `      return [notAllocated(state, event.now), []]`,
    replace: `      return event.now < 0 ? [notAllocated(state, event.now), []] : [state, []]`,
  },
]
