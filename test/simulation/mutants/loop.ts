/** Bugs in what becomes of records that are on their way round a loop. */
import type { Mutant } from './mutant.js'

const log = 'lib/state/loop-log.ts'
const take = `    for (const { awaited, records } of this.#open) if (awaited.has(channel)) records.push(record)`

export const loopMutants: readonly Mutant[] = [
  {
    name: 'what comes back to a loop before the barrier does is not in the snapshot',
    rules: ['LL1'],
    file: log,
    find: take,
    replace: `    for (const { awaited, records } of this.#open)
      if (awaited.has(channel) && awaited.size > this.channels.length) records.push(record)`,
  },
  {
    name: 'what comes back behind the barrier is in the snapshot of a loop as well',
    rules: ['LL1'],
    file: log,
    find: take,
    replace: `    for (const { awaited, records } of this.#open)
      if (awaited.size > 0 || awaited.has(channel)) records.push(record)`,
  },
  {
    name: 'what follows a barrier that came round from another head does not wait',
    rules: ['LL4'],
    file: 'actors/mailbox.ts',
    find: `      inbound.blocked = this.options.mode === 'exactly-once'`,
    replace: `      inbound.blocked = this.options.mode === 'at-least-once'`,
  },
  {
    name: 'records that were in a loop are not restored',
    rules: ['LL1'],
    file: 'actors/subtask.ts',
    find: `this.makeMailbox(snapshot?.loops.get(this.chain.id) ?? [])`,
    replace: `this.makeMailbox(snapshot?.loops.get(\`\${this.chain.id}/0\`) ?? [])`,
  },
  {
    name: 'a final checkpoint is final whatever goes round a loop',
    rules: ['K8'],
    file: 'lib/protocol/checkpoint.ts',
    find: `  const final = attempt.final && !isLooping(attempt) // K8`,
    replace: `  const { final } = attempt`,
  },
  {
    name: 'the head of a loop waits for the barrier that it has yet to send round',
    rules: ['LL2'],
    file: 'actors/mailbox.ts',
    find: `      channels: options.inputs.filter(i => !i.isFeedback).map(i => i.channel),`,
    replace: `      channels: options.inputs.map(i => i.channel),`,
  },
]
