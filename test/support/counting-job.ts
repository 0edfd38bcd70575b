/** A small keyed job whose output shows every loss, repeat and reordering, and its check. */
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from '../../lib/index.js'
import type { Job } from '../../lib/job/graph.js'
import type { Limits } from '../../lib/job/limits.js'

const Word = t.type({ word: t.string, n: t.number })
const Count = t.type({ word: t.string, n: t.number, count: t.number })

const wordAt = (n: number): string => `w${(n * n + 3) % 7}`

const counts = actor({
  name: 'counts',
  accepts: Word,
  emits: Count,
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, { word, n }) => {
    const count = ctx.state.get() + 1
    ctx.state.set(count)
    ctx.emit({ word, n, count })
  },
})

/** `words/0` → `counts/0`, `counts/1` (keyed) → `out/0`, onto the stream `OUT`. */
export const countingJob = (
  records: number,
  more: {
    readonly limits?: Partial<Limits>
    readonly intervalMs?: number
    readonly mode?: 'exactly-once' | 'at-least-once'
  } = {},
): Job =>
  unchecked(records, more.limits).checkpoint({
    intervalMs: more.intervalMs ?? 20,
    timeoutMs: 5_000,
    mode: more.mode ?? 'exactly-once',
  })

/** The same without checkpoints. */
export const unchecked = (records: number, limits: Partial<Limits> = {}) =>
  job('words', { limits: { frameBytesMax: 128, channelBytesMax: 512, ...limits } })
    .from(
      iterable.source({
        id: 'words',
        *open(offset) {
          for (let n = offset; n < records; n += 1) yield { word: wordAt(n), n }
        },
      }),
    )
    .keyBy(({ word }) => word)
    .to(counts, { parallelism: 2 })
    .into(jetstream.sink({ id: 'out', subject: 'out' }))

/** Which records the output holds, in order of their numbers, each once. */
export const recordsIn = (output: readonly unknown[]): readonly number[] => {
  const numbers = new Set(output.filter(Count.is).map(({ n }) => n))
  return [...numbers].sort((a, b) => a - b)
}

/** What is wrong with the job's output, in words; nothing is right. */
export const faultsOf = (records: number, output: readonly unknown[]): readonly string[] => {
  const faults: string[] = []
  const seen = new Map<string, number[]>()
  for (const value of output) {
    if (!Count.is(value)) {
      faults.push(`no count: ${JSON.stringify(value)}`)
      continue
    }
    const before = seen.get(value.word) ?? []
    if (value.count !== before.length + 1)
      faults.push(`${value.word} ${value.n} is number ${value.count} after ${before.length}`)
    seen.set(value.word, [...before, value.n])
  }
  const expected = new Map<string, number[]>()
  for (let n = 0; n < records; n += 1)
    expected.set(wordAt(n), [...(expected.get(wordAt(n)) ?? []), n])
  for (const [word, numbers] of expected) {
    const found = seen.get(word) ?? []
    if (found.join() !== numbers.join())
      faults.push(`${word}: ${found.join()} not ${numbers.join()}`)
  }
  return faults
}
