/** A process that runs batches of seeds for `main.ts`. */
import { runBatch } from './batch.js'
import { forbidRealTime } from './forbidden.js'

forbidRealTime()

process.on('message', (asked: { readonly from: number; readonly seeds: number }) => {
  void runBatch(asked.from, asked.seeds).then(batch => process.send?.(batch))
})
process.on('disconnect', () => process.exit(0))
