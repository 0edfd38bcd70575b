/** Two pipelines in one job, each as `counts`; either source may end long before the other. */
import { jetstream } from 'sluice'
import { checkpoint, countingJob, counts, Input } from './counting.js'
import { numberSetting, setting } from './setting.js'

const source = (id: string) =>
  jetstream.source({
    id,
    stream: setting(`IN_${id.toUpperCase()}`, id.toUpperCase()),
    accepts: Input,
    end: { at: 'sequence', sequence: numberSetting(`END_${id.toUpperCase()}`, 1) },
  })

const sink = (id: string) => {
  const stream = setting(`OUT_${id.toUpperCase()}`, `OUT_${id}`)
  return jetstream.sink({ id: `out-${id}`, subject: stream, stream })
}

export default countingJob()
  .from(source('short'))
  .keyBy(({ key }) => key)
  .to(counts, { id: 'counts-short' })
  .into(sink('short'))
  .from(source('long'))
  .keyBy(({ key }) => key)
  .to(counts, { id: 'counts-long' })
  .into(sink('long'))
  .checkpoint(checkpoint)
