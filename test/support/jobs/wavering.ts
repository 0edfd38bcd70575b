/** Makes something else of a record each time, and puts it out at once. */
import { randomUUID } from 'node:crypto'
import * as t from 'io-ts'
import { actor, jetstream, job } from 'sluice'
import { checkpoint, Input, sink } from './counting.js'
import { setting } from './setting.js'

const waver = actor({
  name: 'waver',
  accepts: Input,
  emits: t.type({ n: t.number, id: t.string }),
  receive: (ctx, { n }) => ctx.emit({ n, id: randomUUID() }),
})

export default job(setting('JOB', 'wavering'))
  .from(jetstream.source({ id: 'numbers', stream: setting('IN', 'NUMBERS'), accepts: Input }))
  .to(waver)
  .into(sink)
  .checkpoint(checkpoint)
