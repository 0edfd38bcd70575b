/** Whole jobs in virtual time, on servers and streams that people and limits have been at. */
import test from 'ava'
import * as t from 'io-ts'
import { actor, jetstream, job, type SourceEnd, type SourceStart } from '../../lib/index.js'
import { countingJob, faultsOf } from '../support/counting-job.js'
import { JobWorld } from '../support/memory-job.js'

const Item = t.type({ n: t.number })

interface Reading {
  readonly subject?: string
  readonly start?: SourceStart
  readonly end?: SourceEnd
}

/** Copies the stream `IN`, to `out` or, in parallel, to `out.0`, `out.1` … */
const copying = (
  reading: Reading,
  sinks: { readonly stream?: string; readonly count?: number } = {},
) => {
  const { stream, count = 1 } = sinks
  const sink = jetstream.sink({ id: 'copy', subject: 'out', ...(stream ? { stream } : {}) })
  return job('copying')
    .from(jetstream.source({ id: 'in', stream: 'IN', accepts: Item, ...reading }))
    .into(sink, { parallelism: count })
    .checkpoint({ intervalMs: 20, timeoutMs: 5_000 })
}

const worldWith = (of: ReturnType<typeof copying>, items: number): JobWorld => {
  const world = new JobWorld({ job: of })
  world.broker.create({ name: 'IN', subjects: ['in.>'], storage: 'file' })
  put(world, 0, items)
  return world
}

const put = (world: JobWorld, from: number, to: number): void => {
  for (let n = from; n < to; n += 1) world.broker.put('in.a', JSON.stringify({ n }))
}

const streamOf = (world: JobWorld, name: string) => {
  const stream = world.broker.streams.get(name)
  if (stream === undefined) throw new Error(`no stream ${name}`)
  return stream
}

const finished = { status: 'finished', reason: undefined } as const

test('a bounded source ends where its last message is of another subject', async t => {
  const world = worldWith(copying({ subject: 'in.a', end: { at: 'last' } }), 5)
  world.broker.put('in.b', '{}')
  world.start()
  t.deepEqual(await world.untilEnded(), finished)
  t.is(world.published('COPY').length, 5)
})

test('a bounded source ends where its last message was removed', async t => {
  const world = worldWith(copying({ end: { at: 'sequence', sequence: 5 } }), 5)
  streamOf(world, 'IN').delete(5)
  world.start()
  t.deepEqual(await world.untilEnded(), finished)
  t.is(world.published('COPY').length, 4)
})

test('messages that were removed one by one are no gap', async t => {
  const world = worldWith(copying({ end: { at: 'last' } }), 9)
  for (const sequence of [3, 4, 8]) streamOf(world, 'IN').delete(sequence)
  world.start()
  t.deepEqual(await world.untilEnded(), finished)
  t.is(world.published('COPY').length, 6)
})

test('a job that began at the end of an emptied stream can be restarted', async t => {
  const world = worldWith(
    copying({ start: { at: 'last' }, end: { at: 'sequence', sequence: 7 } }),
    5,
  )
  streamOf(world, 'IN').purge(6)
  world.start()
  const completed = () => world.notes.filter(note => note.type === 'checkpoint-completed').length
  await world.time.run('a checkpoint', () => completed() > 0, 60_000)
  world.kill('in/0')
  await world.time.run('another', () => completed() > 3, 60_000)
  put(world, 5, 7)
  t.deepEqual(await world.untilEnded(), finished, world.told.join('\n'))
  t.is(world.published('COPY').length, 2)
})

test('a source never skips what its stream cut off before it was read', async t => {
  const world = worldWith(copying({}), 5)
  world.start()
  await world.time.run('output', () => world.published('COPY').length === 5, 60_000)
  put(world, 5, 20)
  streamOf(world, 'IN').purge(18)
  const { status, reason } = await world.untilEnded()
  t.is(status, 'failed')
  t.regex(reason ?? '', /begins at 18, but .* messages were removed before they were processed/)
  t.is(world.published('COPY').length, 5)
})

test('parallel sinks share the stream that the user named', async t => {
  const world = worldWith(copying({ end: { at: 'last' } }, { stream: 'OUT', count: 3 }), 30)
  world.start()
  t.deepEqual(await world.untilEnded(), finished, world.told.join('\n'))
  const numbers = world.published('OUT').map(value => (Item.is(value) ? value.n : -1))
  t.deepEqual(
    numbers.sort((a, b) => a - b),
    Array.from({ length: 30 }, (_, n) => n),
  )
})

test('a commit whose answer is lost is recognized when it is repeated', async t => {
  const world = new JobWorld({ job: countingJob(40) })
  let commits = 0
  world.hooks.onRequest = (_process, request) => {
    if (!request.startsWith('commit')) return undefined
    commits += 1
    return commits % 3 === 0 ? undefined : 'unanswered'
  }
  world.start()
  t.deepEqual(await world.untilEnded(), finished)
  t.deepEqual(faultsOf(40, world.published('OUT')), [])
  t.true(commits >= 3)
  t.false(
    world.notes.some(note => note.type === 'checkpoint-aborted'),
    world.told.join('\n'),
  )
})

test('a job that its store has forgotten fails, and says so', async t => {
  const world = worldWith(copying({}), 5)
  world.start()
  await world.time.run('output', () => world.published('COPY').length === 5, 60_000)
  for (const key of world.redis.metas.keys()) world.redis.metas.delete(key)
  const { status, reason } = await world.untilEnded()
  t.is(status, 'failed')
  t.regex(reason ?? '', /lost/)
})

/** Records of `letters`, of which number 3 is too large for a message. */
const swelling = (policy: 'fail' | 'dead-letter') =>
  actor({
    name: 'swell',
    accepts: Item,
    emits: t.unknown,
    onError: policy,
    receive: (ctx, { n }) => {
      if (policy === 'dead-letter' && n === 3) throw new Error('x'.repeat(2 * 1024 * 1024))
      ctx.emit({ n, pad: 'x'.repeat(n === 3 ? 1024 * 1024 - 20 : 1) })
    },
  })

const swellingJob = (policy: 'fail' | 'dead-letter') =>
  job('swelling')
    .from(jetstream.source({ id: 'in', stream: 'IN', accepts: Item, end: { at: 'last' } }))
    .to(swelling(policy))
    .into(jetstream.sink({ id: 'copy', subject: 'out' }))
    .checkpoint({ intervalMs: 20, timeoutMs: 5_000 })

test('a record that no message can hold fails before a checkpoint holds it', async t => {
  const world = worldWith(swellingJob('fail'), 5)
  world.start()
  const told = () => world.told.some(line => /got a record of \d+ bytes/.test(line))
  await world.time.run('the reason', told, 60_000)
  t.true(told())
})

test('a dead letter that no message can hold is kept without what makes it large', async t => {
  const world = worldWith(swellingJob('dead-letter'), 5)
  world.start()
  t.deepEqual(await world.untilEnded(), finished, world.told.join('\n'))
  t.is(world.published('COPY').length, 4)
  t.is(world.published('SLUICE_swelling_DEAD').length, 1)
})
