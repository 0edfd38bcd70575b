/** All benchmarks, in the order in which they run. */
import type { Bench } from './bench.js'
import { sourcePerMessage } from './source-per-message.js'

export const suite: readonly Bench[] = [sourcePerMessage]
