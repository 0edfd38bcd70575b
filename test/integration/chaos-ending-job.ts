/** A job that ends by itself, at once. */
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from 'sluice'

const double = actor({
  name: 'double',
  accepts: t.number,
  emits: t.number,
  receive: (ctx, number) => ctx.emit(2 * number),
})

export default job('ending')
  .from(iterable.source({ id: 'numbers', open: offset => [1, 2, 3, 4, 5].slice(offset) }))
  .to(double, { parallelism: 2 })
  .into(jetstream.sink({ id: 'doubled', subject: 'doubled' }))
  .checkpoint({ intervalMs: 100 })
