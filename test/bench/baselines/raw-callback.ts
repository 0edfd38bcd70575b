/** A consumer without acknowledgements that parses each message and does nothing else. */
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'
import { consume } from './consume.js'

const records = numberOf('BENCH_RECORDS')
const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)
const decoder = new TextDecoder()
let seen = 0
await consume(textOf('BENCH_STREAM'), data => {
  JSON.parse(decoder.decode(data))
  see()
  seen += 1
  return seen < records
})
process.exit(0)
