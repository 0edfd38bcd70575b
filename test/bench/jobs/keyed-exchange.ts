/** The keyed exchange, exactly once. */
import { job } from 'sluice'
import { numberOf } from '../parameters.js'
import { counts, readings, tally } from './exchange.js'

export default job('bench-keyed-exchange')
  .from(readings)
  .keyBy(({ key }) => key)
  .to(counts)
  .to(tally)
  .checkpoint({ intervalMs: numberOf('BENCH_INTERVAL_MS') })
