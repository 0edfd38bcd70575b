/** The end of a job, as its coordinator performs it on real servers. */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { unknown } from 'io-ts'
import { claimJob } from '../../actors/claim.js'
import { CoordinatorActor } from '../../actors/coordinator.js'
import { connectNats } from '../../lib/adapters/nats/connection.js'
import { natsControlBus } from '../../lib/adapters/nats/control-bus.js'
import { natsEventLog } from '../../lib/adapters/nats/event-log.js'
import { nodeScheduler } from '../../lib/adapters/node/scheduler.js'
import { connectRedis, type RedisConnection } from '../../lib/adapters/redis/connection.js'
import { metaKey } from '../../lib/adapters/redis/keys.js'
import { redisJobStore } from '../../lib/adapters/redis/store.js'
import { streamError } from '../../lib/errors.js'
import { jetstream, job } from '../../lib/index.js'
import { plan as planOf } from '../../lib/job/plan.js'
import { validate } from '../../lib/job/validate.js'
import type { EventLog } from '../../lib/ports/event-log.js'
import type { JobStore } from '../../lib/ports/job-store.js'
import { deadLetterStream, identityStream } from '../../lib/protocol/addresses.js'
import { noRestart } from '../../lib/protocol/retry.js'
import { done, sharedServers } from '../support/servers.js'

interface Ends {
  readonly log: EventLog
  readonly store: JobStore
  readonly redis: RedisConnection
}

/** Runs a coordinator whose job is cancelled at once, until it has ended; with what was said meanwhile. */
const cancelled = async (
  t: ExecutionContext,
  name: string,
  change: (real: Ends) => { readonly log?: EventLog; readonly store?: JobStore },
): Promise<Ends> => {
  const graph = job(name)
    .from(jetstream.source({ id: 'in', stream: 'IN', accepts: unknown }))
    .into(jetstream.sink({ id: 'out', subject: 'out' }))
    .checkpoint({ intervalMs: 100 }).graph
  const valid = validate(graph)
  if (E.isLeft(valid)) throw new Error(JSON.stringify(valid.left))
  const plan = planOf(valid.right)
  const { natsUrl, redisUrl } = await sharedServers()
  const link = await done(connectNats({ url: natsUrl, name: 'test' }))
  const redis = await done(
    connectRedis({ url: redisUrl, name: 'test', role: 'control', onStatus: () => {} }),
  )
  t.teardown(async () => {
    await link.close()()
    await redis.close()
  })
  const real = { log: natsEventLog(link), store: redisJobStore(redis), redis }
  const ports = { scheduler: nodeScheduler, bus: natsControlBus(link), ...real, ...change(real) }
  const leaseMs = 5_000
  const claimed = await claimJob(
    { job: name, run: 'r', graph: plan.fingerprint, leaseMs, fresh: false, onWaiting: () => {} },
    { ...real, scheduler: nodeScheduler },
  )
  if (E.isLeft(claimed) || claimed.right.type !== 'claimed')
    throw new Error(JSON.stringify(claimed))
  const { claim } = claimed.right
  await new Promise<void>(resolve => {
    const actor = new CoordinatorActor({
      plan,
      claim,
      run: 'r',
      leaseMs,
      settings: {
        term: claim.term,
        jobId: claim.jobId,
        graph: plan.fingerprint,
        subtasks: plan.subtasks.map(s => s.id),
        maxParallelism: plan.graph.maxParallelism,
        sources: new Set(['in/0']),
        bounded: false,
        checkpoints: { intervalMs: 100, minPauseMs: 0, timeoutMs: 1_000, maxConcurrent: 1 },
        tolerableFailures: 0,
        localRecovery: false,
        restart: noRestart,
        heartbeatTimeoutMs: 3_000,
        stallTimeoutMs: 60_000,
        deployTimeoutMs: 10_000,
        stopTimeoutMs: 1_000,
        ordersEveryMs: 500,
      },
      ports,
      onNote: note => t.log(JSON.stringify(note)),
      onState: () => {},
      onEnded: () => resolve(),
    })
    actor.start()
    actor.requestCancel()
  })
  return real
}

test("a job's end is written down only after its streams are gone, however long that takes", async t => {
  const happened: string[] = []
  let tries = 0
  const { store, log } = await cancelled(t, 'ends', real => ({
    store: {
      ...real.store,
      end: (...given: Parameters<JobStore['end']>) => {
        happened.push('end')
        return real.store.end(...given)
      },
    },
    log: {
      ...real.log,
      payloadBytesMax: real.log.payloadBytesMax,
      remove: (stream: string) => async () => {
        tries += 1
        if (tries <= 2) return E.left(streamError('unavailable', 'the server is away'))
        happened.push(`remove ${stream}`)
        return real.log.remove(stream)()
      },
    },
  }))
  t.is(tries, 3)
  t.deepEqual(happened, [`remove ${identityStream('ends')}`, 'end'])
  t.is((await done(store.describe('ends')))?.status, 'canceled')
  t.deepEqual(await done(log.list('SLUICE_ends_')), [])
})

test('a job whose record is lost ends, and NATS still knows that it has existed (P10)', async t => {
  const { store, log } = await cancelled(t, 'loses', real => ({
    log: {
      ...real.log,
      payloadBytesMax: real.log.payloadBytesMax,
      facts: (stream: string) => async () => {
        if (stream === deadLetterStream('loses')) await real.redis.redis.del(metaKey('loses'))
        return real.log.facts(stream)()
      },
    },
  }))
  t.is(await done(store.describe('loses')), undefined)
  t.deepEqual(await done(log.list('SLUICE_loses_')), [identityStream('loses')])
  const claimed = await claimJob(
    { job: 'loses', run: 's', graph: 'g', leaseMs: 100, fresh: false, onWaiting: () => {} },
    { store, log, scheduler: nodeScheduler },
  )
  t.true(E.isLeft(claimed) && claimed.left.type === 'lost')
})
