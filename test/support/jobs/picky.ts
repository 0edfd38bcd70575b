/** Takes numbers, and throws at negative ones. */
import * as t from 'io-ts'
import { actor, type ErrorPolicy, jetstream, job } from 'sluice'
import { setting } from './setting.js'

const Input = t.type({ n: t.number })
const policies: readonly ErrorPolicy[] = ['fail', 'skip', 'dead-letter']
const onError = policies.find(policy => policy === setting('ON_ERROR', 'fail'))
const onRefused = policies.find(policy => policy === setting('ON_REFUSED', 'dead-letter'))

const roots = actor({
  name: 'roots',
  accepts: Input,
  emits: t.type({ n: t.number, root: t.number }),
  ...(onError === undefined ? {} : { onError }),
  receive: (ctx, { n }) => {
    if (n < 0) throw new RangeError(`no root of ${n}`)
    ctx.emit({ n, root: Math.sqrt(n) })
  },
})

export default job(setting('JOB', 'picky'))
  .from(
    jetstream.source({
      id: 'numbers',
      stream: setting('IN', 'NUMBERS'),
      accepts: Input,
      ...(onRefused === undefined ? {} : { onRefused }),
    }),
  )
  .to(roots)
  .into(
    jetstream.sink({
      id: 'out',
      subject: setting('SUBJECT', 'roots'),
      stream: setting('OUT', 'ROOTS'),
    }),
  )
  .checkpoint({ intervalMs: 150 })
