/**
 * How many steps each number takes to reach 1: halved if even, else tripled and one more. Every number
 * goes round the loop as often as it needs, which only the loop itself finds out.
 */
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from 'sluice'

const Walk = t.type({ start: t.number, now: t.number, steps: t.number })

/** The walks start at 1 … `numbers`. */
const numbers = Number(process.env.COLLATZ_NUMBERS ?? 2_000)

const step = actor({
  name: 'step',
  accepts: Walk,
  emits: Walk,
  receive: (ctx, { start, now, steps }) => {
    if (now === 1) ctx.emit({ start, now, steps })
    else ctx.emit({ start, now: now % 2 === 0 ? now / 2 : 3 * now + 1, steps: steps + 1 })
  },
})

export default job('collatz')
  .from(
    iterable.source({
      id: 'numbers',
      *open(offset) {
        for (let start = offset + 1; start <= numbers; start += 1)
          yield { start, now: start, steps: 0 }
      },
    }),
  )
  .iterate({ id: 'walk', again: ({ now }) => now !== 1 }, loop => loop.to(step, { parallelism: 2 }))
  .into(jetstream.sink({ id: 'walks', subject: 'walks' }))
  .checkpoint({ intervalMs: 250, force: true })
