/** `retention`: what is left of checkpoints when a job ends, with parts in Redis. */
import { partTtls } from './kept.js'
import { retentionCells } from './retention-cells.js'

retentionCells({
  name: 'redis',
  settings: async () => ({}),
  fates: (_t, redis, manifest) => partTtls(redis, manifest),
})
