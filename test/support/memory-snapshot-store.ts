/** Snapshots of one process on a Redis in memory. */
import { memorySnapshotStore as snapshotStoreOf } from '../../lib/adapters/memory/snapshot-store.js'
import type { SnapshotStore } from '../../lib/ports/job-store.js'
import type { MemoryRedis } from './memory-redis.js'
import type { MemoryWire } from './memory-wire.js'

export const memorySnapshotStore = (redis: MemoryRedis, wire: MemoryWire): SnapshotStore =>
  snapshotStoreOf(redis, (request, needs, step) => redis.ask(wire, request, needs, step))
