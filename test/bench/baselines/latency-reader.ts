/** Reads what comes out, and notes how old each record is when it is read. */
import { writeFileSync } from 'node:fs'
import * as t from 'io-ts'
import { now } from '../moments.js'
import { numberOf, textOf } from '../parameters.js'
import { consume } from './consume.js'

const Made = t.type({ at: t.number })

const records = numberOf('BENCH_RECORDS')
const from = numberOf('BENCH_FROM')
const decoder = new TextDecoder()
const ages: number[] = []
let seen = 0
process.send?.('ready')
await consume(textOf('BENCH_OUT'), data => {
  const made: unknown = JSON.parse(decoder.decode(data))
  if (!Made.is(made)) throw new Error('that tells no moment')
  seen += 1
  if (seen > from) ages.push(now() - made.at)
  return seen < records
})
writeFileSync(textOf('BENCH_MARKS'), JSON.stringify(ages))
process.exit(0)
