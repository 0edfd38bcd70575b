/** All benchmarks, in the order in which they run. */

import { barrierPause } from './barrier-pause.js'
import type { Bench } from './bench.js'
import { byHand } from './by-hand.js'
import { checkpointOverhead } from './checkpoint-overhead.js'
import { checkpointScale } from './checkpoint-scale.js'
import { codecs } from './codecs.js'
import { keyedExchange } from './keyed-exchange.js'
import { latency } from './latency.js'
import { memoryPerKey } from './memory-per-key.js'
import { recovery } from './recovery.js'
import { soak } from './soak.js'
import { sourcePerMessage } from './source-per-message.js'

export const suite: readonly Bench[] = [
  codecs,
  sourcePerMessage,
  keyedExchange,
  byHand,
  checkpointOverhead,
  checkpointScale,
  barrierPause,
  recovery,
  latency,
  memoryPerKey,
  soak,
]
