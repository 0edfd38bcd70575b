/** A process that runs batches of seeds for `main.ts`. */
import { type BatchRequest, runBatch } from './batch.js'
import { forbidRealTime } from './forbidden.js'

forbidRealTime()

process.on('message', (asked: BatchRequest) => {
  void runBatch(asked).then(batch => process.send?.(batch))
})
process.on('disconnect', () => process.exit(0))
