/** Counts the numbers of a JetStream stream. */
import { jetstream, type SourceEnd } from 'sluice'
import { checkpoint, countingJob, counts, Input, parallelism, sink } from './counting.js'
import { setting } from './setting.js'

/** `last`, `none`, or the sequence of the last message. */
const endOf = (text: string): SourceEnd | undefined => {
  if (text === 'none') return undefined
  return text === 'last' ? { at: 'last' } : { at: 'sequence', sequence: Number(text) }
}
const end = endOf(setting('END', 'last'))

export default countingJob()
  .from(
    jetstream.source({
      id: 'numbers',
      stream: setting('IN', 'NUMBERS'),
      accepts: Input,
      ...(end === undefined ? {} : { end }),
    }),
  )
  .keyBy(({ key }) => key)
  .to(counts, { parallelism })
  .into(sink)
  .checkpoint(checkpoint)
