/** Bugs in how a worker obeys. */
import type { Mutant } from './mutant.js'

const file = 'lib/protocol/worker.ts'

export const workerMutants: readonly Mutant[] = [
  {
    name: 'a worker runs a generation that it never deployed',
    rules: ['W4'],
    file,
    find: `    if (orders.phase === 'run') return letGo(state) // W4
`,
    replace: ``,
  },
  {
    name: 'triggers and barriers are obeyed again and again',
    rules: ['P3', 'W3'],
    file,
    find: `    if (trigger.epoch <= current.triggered || state.aborted.has(trigger.epoch)) continue // W3`,
    replace: ``,
    also: [
      {
        file: 'actors/subtask.ts',
        find: `    if (epoch <= this.lastEpoch) return // P3
`,
        replace: ``,
      },
    ],
  },
  {
    name: 'a worker obeys a coordinator of a lower term',
    rules: ['W1'],
    file,
    find: `  if (orders.term < state.term) return [state, []] // W1`,
    replace: ``,
    equivalent:
      'A coordinator of a lower term has a lower generation, whose orders are ignored for that (W1, W5); and it says stop only after a word of the store, which fences it.',
  },
  {
    name: 'a late order to idle is obeyed',
    rules: ['W5'],
    file,
    find: `      return orders.generation >= current.generation ? letGo(current) : [current, []] // W5`,
    replace: `      return letGo(current)`,
  },
  {
    name: 'completion is not handed to the outputs',
    rules: ['P6', 'W3'],
    file,
    find: `  if (orders.completed > current.completed) {`,
    replace: `  if (orders.completed > current.completed + 1_000_000) {`,
  },
]
