/** All benchmarks, in the order in which they run. */
import type { Bench } from './bench.js'
import { byHand } from './by-hand.js'
import { checkpointOverhead } from './checkpoint-overhead.js'
import { codecs } from './codecs.js'
import { keyedExchange } from './keyed-exchange.js'
import { sourcePerMessage } from './source-per-message.js'

export const suite: readonly Bench[] = [
  codecs,
  sourcePerMessage,
  keyedExchange,
  byHand,
  checkpointOverhead,
]
