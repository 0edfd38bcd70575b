/** The job store of one process on a Redis in memory. */
import { memoryJobStore as jobStoreOf } from '../../lib/adapters/memory/job-store.js'
import type { JobStore } from '../../lib/ports/job-store.js'
import type { MemoryRedis } from './memory-redis.js'
import type { MemoryWire } from './memory-wire.js'

export const memoryJobStore = (redis: MemoryRedis, wire: MemoryWire): JobStore =>
  jobStoreOf(redis, (request, needs, step) => redis.ask(wire, request, needs, step))
