/** A job, a source, an actor and keys with any names at all. */
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from 'sluice'
import { numberSetting, setting } from './setting.js'

const keys: readonly string[] = JSON.parse(setting('KEYS', '["k"]'))
const rounds = numberSetting('ROUNDS', 3)
const id = setting('ID', 'echo')

const counts = actor({
  name: id,
  accepts: t.string,
  emits: t.type({ key: t.string, count: t.number }),
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, key) => {
    const count = ctx.state.get() + 1
    ctx.state.set(count)
    ctx.emit({ key, count })
  },
})

/** Goes on for ever when there are no rounds: every key again and again, as the last round did. */
function* keysFrom(offset: number) {
  for (let n = offset; n < keys.length * rounds; n += 1) yield keys[n % keys.length] ?? ''
}

export default job(setting('JOB', 'names'))
  .from(iterable.source({ id: `${id} source`, open: keysFrom }))
  .keyBy(key => key)
  .to(counts, { parallelism: 2 })
  .into(
    jetstream.sink({
      id: `${id} out`,
      subject: setting('SUBJECT', 'named'),
      stream: setting('OUT', 'NAMED'),
    }),
  )
  .checkpoint({ intervalMs: 100 })
