/** Bugs in channels: order, repetition, credit, and which generation a frame is of. */
import type { Mutant } from './mutant.js'

const file = 'lib/protocol/channel.ts'
const writer = 'actors/channel-out.ts'
const reader = 'actors/mailbox.ts'

export const channelMutants: readonly Mutant[] = [
  {
    name: 'a reader goes on behind a gap',
    rules: ['C9'],
    file,
    find: `      this.#gapSince ??= now
      return 'gap'`,
    replace: `      this.#processed = number - 1
      this.#expected = number + 1
      return 'accept'`,
  },
  {
    name: 'a frame that comes twice is read twice',
    rules: ['C9'],
    file,
    find: `    if (number < this.#expected) return 'duplicate'`,
    replace: `    if (number < this.#expected) {
      this.#processed = number - 1
      return 'accept'
    }`,
  },
  {
    name: 'frames that were not stored are not sent again',
    rules: ['C2'],
    file,
    find: `    const sends = due !== undefined && due <= now ? this.#redrive(now) : []`,
    replace: `    const sends: readonly SendFrame[] = due === Number.NEGATIVE_INFINITY ? this.#redrive(now) : []`,
  },
  {
    name: 'a re-drive leaves out the oldest frame',
    rules: ['C2'],
    file,
    find: `    return Array.from(this.#unacked, ([number, entry]) => this.#send(number, entry, now))`,
    replace: `    return Array.from(this.#unacked, ([number, entry]) => this.#send(number, entry, now)).slice(1)`,
  },
  {
    name: 'an ack proves that all frames are stored',
    rules: ['C4'],
    file,
    find: `      if (!unacked.acked) break`,
    replace: ``,
  },
  {
    name: 'an answer to an older attempt counts',
    rules: ['C3'],
    file,
    find: `    return entry?.attempt === attempt ? entry : undefined`,
    replace: `    return attempt > 0 ? entry : undefined`,
  },
  {
    name: 'a barrier overtakes the open frame',
    rules: ['C1', 'P4'],
    file: writer,
    find: `    this.flush()
    const { generation } = this.options
    const number = this.writer.nextNumber`,
    replace: `    const { generation } = this.options
    const number = this.writer.nextNumber`,
  },
  {
    name: 'a blocked writer does not ask for a credit that was lost',
    rules: ['C6', 'C7'],
    file: writer,
    find: `      this.options.requestCredit()`,
    replace: ``,
  },
  {
    name: 'generations share their subjects, and readers take what comes',
    rules: ['P8'],
    file: 'lib/protocol/addresses.ts',
    find: `const generationSubject = (job: string, generation: Generation): string =>`,
    replace: `const generationSubject = (job: string, of: Generation, generation = Math.min(1, of)): string =>`,
    also: [
      {
        file: reader,
        find: `    if (header.generation !== this.options.generation) {`,
        replace: `    if (header.generation < 0) {`,
      },
    ],
  },
]
