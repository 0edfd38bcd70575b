import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import {
  type Claimed,
  type ClaimRequest,
  checkDurability,
  claimJob,
  type EndedBefore,
  givenUp,
} from '../../actors/claim.js'
import type { StreamError } from '../../lib/errors.js'
import type { EventLog } from '../../lib/ports/event-log.js'
import type { JobStore } from '../../lib/ports/job-store.js'
import { identityStream, jobStreamPrefix, mailboxStream } from '../../lib/protocol/addresses.js'
import { MemoryBroker } from '../support/memory-broker.js'
import { memoryEventLog } from '../support/memory-event-log.js'
import { memoryJobStore } from '../support/memory-job-store.js'
import { MemoryRedis } from '../support/memory-redis.js'
import { MemoryProcess, memoryScheduler, VirtualTime } from '../support/memory-time.js'
import { MemoryWire } from '../support/memory-wire.js'

const job = 'flights "1"'
const leaseMs = 9_000

/** Servers, and runs of one job that claim it there. */
class Servers {
  readonly time = new VirtualTime()
  readonly broker = new MemoryBroker(this.time)
  redis = new MemoryRedis(this.time)
  waits = 0

  run(run: string) {
    const { time } = this
    const process = new MemoryProcess(run, time)
    const options = { time, process, latencyMs: () => 1, timeoutMs: 2_000, hooks: {} }
    const wire = new MemoryWire(options)
    const store = memoryJobStore(this.redis, wire)
    const log = memoryEventLog(this.broker, wire)
    const ports = { store, log, scheduler: memoryScheduler(time, process) }
    const onWaiting = (): void => {
      this.waits += 1
    }
    return {
      ...ports,
      process,
      claim: (more: Partial<ClaimRequest> = {}) => {
        const request = { job, run, graph: 'g', leaseMs, fresh: false, onWaiting, ...more }
        return this.settled(claimJob(request, ports))
      },
      renew: async (by: Claimed): Promise<void> => {
        await this.settled(store.renew(by.claim, run, leaseMs)())
      },
    }
  }

  /** Lets time pass until a promise has settled. */
  async settled<A>(promise: Promise<A>): Promise<A> {
    let result: { readonly value: A } | undefined
    void promise.then(value => {
      result = { value }
    })
    await this.time.run('an answer', () => result !== undefined)
    return result === undefined ? promise : result.value
  }
}

type Answer = E.Either<StreamError, Claimed | EndedBefore>

const claimOf = (answer: Answer): Claimed => {
  if (E.isRight(answer) && answer.right.type === 'claimed') return answer.right
  throw new Error(JSON.stringify(answer))
}

const refusalOf = (answer: Answer): StreamError => {
  if (E.isLeft(answer)) return answer.left
  throw new Error(JSON.stringify(answer))
}

test('a new job is claimed, and NATS remembers that it exists', async t => {
  const servers = new Servers()
  const claimed = claimOf(await servers.run('a').claim())
  t.like(claimed.claim, { job, term: 1 })
  t.true(servers.broker.streams.has(identityStream(job)))
})

test('the same run takes over from its dead coordinator without waiting', async t => {
  const servers = new Servers()
  await servers.run('a').claim()
  const again = claimOf(await servers.run('a').claim())
  t.is(again.claim.term, 2)
  t.is(servers.waits, 0)
})

test('P10: a job that NATS knows and this Redis does not is not started afresh', async t => {
  const servers = new Servers()
  await servers.run('a').claim()
  servers.redis = new MemoryRedis(servers.time)
  const error = refusalOf(await servers.run('b').claim())
  t.is(error.type, 'lost')
  t.regex(error.message, /job 'flights "1"' has run on this NATS before/)
  t.regex(error.next ?? '', /--redis .* --fresh/)
  const afresh = claimOf(await servers.run('b').claim({ fresh: true }))
  t.is(afresh.claim.term, 1)
})

test('a job that a living run holds is refused, in less than a lease', async t => {
  const servers = new Servers()
  const first = servers.run('a')
  const claimed = claimOf(await first.claim())
  const renewing = (): void => {
    void first.renew(claimed)
    servers.time.after(leaseMs / 4, renewing)
  }
  renewing()
  const began = servers.time.now
  const error = refusalOf(await servers.run('b').claim())
  t.is(error.type, 'conflict')
  t.regex(error.next ?? '', /sluice status 'flights "1"'.*sluice cancel/)
  t.true(servers.time.now - began < leaseMs)
  t.is(servers.waits, 1)
})

test('a job that a dead run holds is taken over when its lease has expired', async t => {
  const servers = new Servers()
  await servers.run('a').claim()
  const claimed = claimOf(await servers.run('b').claim())
  t.is(claimed.claim.term, 2)
  t.is(servers.waits, 1)
  t.true(servers.time.now >= leaseMs)
})

test('a run that dies while its successor watches is taken over all the same', async t => {
  const servers = new Servers()
  const first = servers.run('a')
  const claimed = claimOf(await first.claim())
  // Its last renewal, just before the successor looks for the first time.
  await first.renew(claimed)
  t.is(claimOf(await servers.run('b').claim()).claim.term, 2)
})

test('a job that ends while its holder is watched is not run a second time', async t => {
  const servers = new Servers()
  const [first, second] = [servers.run('run-a'), servers.run('run-b')]
  const held = claimOf(await first.claim())
  servers.time.after(leaseMs / 4, () => {
    void first.store.end(held.claim, 'finished', { ttlMs: 60_000 })()
    void first.log.remove(identityStream(job))()
  })
  const outcome = await second.claim()
  t.like(outcome, { right: { type: 'ended', status: 'finished' } })
})

test('a job that ends between the look at it and the claim is not run a second time', async t => {
  const servers = new Servers()
  const first = servers.run('run-a')
  const { claim } = claimOf(await first.claim())
  const { scheduler, store, log } = servers.run('run-a')
  const ending: EventLog = {
    ...log,
    payloadBytesMax: log.payloadBytesMax,
    // The orphan of this run's last coordinator is done just now.
    facts: stream => async () => {
      await first.log.remove(identityStream(job))()
      await first.store.end(claim, 'finished', { ttlMs: 60_000 })()
      return log.facts(stream)()
    },
  }
  const request = { job, run: 'run-a', graph: 'g', leaseMs, fresh: false, onWaiting: () => {} }
  const outcome = await servers.settled(claimJob(request, { store, log: ending, scheduler }))
  t.like(outcome, { right: { type: 'ended', status: 'finished' } })
})

test('a run whose last act is a renewal that its successor sees is taken over all the same', async t => {
  const servers = new Servers()
  const first = servers.run('a')
  const claimed = claimOf(await first.claim())
  servers.time.after(leaseMs / 4, () => void first.renew(claimed))
  t.is(claimOf(await servers.run('b').claim()).claim.term, 2)
})

test('a job that has ended stays ended until somebody says fresh', async t => {
  const servers = new Servers()
  const first = servers.run('a')
  const { claim } = claimOf(await first.claim())
  await servers.settled(first.store.beginGeneration(claim)())
  await servers.settled(first.store.end(claim, 'finished', { reason: 'done', ttlMs: 600_000 })())
  const answer = await servers.run('b').claim()
  t.deepEqual(answer, E.right({ type: 'ended', status: 'finished', reason: 'done' }))
  const afresh = claimOf(await servers.run('b').claim({ fresh: true }))
  t.not(afresh.claim.jobId, claim.jobId)
})

test('a job that failed goes on with what it had', async t => {
  const servers = new Servers()
  const first = servers.run('a')
  const { claim } = claimOf(await first.claim())
  await servers.settled(first.store.beginGeneration(claim)())
  await servers.settled(first.store.end(claim, 'failed', { reason: 'user code' })())
  t.is(claimOf(await servers.run('b').claim()).claim.jobId, claim.jobId)
})

test('fresh gives up what a job has stored, and starts it from nothing', async t => {
  const servers = new Servers()
  const first = servers.run('a')
  const { claim } = claimOf(await first.claim())
  await servers.settled(first.store.beginGeneration(claim)())
  const afresh = claimOf(await servers.run('a').claim({ fresh: true }))
  t.not(afresh.claim.jobId, claim.jobId)
  t.is(afresh.record.latest, undefined)
  t.true(afresh.claim.term > claim.term)
})

test('a store that may lose checkpoints is refused, unless the job says so', async t => {
  const facts = { evicts: false, policy: 'noeviction', appendOnly: true, fsync: 'everysec' }
  const store = (more: Partial<typeof facts>): JobStore => ({
    ...new Servers().run('a').store,
    durability: () => () => Promise.resolve(E.right({ ...facts, ...more })),
  })
  const why = async (
    durability: 'strict' | 'process-crash' | 'none',
    more: Partial<typeof facts>,
  ): Promise<string> => {
    const checked = await checkDurability(durability, store(more))
    return E.isLeft(checked) ? `${checked.left.type}: ${checked.left.message}` : ''
  }
  const evicting = { evicts: true, policy: 'allkeys-lru' }
  for (const durability of ['strict', 'process-crash', 'none'] as const)
    t.regex(await why(durability, evicting), /^refused: .* maxmemory-policy is 'allkeys-lru'/)
  t.regex(await why('strict', {}), /its appendfsync is 'everysec'/)
  t.is(await why('strict', { fsync: 'always' }), '')
  t.is(await why('process-crash', {}), '')
  t.regex(await why('process-crash', { appendOnly: false }), /no append-only file/)
  t.is(await why('none', { appendOnly: false, fsync: 'no' }), '')
})

test('a durability profile says what it gives up', t => {
  t.is(givenUp('strict'), undefined)
  t.regex(givenUp('process-crash') ?? '', /power cut/)
  t.regex(givenUp('none') ?? '', /restart of Redis/)
})

test('a job that starts from nothing clears the mailboxes of an earlier life, and nothing else', async t => {
  const servers = new Servers()
  claimOf(await servers.run('a').claim())
  for (const name of [mailboxStream(job, 1, 'counts/0'), mailboxStream('other', 1, 'counts/0')]) {
    servers.broker.create({ name, subjects: [name], storage: 'memory' })
  }
  servers.redis = new MemoryRedis(servers.time)
  const again = servers.run('b')
  claimOf(await again.claim({ fresh: true }))
  const left = await servers.settled(again.log.list(jobStreamPrefix(job))())
  t.deepEqual(left, E.right([identityStream(job)]))
  const others = await servers.settled(again.log.list(jobStreamPrefix('other'))())
  t.deepEqual(others, E.right([mailboxStream('other', 1, 'counts/0')]))
})

test('a run that goes on leaves the mailboxes to its generation', async t => {
  const servers = new Servers()
  const first = servers.run('a')
  const { claim } = claimOf(await first.claim())
  const begun = await servers.settled(first.store.beginGeneration(claim)())
  t.true(E.isRight(begun))
  const name = mailboxStream(job, 1, 'counts/0')
  servers.broker.create({ name, subjects: [name], storage: 'memory' })
  claimOf(await servers.run('a').claim())
  const left = await servers.settled(first.log.list(jobStreamPrefix(job))())
  t.true(E.isRight(left) && left.right.includes(name))
})
