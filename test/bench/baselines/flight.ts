/** What the hand-written consumers of flights share. */
import { connect } from 'nats'
import { meter } from '../meter.js'
import { numberOf, textOf } from '../parameters.js'

/** The two fields of a flight that count. */
export interface Flight {
  readonly origin: string
  readonly delay: number
}

export const records = numberOf('BENCH_RECORDS')
export const stream = textOf('BENCH_STREAM')
export const see = meter(textOf('BENCH_MARKS'), numberOf('BENCH_FROM'), records)
export const nats = await connect({ servers: textOf('NATS_URL'), noAsyncTraces: true })

const decoder = new TextDecoder()
export const flightOf = (data: Uint8Array): Flight => JSON.parse(decoder.decode(data))
