/** Counts numbers that are made in the process itself, as fast as they are wanted. */
import { iterable } from 'sluice'
import { checkpoint, countingJob, counts, parallelism, sink, stateBackend } from './counting.js'
import { numberSetting } from './setting.js'

const count = numberSetting('COUNT', 1_000)
const keys = numberSetting('KEYS', 7)

function* numbersFrom(offset: number) {
  for (let n = offset; n < count; n += 1) yield { key: `k${n % keys}`, n }
}

export default countingJob()
  .from(iterable.source({ id: 'numbers', open: numbersFrom }))
  .keyBy(({ key }) => key)
  .to(counts, { parallelism })
  .into(sink)
  .checkpoint(checkpoint)
  .stateBackend(stateBackend)
