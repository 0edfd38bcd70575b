import * as t from 'io-ts'
import { actor, iterable, job } from 'sluice'

const Word = t.type({ word: t.string })
const Count = t.type({ word: t.string, count: t.number })
const words = 'to be or not to be'.split(' ').map(word => ({ word }))

const counts = actor({
  name: 'counts',
  accepts: Word,
  emits: Count,
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, { word }) => {
    ctx.state.set(ctx.state.get() + 1)
    ctx.emit({ word, count: ctx.state.get() })
  },
})

const print = actor({
  name: 'print',
  accepts: Count,
  emits: t.never,
  receive: (_, { word, count }) => console.log(`${word}: ${count}`),
})

export default job('word-count')
  .from(iterable.source({ id: 'words', open: offset => words.slice(offset) }))
  .keyBy(({ word }) => word)
  .to(counts, { parallelism: 2 })
  .to(print)
  .checkpoint({ intervalMs: 1_000 })
