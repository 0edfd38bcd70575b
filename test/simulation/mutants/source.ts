/** Bugs in where a source goes on. */
import type { Mutant } from './mutant.js'

const file = 'actors/source.ts'

export const sourceMutants: readonly Mutant[] = [
  {
    name: 'a restored source reads its last message again',
    rules: ['P12', 'SP1'],
    file,
    find: `sequence: this.offset + 1 }`,
    replace: `sequence: this.offset }`,
  },
  {
    name: 'a restored source leaves a message out',
    rules: ['P12', 'SP1'],
    file,
    find: `sequence: this.offset + 1 }`,
    replace: `sequence: this.offset + 2 }`,
  },
  {
    name: 'a source stands where its reader does',
    rules: ['P12', 'SP1'],
    file,
    find: `    return { ...this.from, offset: this.offset, hash }`,
    replace: `    return { ...this.from, offset: this.queue.at(-1)?.sequence ?? this.offset, hash }`,
  },
  {
    name: 'an iterable is read from its start again',
    rules: ['SP1'],
    file,
    find: `    this.offset = restored?.offset ?? 0`,
    replace: `    this.offset = (restored?.offset ?? 0) * 0`,
  },
  {
    name: 'the message at the offset may be another one',
    rules: ['P12', 'SP2'],
    file: 'lib/protocol/source-position.ts',
    find: `  if (position.hash !== undefined && hashAtOffset !== undefined && hashAtOffset !== position.hash) {`,
    replace: `  if (position.hash === '' && hashAtOffset !== undefined && hashAtOffset !== position.hash) {`,
  },
  {
    name: 'a stream may end below the offset',
    rules: ['P12', 'SP1'],
    file: 'lib/protocol/source-position.ts',
    find: `  if (observed.lastSequence < offset) {`,
    replace: `  if (observed.lastSequence < 0) {`,
  },
]
