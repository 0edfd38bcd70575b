/** A job of several TypeScript files, with syntax that only a compiler can take away. */
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from 'sluice'
import { setting } from '../setting.js'
import { Size, type SizeOf, sizeOf } from './size.js'

const Airport = t.type({ code: t.string, flights: t.number })

class Scale {
  constructor(private readonly judge: SizeOf) {}
  isLarge(flights: number): boolean {
    return this.judge(flights) === Size.Large
  }
}
const scale = new Scale(sizeOf)

const sizes = actor({
  name: 'sizes',
  accepts: Airport,
  emits: t.type({ code: t.string, large: t.boolean }),
  receive: (ctx, { code, flights }) => ctx.emit({ code, large: scale.isLarge(flights) }),
})

const airports = [
  { code: 'ORD', flights: 1_234 },
  { code: 'GUC', flights: 7 },
] as const satisfies readonly t.TypeOf<typeof Airport>[]

export default job(setting('JOB', 'airports'))
  .from(iterable.source({ id: 'airports', open: offset => airports.slice(offset) }))
  .to(sizes)
  .into(jetstream.sink({ id: 'out', subject: setting('SUBJECT', 'sizes') }))
  .checkpoint({ intervalMs: 200 })
