/** Batches of records to bytes and back: columns against msgpackr, which remembers shapes as well. */
import { Packr } from 'msgpackr'
import { ColumnCodec } from '../../lib/adapters/codec/columns.js'
import type { Bench } from './bench.js'
import { type Comparison, compare } from './figures.js'
import { eventOf } from './load.js'
import { recordAt } from './records.js'

const frameRecords = 512
const columns = new ColumnCodec()
const packr = new Packr({ useRecords: true })

/** Records as they go between actors. */
const kinds: Readonly<Record<string, (n: number) => unknown>> = {
  readings: n => recordAt(n, 100_000),
  events: eventOf,
  flights: n => ({
    date: `2001-01-${10 + (n % 20)} ${10 + (n % 13)}:23`,
    delay: (n % 60) - 5,
    distance: n % 2_000,
    origin: `A${n % 200}`,
    destination: `B${n % 200}`,
  }),
}

/** A trial: records per second through `each`, which is given every batch once. */
const rate =
  <A>(batches: readonly A[], each: (batch: A) => unknown) =>
  async (): Promise<number> => {
    const began = performance.now()
    for (const batch of batches) each(batch)
    return (batches.length * frameRecords * 1_000) / (performance.now() - began)
  }

const comparisonsOf = (
  kind: string,
  recordOf: (n: number) => unknown,
  frames: number,
): readonly Comparison[] => {
  const batches = Array.from({ length: frames }, (_, b) =>
    Array.from({ length: frameRecords }, (_, k) => recordOf(b * frameRecords + k)),
  )
  const ours = batches.map(batch => columns.serialize(batch))
  const theirs = batches.map(batch => packr.pack(batch))
  const comparison = { unit: 'records/s', bar: { atLeast: 1 } }
  return [
    {
      ...comparison,
      name: `codecs-${kind}-in`,
      ours: {
        name: `${kind} to columns`,
        trial: rate(batches, batch => columns.serialize(batch)),
      },
      baseline: { name: `${kind} to msgpackr`, trial: rate(batches, batch => packr.pack(batch)) },
    },
    {
      ...comparison,
      name: `codecs-${kind}-out`,
      ours: {
        name: `${kind} of columns`,
        trial: rate(ours, bytes => columns.deserialize(bytes, frameRecords)),
      },
      baseline: { name: `${kind} of msgpackr`, trial: rate(theirs, bytes => packr.unpack(bytes)) },
    },
  ]
}

export const codecs: Bench = {
  name: 'codecs',
  what: 'frames of 512 records to bytes and back, against msgpackr with its record extension',
  run: async stage => {
    const frames = stage.quick ? 20 : 400
    const comparisons = Object.entries(kinds).flatMap(([kind, recordOf]) =>
      comparisonsOf(kind, recordOf, frames),
    )
    return compare(comparisons, stage.quick ? 1 : 7, stage.say)
  },
}
