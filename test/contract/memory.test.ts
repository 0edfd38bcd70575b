/** The ports in memory, held to the same contracts as the real servers. */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { MemoryBroker } from '../support/memory-broker.js'
import { memoryCodec } from '../support/memory-codec.js'
import { MemoryPostOffice, memoryControlBus } from '../support/memory-control-bus.js'
import { memoryEventLog } from '../support/memory-event-log.js'
import { memoryJobStore } from '../support/memory-job-store.js'
import { MemoryRedis } from '../support/memory-redis.js'
import { memorySnapshotStore } from '../support/memory-snapshot-store.js'
import { MemoryProcess, VirtualTime } from '../support/memory-time.js'
import { MemoryWire } from '../support/memory-wire.js'
import { eventLogContract } from './event-log.js'
import { jobStoreContract } from './job-store.js'
import { logFaultContract } from './log-faults.js'
import type { LogServer } from './log-server.js'
import { recordCodecContract } from './record-codec.js'
import { snapshotStoreContract } from './snapshot-store.js'
import type { Stores } from './snapshots.js'
import { storeFaultContract } from './store-faults.js'
import type { StoreServer } from './store-server.js'

const flowing = () => {
  const time = new VirtualTime()
  time.flow()
  const process = new MemoryProcess('tester', time)
  const wire = new MemoryWire({ time, process, latencyMs: () => 1, timeoutMs: 2_000, hooks: {} })
  return { time, wire }
}

const openStores = async (_t: ExecutionContext): Promise<Stores> => {
  const { time, wire } = flowing()
  const redis = new MemoryRedis(time)
  return {
    jobs: memoryJobStore(redis, wire),
    snapshots: memorySnapshotStore(redis, wire),
    elapse: ms => new Promise(resolve => time.after(ms, resolve)),
  }
}

const openLog = async (_t: ExecutionContext) => {
  const { time, wire } = flowing()
  return memoryEventLog(new MemoryBroker(time), wire)
}

/** Resolves when the process has noticed what became of its connection, and has made another. */
const noticed = (wire: MemoryWire) => () =>
  new Promise<void>(resolve => wire.bring(() => wire.bring(resolve)))

const openLogServer = async (_t: ExecutionContext): Promise<LogServer> => {
  const { time, wire } = flowing()
  const broker = new MemoryBroker(time)
  const log = memoryEventLog(broker, wire)
  const reconnected = noticed(wire)
  return {
    log,
    bus: memoryControlBus(new MemoryPostOffice(), wire),
    restart: async ({ loseAbove, meanwhile } = {}) => {
      const lost = loseAbove === undefined ? {} : { loseAbove }
      if (meanwhile === undefined) broker.restart(lost)
      else {
        broker.setDown(true)
        broker.restart(lost)
        await meanwhile(async (subject, text) => void broker.put(subject, text))
        broker.setDown(false)
      }
      await reconnected()
    },
    setDown: async down => {
      broker.setDown(down)
      if (!down) await reconnected()
    },
    setHung: async hung => broker.setHung(hung),
    setFull: async full => broker.setFull(full),
    dropConsumers: async stream => broker.dropConsumers(stream),
  }
}

const openStoreServer = async (_t: ExecutionContext): Promise<StoreServer> => {
  const { time, wire } = flowing()
  const redis = new MemoryRedis(time)
  const { hooks } = wire.options
  const snapshots = memorySnapshotStore(redis, wire)
  const reconnected = noticed(wire)
  return {
    jobs: memoryJobStore(redis, wire),
    snapshots,
    elapse: ms => new Promise(resolve => time.after(ms, resolve)),
    restart: async () => {
      redis.restart()
      await reconnected()
    },
    setDown: async down => {
      redis.setDown(down)
      if (!down) await reconnected()
    },
    setHung: async hung => redis.setHung(hung),
    setMode: async mode => redis.setMode(mode),
    backup: async () => {
      const backup = redis.backup()
      return async () => {
        redis.restore(backup)
        await reconnected()
      }
    },
    expireNow: async filter => redis.expireNow(filter),
    keys: async () => new Map(redis.keys().map(({ key, ttlMs }) => [key, ttlMs])),
    tear: async (job, part, chunks, ttlMs) => {
      hooks.onRequest = () => 'torn'
      await snapshots.write(job, part, chunks, ttlMs)()
      delete hooks.onRequest
    },
  }
}

eventLogContract('memory', openLog)
logFaultContract('memory', openLogServer)
storeFaultContract('memory', openStoreServer)
jobStoreContract('memory', openStores)
snapshotStoreContract('memory', openStores)

recordCodecContract('memory', memoryCodec)

test('memory: the bytes of a value are always the same', t => {
  const value = { a: [undefined, -0, 1n, new Date(5)], b: new Map([[1, new Uint8Array([1, 2])]]) }
  t.true(E.isRight(memoryCodec.serialize(value)))
  t.deepEqual(memoryCodec.serialize(value), memoryCodec.serialize(structuredClone(value)))
})
