/** The end of a job, as its coordinator performs it on real servers. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { claimJob } from '../../actors/claim.js'
import { CoordinatorActor } from '../../actors/coordinator.js'
import { connectNats } from '../../lib/adapters/nats/connection.js'
import { natsControlBus } from '../../lib/adapters/nats/control-bus.js'
import { natsEventLog } from '../../lib/adapters/nats/event-log.js'
import { nodeScheduler } from '../../lib/adapters/node/scheduler.js'
import { connectRedis } from '../../lib/adapters/redis/connection.js'
import { redisJobStore } from '../../lib/adapters/redis/store.js'
import { streamError } from '../../lib/errors.js'
import { jetstream, job } from '../../lib/index.js'
import { plan as planOf } from '../../lib/job/plan.js'
import { validate } from '../../lib/job/validate.js'
import type { EventLog } from '../../lib/ports/event-log.js'
import type { JobStore } from '../../lib/ports/job-store.js'
import { identityStream } from '../../lib/protocol/addresses.js'
import { noRestart } from '../../lib/protocol/retry.js'
import { done, sharedServers } from '../support/servers.js'

const graph = job('ends')
  .from(jetstream.source({ id: 'in', stream: 'IN', accepts: t.unknown }))
  .into(jetstream.sink({ id: 'out', subject: 'out' }))
  .checkpoint({ intervalMs: 100 }).graph

test("a job's end is written down only after its streams are gone, however long that takes", async t => {
  const valid = validate(graph)
  if (E.isLeft(valid)) return t.fail(JSON.stringify(valid.left))
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
  const happened: string[] = []
  const store: JobStore = redisJobStore(redis)
  const log: EventLog = natsEventLog(link)
  let tries = 0
  const ports = {
    scheduler: nodeScheduler,
    bus: natsControlBus(link),
    store: {
      ...store,
      end: (...given: Parameters<JobStore['end']>) => {
        happened.push('end')
        return store.end(...given)
      },
    },
    log: {
      ...log,
      payloadBytesMax: log.payloadBytesMax,
      remove: (stream: string) => async () => {
        tries += 1
        if (tries <= 2) return E.left(streamError('unavailable', 'the server is away'))
        happened.push(`remove ${stream}`)
        return log.remove(stream)()
      },
    },
  }
  const claimed = await claimJob(
    {
      job: 'ends',
      run: 'r',
      graph: plan.fingerprint,
      leaseMs: 5_000,
      fresh: false,
      onWaiting: () => {},
    },
    { store, log, scheduler: nodeScheduler },
  )
  if (E.isLeft(claimed) || claimed.right.type !== 'claimed') return t.fail(JSON.stringify(claimed))
  const { claim } = claimed.right
  await new Promise<void>(resolve => {
    const actor = new CoordinatorActor({
      plan,
      claim,
      run: 'r',
      leaseMs: 5_000,
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
  t.is(tries, 3)
  t.deepEqual(happened, [`remove ${identityStream('ends')}`, 'end'])
  t.is((await done(store.describe('ends')))?.status, 'canceled')
  t.deepEqual(await done(log.list('SLUICE_ends_')), [])
})
