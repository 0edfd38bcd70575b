import test from 'ava'
import * as t from 'io-ts'
import { actor, iterable, jetstream, job } from '../../lib/index.js'
import { countingJob, faultsOf } from '../support/counting-job.js'
import { JobWorld } from '../support/memory-job.js'
import { Subtasks } from './subtask-fixture.js'

const out = jetstream.sink({ id: 'out', subject: 'out' })
// Inside a test `t` is AVA's.
const anything = t.unknown
const number = t.number
const never = t.never
const numbers = (...values: readonly number[]) =>
  iterable.source({ id: 'numbers', open: offset => values.slice(offset) })

/** A job of one chain: records into an actor's function, onto `OUT`. */
const chained = (
  receive: (n: unknown, emit: (value: unknown) => void) => void,
  onError: 'fail' | 'dead-letter' = 'fail',
  records: readonly unknown[] = [1, 2, 3],
  maxConcurrent = 1,
) =>
  job('chained')
    .from(iterable.source<unknown>({ id: 'numbers', open: offset => records.slice(offset) }))
    .to(
      actor({
        name: 'work',
        accepts: anything,
        emits: anything,
        receive: (ctx, n) => receive(n, value => ctx.emit(value)),
        onError,
      }),
    )
    .into(out)
    .checkpoint({ intervalMs: 100, maxConcurrent })

test('a subtask is ready when it is restored, and runs when it is told to', async t => {
  const of = new Subtasks(countingJob(20)).deploy()
  t.is(of.phase('words/0'), 'restoring')
  await of.pass()
  for (const id of of.all.keys()) t.is(of.phase(id), 'ready', id)
  t.is(of.get('words/0').state.records, 0)
  of.run()
  await of.until('the end of the words', () => of.get('words/0').state.ended)
  t.is(of.phase('words/0'), 'running')
})

test('one that is told to run while it is restored runs as soon as it is', async t => {
  const of = new Subtasks(countingJob(20)).deploy()
  of.run()
  t.is(of.phase('words/0'), 'restoring')
  await of.until('the end of the words', () => of.get('words/0').state.ended)
  t.is(of.phase('words/0'), 'running')
})

test('a checkpoint of all subtasks restores to where it was taken', async t => {
  const of = new Subtasks(countingJob(40)).deploy()
  await of.pass()
  of.run()
  await of.pass(5)
  of.trigger(1)
  await of.until('reports of 1', () => of.hasReported(1))
  const restore = of.manifest(1)
  // What happens after the barrier is not in the checkpoint, and is lost with the generation.
  await of.pass(50)
  for (const subtask of of.all.values()) subtask.dispose()
  const next = new Subtasks(countingJob(40), 2, of.world).deploy({ restore })
  await next.until('all ready', () => [...next.all.keys()].every(id => next.phase(id) === 'ready'))
  next.run()
  await next.until('the end of the words', () => next.get('words/0').state.ended)
  next.trigger(2, true)
  await next.until('reports of 2', () => next.hasReported(2))
  next.complete(2)
  await next.until('its output', () => next.get('out/0').state.committed === 2)
  t.deepEqual(faultsOf(40, of.world.published('OUT')), [])
})

test('P3: an epoch at or below the last one is not snapshotted again', async t => {
  const of = new Subtasks(countingJob(5)).deploy()
  await of.pass()
  of.run().trigger(3)
  await of.until('reports of 3', () => of.hasReported(3))
  of.trigger(3).trigger(2)
  await of.pass()
  t.deepEqual(
    of.get('words/0').state.reports.map(({ part }) => part.epoch),
    [3],
  )
})

test('reports are told until their checkpoint is settled', async t => {
  const of = new Subtasks(countingJob(5)).deploy()
  await of.pass()
  of.run().trigger(1)
  await of.until('reports of 1', () => of.hasReported(1))
  of.trigger(2)
  await of.until('reports of 2', () => of.hasReported(2))
  const epochs = () => of.get('counts/0').state.reports.map(({ part }) => part.epoch)
  t.deepEqual(epochs(), [1, 2])
  of.get('counts/0').abort(1)
  t.deepEqual(epochs(), [2])
  of.get('counts/0').complete(2)
  t.deepEqual(epochs(), [])
})

test('a store that does not take a snapshot is a decline, not a failure', async t => {
  const of = new Subtasks(countingJob(5)).deploy()
  await of.pass()
  of.world.hooks.onRequest = (_process, request) =>
    request === 'write counts/1 1' ? 'lost' : undefined
  of.run().trigger(1)
  await of.until('a decline', () => of.get('counts/1').state.declines.length > 0)
  t.is(of.phase('counts/1'), 'running')
  t.like(of.get('counts/1').state.declines[0], { epoch: 1 })
  of.trigger(2)
  await of.until('reports of 2', () => of.hasReported(2))
})

test('a newer checkpoint gives up the snapshot of the older one', async t => {
  const of = new Subtasks(countingJob(5)).deploy()
  await of.pass()
  of.world.hooks.onRequest = (_process, request) =>
    request === 'write words/0 1' ? 'lost' : undefined
  of.run().trigger(1)
  await of.pass(10)
  of.trigger(2)
  await of.pass(5_000)
  const { reports, declines } = of.get('words/0').state
  t.deepEqual([reports.map(({ part }) => part.epoch), declines], [[2], []])
})

test('where several may be in flight, one whose abort is late costs none of the others its snapshot', async t => {
  const of = new Subtasks(chained(() => {}, 'fail', [1, 2, 3], 2)).deploy()
  await of.pass()
  of.world.hooks.onRequest = (_process, request) =>
    request.startsWith('write ') ? 'lost' : undefined
  // The second has been aborted, and nothing was heard of that.
  of.run().trigger(1)
  await of.pass(10)
  of.trigger(2)
  await of.pass(10)
  of.trigger(3)
  await of.pass(10)
  const [subtask] = of.all.values()
  t.deepEqual(subtask?.state.declines, [])
  of.trigger(4)
  await of.pass(10)
  t.deepEqual(subtask?.state.declines, [{ epoch: 1, reason: 'checkpoint 4 left no room for it' }])
})

test('what a user’s function throws fails its own subtask and names the actor', async t => {
  const of = new Subtasks(
    chained(n => {
      if (n === 2) throw new TypeError('two is not allowed')
    }),
  ).deploy()
  await of.pass()
  of.run()
  await of.pass()
  t.like(of.get('numbers/0').state, {
    phase: 'failed',
    error: {
      type: 'user-code',
      message: "actor 'work' threw: two is not allowed.",
      fatal: false,
    },
  })
})

test('a subtask that failed is silent: no barrier, no snapshot, no output', async t => {
  const of = new Subtasks(
    chained((n, emit) => {
      emit(n)
      if (n === 3) throw new Error('three')
    }),
  ).deploy()
  await of.pass()
  of.run()
  await of.pass()
  t.is(of.phase('numbers/0'), 'failed')
  of.trigger(1).complete(1)
  of.get('numbers/0').abort(1)
  await of.pass(500)
  t.deepEqual(of.get('numbers/0').state.reports, [])
  t.deepEqual(of.world.published('OUT'), [])
})

test('a failure in one subtask leaves the others of the process alone', async t => {
  const of = new Subtasks(countingJob(20)).deploy()
  await of.pass()
  of.world.broker.remove('SLUICE_words_G1_counts_0')
  of.run()
  await of.until('a failure', () => of.phase('counts/0') === 'failed')
  t.is(of.phase('counts/1'), 'running')
})

test('a keyBy function that gives no key is named, on the side that writes', async t => {
  const work = actor({ name: 'work', accepts: number, emits: never, receive: () => undefined })
  for (const [keyOf, why] of [
    [
      () => {
        throw new Error('no key today')
      },
      /^the function given to keyBy before 'work' gave no key: no key today\. Make it return/,
    ],
    [() => Number.NaN, /gave no key: a key must be a string or a finite number, found NaN/],
  ] as const) {
    const keyed = job('keys').from(numbers(1)).keyBy(keyOf).to(work, { parallelism: 2 })
    const of = new Subtasks(keyed).deploy()
    await of.pass()
    of.run()
    await of.pass()
    t.is(of.phase('numbers/0'), 'failed')
    t.regex(of.error('numbers/0'), why)
  }
})

test('a key that changes between writer and reader is a stray, and is named', async t => {
  let calls = 0
  const of = new Subtasks(
    job('stray')
      .from(numbers(1))
      .keyBy(() => {
        calls += 1
        return calls === 1 ? 'k0' : 'k1'
      })
      .to(actor({ name: 'work', accepts: number, emits: never, receive: () => undefined }), {
        parallelism: 128,
      }),
  ).deploy()
  await of.pass()
  of.run()
  await of.until('a failure', () => [...of.all.keys()].some(id => of.phase(id) === 'failed'))
  const [id = ''] = [...of.all.keys()].filter(each => of.phase(each) === 'failed')
  t.regex(of.error(id), /the key "k1" of a record for 'work' belongs to another subtask/)
})

test('a sink that gets what JSON cannot hold is named, not the actor before it', async t => {
  for (const [value, why] of [
    [undefined, /sink 'out' got a undefined, which JSON cannot hold/],
    [1n, /sink 'out' got a record that JSON cannot hold: .*BigInt/],
  ] as const) {
    const of = new Subtasks(chained((_n, emit) => emit(value))).deploy()
    await of.pass()
    of.run()
    await of.pass()
    t.regex(of.error('numbers/0'), why)
  }
})

test('records of a lenient actor that fail become dead letters, with what JSON cannot hold', async t => {
  const fails = (record: unknown): void => {
    if (record !== 1) throw new Error('not one')
  }
  const of = new Subtasks(chained(fails, 'dead-letter', [1, 2, 1n])).deploy()
  await of.pass()
  of.run()
  await of.pass()
  of.trigger(1)
  await of.until('reports of 1', () => of.hasReported(1))
  of.complete(1)
  await of.until('dead letters', () => of.get('numbers/0').state.committed === 1)
  const letters = of.world.published('SLUICE_chained_DEAD')
  t.is(letters.length, 2)
  t.like(letters[0], {
    version: 1,
    job: 'chained',
    subtask: 'numbers/0',
    operator: 'work',
    reason: 'not one',
    record: 2,
    attempts: 1,
  })
  t.like(letters[1], { operator: 'work', encoding: 'v8' })
})

test('a sink whose records wait for too long fails with what to do', async t => {
  const of = new Subtasks(countingJob(200, { limits: { sinkPendingBytesMax: 100 } })).deploy()
  await of.pass()
  of.run()
  await of.until('a failure', () => of.phase('out/0') === 'failed')
  t.regex(of.error('out/0'), /sink 'out' holds more than 100 bytes.*sinkPendingBytesMax/)
})

test('a snapshot that is gone, or damaged, is a final failure', async t => {
  const of = new Subtasks(countingJob(5)).deploy()
  await of.pass()
  of.run().trigger(1)
  await of.until('reports of 1', () => of.hasReported(1))
  const restore = of.manifest(1)
  const damaged = { ...restore, parts: restore.parts.map(part => ({ ...part, digest: 'x' })) }
  const gone = { ...restore, parts: restore.parts.map(part => ({ ...part, epoch: 99 })) }
  for (const [manifest, type] of [
    [damaged, 'corrupt'],
    [gone, 'missing'],
  ] as const) {
    const next = new Subtasks(countingJob(5), 2, new JobWorld({ job: countingJob(5) }))
    for (const key of of.world.redis.parts.keys()) {
      const part = of.world.redis.parts.get(key)
      if (part !== undefined) next.world.redis.parts.set(key, part)
    }
    next.deploy({ restore: manifest })
    await next.pass()
    t.like(next.get('counts/0').state, { phase: 'failed', error: { type, fatal: true } })
  }
})

test('a store that does not answer while restoring is a failure that heals', async t => {
  const of = new Subtasks(countingJob(5)).deploy()
  await of.pass()
  of.run().trigger(1)
  await of.until('reports of 1', () => of.hasReported(1))
  const restore = of.manifest(1)
  const next = new Subtasks(countingJob(5), 2, of.world)
  next.world.hooks.onRequest = (_process, request) =>
    request.startsWith('read counts') ? 'lost' : undefined
  next.deploy({ restore })
  await next.pass(5_000)
  t.like(next.get('counts/0').state, {
    phase: 'failed',
    error: { type: 'timed-out', fatal: false },
  })
})

test('a subtask with output is ready only when its predecessor’s output is known', async t => {
  const of = new Subtasks(countingJob(5))
  of.world.hooks.onRequest = (_process, request) => (request === 'last out' ? 'lost' : undefined)
  of.deploy()
  await of.pass(100)
  t.is(of.phase('counts/0'), 'ready')
  t.is(of.phase('out/0'), 'restoring')
  of.world.hooks.onRequest = () => undefined
  await of.until('out/0 restored', () => of.phase('out/0') !== 'restoring')
  t.is(of.phase('out/0'), 'ready')
})

test('a subtask that was disposed while it restored stays so', async t => {
  const of = new Subtasks(countingJob(5)).deploy()
  for (const subtask of of.all.values()) subtask.dispose()
  await of.pass(500)
  for (const id of of.all.keys()) t.not(of.phase(id), 'ready')
})

test('a quiescing subtask reads no more, and is quiet once its output is published', async t => {
  const of = new Subtasks(countingJob(5)).deploy()
  await of.pass()
  of.run()
  await of.pass()
  of.trigger(1)
  await of.until('reports of 1', () => of.hasReported(1))
  of.complete(1)
  const sink = of.get('out/0')
  t.false(sink.quiesce())
  await of.until('quiet', () => sink.quiesce())
  t.deepEqual(faultsOf(5, of.world.published('OUT')), [])
})
