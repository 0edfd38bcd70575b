/** What the memory of a coordinator holds, and what it refuses. */
import { randomBytes } from 'node:crypto'
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { coordinatorMemory } from '../../../lib/adapters/memory/coordinator-memory.js'
import {
  decodePart,
  encodePart,
  pieceBytesMax,
  type Question,
  Reply,
} from '../../../lib/adapters/memory/parts-protocol.js'
import { remoteSnapshotStore } from '../../../lib/adapters/memory/remote-snapshot-store.js'
import { streamError } from '../../../lib/errors.js'
import type { Ask } from '../../../lib/ports/requests.js'
import {
  begin,
  commitOptions,
  complete,
  left,
  manifestOf,
  partOf,
  randomChunks,
  right,
} from '../../contract/snapshots.js'

const job = 'job'
const stateBytesMax = 2_000_000
const ttlMs = 60_000

const open = (
  asked: (question: Uint8Array) => void = () => {},
  more: { readonly maxConcurrent?: number; readonly incremental?: boolean } = {},
) => {
  const clock = { now: 0 }
  const memory = coordinatorMemory({
    ...{ stateBytesMax, maxConcurrent: 1, incremental: false, now: () => clock.now },
    ...more,
  })
  const ask: Ask = question => async () => {
    asked(question)
    return E.right(await memory.answer(question))
  }
  const snapshots = remoteSnapshotStore(ask, stateBytesMax)
  const stores = { jobs: memory.store, snapshots, elapse: async () => {} }
  const tell = async (question: Question, bytes?: Uint8Array) => {
    const answered = decodePart(Reply, await memory.answer(encodePart(question, bytes)))
    if (E.isLeft(answered)) throw new Error(answered.left.message)
    return answered.right.facts
  }
  return { clock, memory, ask, snapshots, stores, tell }
}

test('MR1: a state above the limit is refused, naming subtask, bytes, limit and a way out', async t => {
  const questions: Uint8Array[] = []
  const { snapshots, memory, tell } = open(question => questions.push(question))
  const chunks = [randomBytes(1_000_000), randomBytes(1_000_000), randomBytes(1)]
  const part = partOf('delays/3', 7, 1, chunks)
  const { message, next } = await left(t, 'full', snapshots.write(job, part, chunks, ttlMs))
  t.regex(
    message,
    /"delays\/3" at checkpoint 7 of the job "job" has 2000001 bytes, .* 'memory' takes 2000000/,
  )
  t.regex(next ?? '', /stateBytesMax.*'fs' or 'redis'/)
  t.deepEqual(questions, [])
  // A worker that was told of no limit hears it from the coordinator.
  const sizes = chunks.map(chunk => chunk.byteLength)
  t.like(await tell({ type: 'open', job, part, sizes, ttlMs }), { type: 'failed', kind: 'full' })
  t.is(memory.heldBytes(), 0)
  const exactly = [randomBytes(1_000_000), randomBytes(1_000_000)]
  await right(t, snapshots.write(job, partOf('delays/3', 7, 1, exactly), exactly, ttlMs))
})

test('no message is larger than what a server takes by default', async t => {
  const largest = { bytes: 0 }
  const { snapshots } = open(question => {
    largest.bytes = Math.max(largest.bytes, question.byteLength)
  })
  const chunks = [randomBytes(1_048_576), randomBytes(900_000)]
  const part = partOf('delays/0', 1, 1, chunks)
  // What it builds on may lie in manifests.
  const base = randomChunks(1, 384 * 1024)
  const inline = base.map(chunk => Buffer.from(chunk).toString('base64'))
  const bases = [{ ...partOf('delays/0', 0, 1, base), inline }]
  await right(t, snapshots.write(job, { ...part, bases }, chunks, ttlMs))
  t.true(largest.bytes > pieceBytesMax && largest.bytes < 1_000_000, `${largest.bytes}`)
  const read = await right(t, snapshots.read(job, part))
  t.true(Buffer.concat(read).equals(Buffer.concat(chunks)))
})

test('MP1: of a subtask that completes nothing, two parts are held', async t => {
  const { snapshots, memory } = open()
  for (let epoch = 1; epoch <= 20; epoch += 1) {
    const chunks = randomChunks(1, 1_000)
    await right(t, snapshots.write(job, partOf('delays/0', epoch, 1, chunks), chunks, ttlMs))
    t.true(memory.heldBytes() <= 2_000)
  }
})

test('MC1: only the parts of kept checkpoints are held, and the newest stays under any load', async t => {
  const { stores, memory, clock } = open()
  const { claim, generation } = await begin(t, stores, job)
  const first = await complete(t, stores, claim, generation)
  const one = memory.heldBytes()
  for (let n = 0; n < 5; n += 1) {
    await complete(t, stores, claim, generation)
    t.is(memory.heldBytes(), one)
  }
  for (const part of first.parts) await left(t, 'missing', stores.snapshots.read(job, part))
  const latest = (await right(t, stores.jobs.describe(job)))?.latest
  for (let epoch = 100; epoch < 110; epoch += 1) {
    const chunks = randomChunks(1, 10)
    await right(t, stores.snapshots.write(job, partOf('delays/0', epoch, 1, chunks), chunks, ttlMs))
  }
  clock.now += 10 * ttlMs
  for (const part of latest?.parts ?? []) await right(t, stores.snapshots.read(job, part))
  t.is(latest?.parts.length, 2)
  t.is(memory.heldBytes(), one)
})

test('MP2: bytes that do not match their digest, or are not all there, are not stored', async t => {
  const { tell, memory } = open()
  const chunks = [randomBytes(100)]
  const part = partOf('delays/0', 1, 1, chunks)
  const opening: Question = { type: 'open', job, part, sizes: [100], ttlMs }
  t.is((await tell(opening)).type, 'done')
  t.like(await tell({ type: 'close', job, part }), { type: 'failed', kind: 'invalid' })
  t.is((await tell({ type: 'piece', job, part, at: 0 }, randomBytes(100))).type, 'done')
  t.like(await tell({ type: 'close', job, part }), { type: 'failed', kind: 'invalid' })
  for (const at of [-1, 1, 0.5, pieceBytesMax])
    t.is((await tell({ type: 'piece', job, part, at }, randomBytes(100))).type, 'failed')
  t.is(memory.heldBytes(), 0)
  t.is((await tell({ type: 'piece', job, part, at: 0 }, chunks[0])).type, 'done')
  t.is((await tell({ type: 'close', job, part })).type, 'done')
  t.is(memory.heldBytes(), 100)
})

test('MP3: every question may be asked twice', async t => {
  const { memory } = open()
  const twice: Ask = question => async () => {
    await memory.answer(question)
    return E.right(await memory.answer(question))
  }
  const snapshots = remoteSnapshotStore(twice, stateBytesMax)
  const chunks = [randomBytes(700_000), randomBytes(10)]
  const part = partOf('delays/0', 1, 1, chunks)
  await right(t, snapshots.write(job, part, chunks, ttlMs))
  t.deepEqual((await right(t, snapshots.read(job, part))).map(Buffer.from), chunks)
})

test('MR2: a part that was damaged on its way is not taken for what it was', async t => {
  const { memory, snapshots, ask } = open()
  const chunks = randomChunks()
  const part = partOf('delays/0', 1, 1, chunks)
  await right(t, snapshots.write(job, part, chunks, ttlMs))
  const damaged: Ask = question => async () => {
    const answered = Buffer.from(await memory.answer(question))
    const last = answered.length - 1
    if (answered.includes('"bytes"')) answered[last] = (answered.at(-1) ?? 0) ^ 1
    return E.right(answered)
  }
  await left(t, 'corrupt', remoteSnapshotStore(damaged, stateBytesMax).read(job, part))
  await right(t, remoteSnapshotStore(ask, stateBytesMax).read(job, part))
})

test('where no coordinator answers, a worker is told which one should', async t => {
  const nobody: Ask = () => async () => E.left(streamError('missing', 'nobody listens'))
  const snapshots = remoteSnapshotStore(nobody, stateBytesMax)
  const { message, next } = await left(
    t,
    'unavailable',
    snapshots.read(job, partOf('delays/0', 1, 1, [])),
  )
  t.regex(message, /no coordinator of the job "job" holds snapshots/)
  t.regex(next ?? '', /same state backend/)
})

test('a message that is none is answered, and changes nothing', async t => {
  const { memory } = open()
  for (const text of ['', '\n', '{}\n', 'else', '{"type":"open"}\n']) {
    const reply = decodePart(Reply, await memory.answer(Buffer.from(text)))
    t.like(reply, { right: { facts: { type: 'failed' } } })
  }
  t.is(memory.heldBytes(), 0)
})

test('P5: a commit of parts that are not held is refused', async t => {
  const { stores } = open()
  const { claim, generation } = await begin(t, stores, job)
  const epoch = await right(t, stores.jobs.allocate(claim, generation))
  const part = partOf('delays/0', epoch, generation, randomChunks())
  const manifest = manifestOf(claim, epoch, generation, [part])
  t.deepEqual(
    await right(t, stores.jobs.commit(claim, manifest, commitOptions(epoch, generation))),
    { type: 'parts-missing', subtasks: ['delays/0'] },
  )
})

test('MP1: parts that have expired make room before those that have not', async t => {
  const { snapshots, clock } = open()
  const chunks = [1, 2, 3].map(() => randomChunks(1, 1_000))
  const parts = chunks.map((each, index) => partOf('delays/0', index + 1, 1, each))
  const write = (index: number, forMs: number) => {
    const part = parts[index]
    if (part === undefined) throw new Error('no such part')
    return right(t, snapshots.write(job, part, chunks[index] ?? [], forMs))
  }
  await write(0, ttlMs)
  await write(1, 10)
  clock.now += 20
  await write(2, ttlMs)
  const read = async (part = parts[0]) =>
    part === undefined ? [] : right(t, snapshots.read(job, part))
  t.deepEqual((await read()).map(Buffer.from), chunks[0])
  t.deepEqual((await read(parts[2])).map(Buffer.from), chunks[2])
})

test('MC2: what an attempt in flight builds on outlives the checkpoint that had it, and no more than that', async t => {
  const { stores, memory } = open(() => {}, { maxConcurrent: 2, incremental: true })
  const { claim, generation } = await begin(t, stores, job)
  const { jobs, snapshots } = stores
  const chunks = [1, 2, 3, 4, 5].map(() => randomChunks(1, 1_000))
  const whole = (index: number) => partOf('delays/0', index + 1, generation, chunks[index] ?? [])
  const write = async (part: ReturnType<typeof whole>) => {
    await right(t, snapshots.write(job, part, chunks[part.epoch - 1] ?? [], ttlMs))
    return part
  }
  const commit = (part: ReturnType<typeof whole>) => {
    const manifest = manifestOf(claim, part.epoch, generation, [part])
    return right(t, jobs.commit(claim, manifest, commitOptions(part.epoch, generation, ttlMs)))
  }
  for (const _ of chunks) await right(t, jobs.allocate(claim, generation))
  const first = await write(whole(0))
  t.is((await commit(first)).type, 'committed')
  // Two in flight: the older one is whole, and the newer one builds on what the older one supersedes.
  const second = await write(whole(1))
  const third = await write({ ...whole(2), bases: [first] })
  t.is((await commit(second)).type, 'committed')
  const fourth = await write(whole(3))
  t.is((await commit(third)).type, 'committed')
  t.is((await commit(fourth)).type, 'committed')
  const fifth = await write(whole(4))
  t.is((await commit(fifth)).type, 'committed')
  await left(t, 'missing', snapshots.read(job, second))
  t.true(memory.heldBytes() <= 4_000)
})
