/** A job whose records go round a loop as often as each of them says, and its check. */
import * as t from 'io-ts'
import { actor, type CheckpointOptions, iterable, jetstream, job } from '../../lib/index.js'
import type { Job } from '../../lib/job/graph.js'
import type { Limits } from '../../lib/job/limits.js'

const Lap = t.type({ id: t.number, left: t.number, laps: t.number })
const Counted = t.type({ id: t.number, left: t.number, laps: t.number })

/** Rounds of a record: none for some, many for others. */
export const lapsOf = (id: number): number => (id * 7 + 3) % 11

const run = actor({
  name: 'run',
  accepts: Lap,
  emits: Lap,
  // Counts in its state as well: what goes round twice, or gets lost, leaves a gap there.
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, { id, left, laps }) => {
    const seen = ctx.state.get()
    ctx.state.set(seen + 1)
    ctx.emit({ id, left: left - 1, laps: seen === laps ? laps + 1 : Number.NaN })
  },
})

/** `laps/0` → loop `track` through `run/0`, `run/1` (keyed) → `out/0`, onto the stream `OUT`. */
export const loopingJob = (
  records: number,
  checkpoint: Partial<CheckpointOptions> = {},
  limits: Partial<Limits> = {},
): Job =>
  job('laps', { limits: { frameBytesMax: 128, channelBytesMax: 512, ...limits } })
    .from(
      iterable.source({
        id: 'laps',
        *open(offset) {
          for (let id = offset; id < records; id += 1) yield { id, left: lapsOf(id) + 1, laps: 0 }
        },
      }),
    )
    .iterate({ id: 'track', again: ({ left }) => left > 0 }, loop =>
      loop.keyBy(({ id }) => id).to(run, { parallelism: 2 }),
    )
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
    .checkpoint({ intervalMs: 20, timeoutMs: 5_000, force: true, ...checkpoint })

/** What is wrong with the output, in words; nothing is right. */
export const faultsOf = (records: number, output: readonly unknown[]): readonly string[] => {
  const found = new Map<number, number>()
  const faults: string[] = []
  for (const value of output) {
    if (!Counted.is(value)) {
      faults.push(`no record: ${JSON.stringify(value)}`)
      continue
    }
    found.set(value.id, (found.get(value.id) ?? 0) + 1)
    if (value.laps !== lapsOf(value.id) + 1) faults.push(`${value.id} ran ${value.laps} laps`)
  }
  for (let id = 0; id < records; id += 1) {
    const times = found.get(id) ?? 0
    if (times !== 1) faults.push(`${id} has left the loop ${times} times`)
  }
  return faults
}
