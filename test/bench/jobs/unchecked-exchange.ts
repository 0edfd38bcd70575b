/** The keyed exchange without checkpoints. */
import { job } from 'sluice'
import { counts, readings, tally } from './exchange.js'

export default job('bench-unchecked-exchange')
  .from(readings)
  .keyBy(({ key }) => key)
  .to(counts)
  .to(tally)
