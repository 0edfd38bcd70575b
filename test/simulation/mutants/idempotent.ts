/** Bugs in what a sink publishes at once. */
import type { Mutant } from './mutant.js'

const file = 'lib/protocol/idempotent.ts'

export const idempotentMutants: readonly Mutant[] = [
  {
    name: 'what a replay brings is published again',
    rules: ['IO1', 'IO3'],
    file,
    find: `    this.#published = last.index + 1
    this.#queue`,
    replace: `    this.#published = Math.min(last.index + 1, this.#next)
    this.#queue`,
  },
  {
    name: 'a snapshot forgets the records that are on their way',
    rules: ['IO5'],
    file,
    find: `      published: this.#published,
      own: this.#own,
    }
    return { base, next: this.#next, since: this.#since, records: this.#queue.content() }`,
    replace: `      published: Math.max(this.#published, this.#next),
      own: this.#own,
    }
    return { base, next: this.#next, since: this.#since, records: [] }`,
  },
  {
    name: 'a stream that has lost all that was published at once is gone on with',
    rules: ['IO7'],
    file,
    find: `    if (isCutOff && this.#published > 0) {`,
    replace: `    if (isCutOff && lastSequence < 0 && this.#published > 0) {`,
    also: [
      {
        file,
        find: `    const isProven = lastSequence === base || (`,
        replace: `    const isProven = lastSequence <= base || (`,
      },
    ],
  },
  {
    name: 'an epoch is committed while its records are on their way',
    rules: ['IO3'],
    file,
    find: `      if (mark.epoch > this.#completed || mark.next > this.#published) break`,
    replace: `      if (mark.epoch > this.#completed) break`,
  },
]
