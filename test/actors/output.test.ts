/** What an output keeps with a checkpoint, and takes from one. */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { type OpenOutput, openOutput } from '../../actors/output.js'
import type { StreamError } from '../../lib/errors.js'
import { stampHeaders } from '../../lib/protocol/commit.js'
import type { PreparedOutput } from '../../lib/state/snapshot.js'
import { MemoryBroker } from '../support/memory-broker.js'
import { memoryEventLog } from '../support/memory-event-log.js'
import { MemoryProcess, memoryScheduler, VirtualTime } from '../support/memory-time.js'
import { MemoryWire } from '../support/memory-wire.js'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const old = { job: 'job-0', sink: 'out', subtask: 0 }
const own = { ...old, job: 'job-1' }

const wanted: OpenOutput = {
  id: 'out',
  identity: own,
  subject: 'out',
  stream: undefined,
  create: { name: 'OUT', subjects: ['out'] },
  generation: 1,
  mode: 'idempotent',
  mayBeCleared: false,
  pendingBytesMax: 1_000_000,
  restored: undefined,
}

/** A server, and outputs on it. */
const open = async (t: ExecutionContext) => {
  const time = new VirtualTime()
  const broker = new MemoryBroker(time)
  const process = new MemoryProcess('worker', time)
  const wire = new MemoryWire({ time, process, latencyMs: () => 1, timeoutMs: 2_000, hooks: {} })
  const log = memoryEventLog(broker, wire)
  const ports = { log, scheduler: memoryScheduler(time, process) }
  const begin = async (options: OpenOutput) => {
    const failures: StreamError[] = []
    let opened: Awaited<ReturnType<typeof openOutput>> | undefined
    const host = {
      onRecovered: () => undefined,
      onCommitted: () => undefined,
      onFull: () => undefined,
      onFailed: (error: StreamError) => failures.push(error),
    }
    void openOutput(options, ports, host).then(either => {
      opened = either
    })
    await time.run('it is open', () => opened !== undefined)
    if (opened === undefined || E.isLeft(opened)) throw new Error(JSON.stringify(opened))
    const { right: output } = opened
    output.start()
    await time.run('it knows', () => output.isRecovered || failures.length > 0)
    return { output, failures }
  }
  const made = log.create({ ...wanted.create, storage: 'file' })()
  let isMade = false
  void made.then(() => {
    isMade = true
  })
  await time.run('the stream is made', () => isMade)
  t.true(E.isRight(await made))
  return { broker, begin, ports, time }
}

/** A checkpoint after so many records, of which so many had been published up to some sequence. */
const kept = (next: number, published: number, jobs?: readonly string[]): PreparedOutput[] => {
  const chained = { base: { sequence: published, published, own: published }, next, since: next }
  return [{ epoch: 0, records: [], meta: { chained, subject: 'out', jobs } }]
}

test('IO4: what another job has published, and is still to come again, is compared for as long as that takes', async t => {
  const { broker, begin } = await open(t)
  for (const [index, text] of ['a', 'b', 'c'].entries()) {
    const headers = stampHeaders(old, { generation: 7, epoch: 0, index })
    broker.publish('out', encode(text), { headers })
  }
  const before = { epoch: 3, jobs: ['job-0'] }
  const restored = { epoch: 3, prepared: kept(1, 1), isCopy: true }
  const first = await begin({ ...wanted, identity: { ...own, before }, restored })
  first.output.add(encode('b'))
  first.output.prepare(4, false)
  const snapshot = first.output.snapshot()
  t.like(snapshot[0], { meta: { jobs: ['job-0'] } })
  first.output.dispose()
  // From here on the checkpoint is the job's own: it alone says who was before.
  const again = { ...wanted, generation: 2 }
  const second = await begin({
    ...again,
    restored: { epoch: 4, prepared: snapshot, isCopy: false },
  })
  second.output.add(encode('other'))
  t.regex(second.failures[0]?.message ?? '', /record 2 has other content/)
  const third = await begin({ ...again, restored: { epoch: 4, prepared: snapshot, isCopy: false } })
  third.output.add(encode('c'))
  third.output.prepare(5, false)
  t.deepEqual(third.failures, [])
  t.like(third.output.snapshot()[0], { meta: { jobs: undefined } })
})

for (const mode of ['transactional', 'idempotent'] as const) {
  test(`a checkpoint of another delivery than ${mode} is refused by name`, async t => {
    const { ports, time } = await open(t)
    const base = { epoch: 0, records: [], meta: { base: { sequence: 4 }, subject: 'out' } }
    const prepared = mode === 'idempotent' ? [base] : kept(1, 1)
    const restored = { epoch: 3, prepared, isCopy: false }
    let refused: unknown
    const host = {
      onRecovered: () => t.fail(),
      onCommitted: () => t.fail(),
      onFull: () => t.fail(),
      onFailed: () => t.fail(),
    }
    void openOutput({ ...wanted, mode, restored }, ports, host).then(either => {
      refused = either
    })
    await time.run('it is refused', () => refused !== undefined)
    t.like(refused, { left: { type: 'conflict' } })
    t.regex(JSON.stringify(refused), new RegExp(`'out' has delivery '${mode}' now`))
  })
}
