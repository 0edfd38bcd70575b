/** A job with several problems at once, none of which a type checker sees. */
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from 'sluice'

const echo = actor({
  name: 'echo',
  accepts: t.number,
  emits: t.number,
  receive: (ctx, n) => ctx.emit(n),
})

export default job('broken', { maxParallelism: 4 })
  .from(iterable.source({ id: 'echo', open: () => [1] }))
  .to(echo, { parallelism: 0 })
  .to(echo, { id: 'too-wide', parallelism: 5 })
  .into(jetstream.sink({ id: 'out', subject: 'every.>' }))
  .checkpoint({ intervalMs: 1 })
