/** Bugs where barriers meet: what is let in before a snapshot, and which barrier counts. */
import type { Mutant } from './mutant.js'

const file = 'lib/protocol/alignment.ts'
const mailbox = 'actors/mailbox.ts'

export const alignmentMutants: readonly Mutant[] = [
  {
    name: 'channels are not blocked while a checkpoint aligns',
    rules: ['A1', 'A2'],
    file: mailbox,
    find: `        this.setBlocked(effect.channel, true)`,
    replace: ``,
  },
  {
    name: 'the first barrier makes the snapshot',
    rules: ['P4'],
    file,
    find: `    if (![...inputs.open].every(channel => each.arrived.has(channel))) continue`,
    replace: ``,
  },
  {
    name: 'a barrier of an epoch that is done with counts',
    rules: ['P3', 'A3'],
    file,
    find: `  if (epoch <= state.closedThrough || state.aborted.includes(epoch)) {
    return [state, [{`,
    replace: `  if (state.aborted.includes(epoch)) {
    return [state, [{`,
  },
  {
    name: 'a newer barrier counts for the older alignment, and no abort ends it',
    rules: ['P3', 'A4', 'A6'],
    file,
    find: `  const superseded = current !== undefined && current.epoch < epoch ? current : undefined`,
    replace: `  const superseded = current !== undefined && current.epoch < 0 ? current : undefined`,
    also: [
      {
        file: 'actors/subtask.ts',
        find: `    this.guard(() => this.head?.abort(epoch))`,
        replace: ``,
      },
    ],
  },
  {
    name: 'an older alignment is never given up',
    rules: ['P3', 'A4', 'A6'],
    file,
    find: `  return state.mode === 'exactly-once' ? align(state, barrier) : count(state, barrier)`,
    replace: `  if (state.type === 'aligning' && epoch > (state.pending[0]?.epoch ?? epoch))
    return [state, [{ type: 'barrier-ignored', channel, epoch }]]
  return state.mode === 'exactly-once' ? align(state, barrier) : count(state, barrier)`,
    also: [
      {
        file: 'actors/subtask.ts',
        find: `    this.guard(() => this.head?.abort(epoch))`,
        replace: ``,
      },
    ],
  },
  {
    name: 'an abort is not told to the alignment',
    rules: ['A6'],
    file: 'actors/subtask.ts',
    find: `    this.guard(() => this.head?.abort(epoch))`,
    replace: ``,
    equivalent:
      'The next barrier supersedes the alignment (A4), and there is always a next one: what it costs is time.',
  },
  {
    name: 'a channel stays blocked when its alignment is given up',
    rules: ['A4'],
    file,
    find: `      ...unblock(superseded?.arrived ?? none),`,
    replace: ``,
  },
]
