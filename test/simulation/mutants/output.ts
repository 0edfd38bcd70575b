/** Bugs in what a sink publishes, when, and what it believes. */
import type { Mutant } from './mutant.js'

const file = 'lib/protocol/commit.ts'

export const outputMutants: readonly Mutant[] = [
  {
    name: 'the records of an epoch are published backwards',
    rules: ['S2'],
    file,
    find: `    this.#chain.file(epoch, firstIndex, this.#open)
    this.#open = []`,
    replace: `    this.#chain.file(epoch, firstIndex, [...this.#open].reverse())
    this.#open = []`,
  },
  {
    name: 'a stream that has lost all of an output is gone on with',
    rules: ['S8'],
    file,
    find: `    if (isCutOff && this.#chain.published !== undefined) {`,
    replace: `    if (isCutOff && lastSequence < 0 && this.#chain.published !== undefined) {`,
    also: [
      {
        file,
        find: `    const isProven = lastSequence === base || (`,
        replace: `    const isProven = lastSequence <= base || (`,
      },
    ],
  },
  {
    name: 'a shared stream that has lost an output and gone on is gone on with',
    rules: ['S8'],
    file,
    find: `return !mayBeCleared && this.#own !== undefined && this.#own > behind`,
    replace: `return !mayBeCleared && behind < 0`,
  },
  {
    name: 'records are published when their barrier has come',
    rules: ['P6', 'S1'],
    file,
    find: `    const limit = this.#recovering ? this.#restoredEpoch : this.#completed
    return segment`,
    replace: `    const limit = this.#recovering ? this.#restoredEpoch : this.#prepared
    return segment`,
  },
  {
    name: 'what a checkpoint had prepared is not restored',
    rules: ['P7', 'S1'],
    file,
    find: `      this.#chain.file(epoch, firstIndex, records)
      last = epoch`,
    replace: `      this.#chain.file(epoch, firstIndex, records.slice(0, 0))
      last = epoch`,
  },
  {
    name: 'an abort drops what was prepared',
    rules: ['P6', 'S1'],
    file,
    find: `  aborted(_epoch: Epoch): void {}`,
    replace: `  aborted(epoch: Epoch): void {
    this.#chain.drop(epoch)
  }`,
    also: [
      {
        file,
        find: `  /** Forgets what was sent and is not known to be published. */
  rewind(): void {`,
        replace: `  drop(epoch: Epoch): void {
    const at = this.#segments.findIndex(segment => segment.epoch === epoch)
    if (at >= 0) this.#segments.splice(at, 1)
  }

  rewind(): void {`,
      },
      {
        file: 'actors/output.ts',
        find: `  completed(epoch: Epoch): void {`,
        replace: `  aborted(epoch: Epoch): void {
    if (this.options.mode === 'transactional') this.machine.aborted(epoch)
  }

  completed(epoch: Epoch): void {`,
      },
      {
        file: 'actors/subtask.ts',
        find: `    this.guard(() => this.head?.abort(epoch))`,
        replace: `    this.guard(() => this.head?.abort(epoch))
    for (const output of this.outputs.values()) output.aborted(epoch)`,
      },
    ],
  },
  {
    name: 'a publish of unknown outcome is taken for stored',
    rules: ['S3'],
    file,
    find: `    sent.outcome = outcome
`,
    replace: `    sent.outcome = isUnknown(outcome) ? { type: 'stored', sequence: sent.expected + 1 } : outcome
`,
  },
  {
    name: 'the stream takes a record wherever it comes',
    rules: ['P9', 'S5'],
    file: 'actors/output.ts',
    find: `          { headers, expectedLastSubjectSequence },`,
    replace: `          expectedLastSubjectSequence < 0 ? { headers, expectedLastSubjectSequence } : { headers },`,
  },
  {
    name: 'what is published already is published again after a restore',
    rules: ['S2'],
    file,
    find: `    if (isOnChain && !this.#reach(ours)) return
    if (isOnChain)`,
    replace: `    if (isOnChain)`,
  },
  {
    name: "the subject's last message is taken for the one before it",
    rules: ['S2'],
    file,
    find: `    let left = at.index + 1 - target.firstIndex - target.published`,
    replace: `    let left = at.index - target.firstIndex - target.published`,
  },
  {
    name: 'a snapshot forgets how much of an epoch is published',
    rules: ['S2', 'S8'],
    file,
    find: `      firstIndex: firstIndex + published,`,
    replace: `      firstIndex,`,
  },
  {
    name: 'a window in a shared stream is as wide as in one of its own',
    rules: ['S4'],
    file: 'actors/output.ts',
    find: `  const exclusive = isExclusive(stream.right, options.subject)`,
    replace: `  const exclusive = isExclusive(stream.right, options.subject) || stream.right.name !== ''`,
  },
  {
    name: 'a store that lost a checkpoint is believed',
    rules: ['S6'],
    file,
    find: `    if (at.epoch > limit && this.#recovering) {`,
    replace: `    if (at.epoch > limit && this.#recovering && this.#restoredEpoch >= 0) return true
    if (at.epoch > limit && this.#recovering) {`,
  },
]
