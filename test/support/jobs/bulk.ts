/** Counts numbers that are made in the process itself, as fast as they are wanted. */
import { existsSync } from 'node:fs'
import { iterable } from 'sluice'
import { checkpoint, countingJob, counts, parallelism, sink, stateBackend } from './counting.js'
import { numberSetting, setting } from './setting.js'

const count = numberSetting('COUNT', 1_000)
const keys = numberSetting('KEYS', 7)

/** If given: the numbers end once this file is there, so that a test decides when. */
const endFile = setting('END_FILE', '')
const looksEvery = 16

function* numbersFrom(offset: number) {
  for (let n = offset; n < count; n += 1) {
    if (endFile !== '' && n % looksEvery === 0 && existsSync(endFile)) return
    yield { key: `k${n % keys}`, n }
  }
}

export default countingJob()
  .from(iterable.source({ id: 'numbers', open: numbersFrom }))
  .keyBy(({ key }) => key)
  .to(counts, { parallelism })
  .into(sink)
  .checkpoint(checkpoint)
  .stateBackend(stateBackend)
