/** Copies of snapshots on a disk that outlives the processes, in whole jobs and step by step. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { Copies } from '../../actors/copies.js'
import { partDigest } from '../../lib/adapters/digest.js'
import type { StreamError } from '../../lib/errors.js'
import type { RestoredFrom } from '../../lib/protocol/coordinator.js'
import type { Manifest, PartRef } from '../../lib/protocol/manifest.js'
import { MemoryDisk } from '../support/memory-disk.js'
import { JobWorld } from '../support/memory-job.js'
import { MemoryProcess, memoryScheduler, VirtualTime } from '../support/memory-time.js'
import {
  anySource,
  completedEpochs,
  feed,
  mergingJob,
  nothingWrong,
  streamSource,
  verdictOf,
} from '../support/merging-job.js'

const records = { left: 120, right: 120 }

/** A world whose processes share one disk, and what of it was read from the store. */
const worldWithDisk = (incremental = false, inlineThresholdBytes = 0) => {
  const job = mergingJob({
    left: anySource(streamSource('left', records.left)),
    right: anySource(streamSource('right', records.right)),
    checkpoint: { intervalMs: 50, localRecovery: true, incremental, inlineThresholdBytes },
  })
  const world = new JobWorld({ job })
  const disk = new MemoryDisk(world.time)
  world.disk = disk
  const reads: string[] = []
  world.hooks.onRequest = (_process, request) => {
    const [verb, subtask = ''] = request.split(' ')
    if (verb === 'read' && /^(left|right|counts)\/0$/.test(subtask)) reads.push(subtask)
    return undefined
  }
  feed(world, 'left', records.left, 4)
  feed(world, 'right', records.right, 4)
  const completed = (epoch: number) =>
    world.time.run(`checkpoint ${epoch}`, () => completedEpochs(world).includes(epoch))
  return { world, disk, reads, completed }
}

const restoredOf = ({ notes }: JobWorld): RestoredFrom | undefined =>
  notes.flatMap(note => (note.type === 'running' && note.generation === 2 ? [note] : []))[0]
    ?.restored

const troublesOf = ({ told }: JobWorld): readonly string[] =>
  told.filter(line => /ENOSPC|damaged|answered/.test(line))

test('what lies in the manifest is restored from there, and has no copy on disk', async t => {
  const { world, disk, completed } = worldWithDisk(false, 16_384)
  world.start()
  await completed(3)
  t.is(disk.files.size, 0)
  world.kill('counts/0')
  await completed(5)
  t.deepEqual(restoredOf(world), { memory: 0, disk: 0, store: 0, manifest: 3 })
})

for (const incremental of [false, true]) {
  const what = incremental ? 'with all that its snapshot builds on' : 'its whole snapshot'
  test(`a process that was killed is restored from the disk, ${what}`, async t => {
    const { world, disk, reads, completed } = worldWithDisk(incremental)
    world.start()
    await completed(3)
    const isBased = [...disk.files.values()].some(({ part }) => 'bases' in part)
    t.is(isBased, incremental)
    world.kill('counts/0')
    t.is((await world.untilEnded()).status, 'finished')
    t.deepEqual(reads, [])
    t.deepEqual(restoredOf(world), { memory: 2, disk: 1, store: 0 })
    t.true(world.told.includes('generation 2 runs; restored: 2 from memory, 1 from disk'))
    t.deepEqual(verdictOf(world, records), nothingWrong)
  })
}

test('all processes may be killed: none asks the store', async t => {
  const { world, reads, completed } = worldWithDisk()
  world.start()
  await completed(3)
  for (const role of ['left/0', 'right/0', 'counts/0', 'coordinator']) world.kill(role)
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(reads, [])
  t.deepEqual(restoredOf(world), { memory: 0, disk: 3, store: 0 })
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('a copy on disk that was damaged is told and removed, and its part comes from the store', async t => {
  const { world, disk, reads, completed } = worldWithDisk()
  world.start()
  await completed(3)
  let damaged = 0
  for (const [name, file] of disk.files) {
    if (file.part.subtask !== 'counts/0') continue
    disk.files.set(name, { ...file, chunks: file.chunks.map(chunk => chunk.map(byte => ~byte)) })
    damaged += 1
  }
  t.true(damaged > 0)
  const before = new Set(disk.files.keys())
  world.kill('counts/0')
  await world.time.run('the second generation', () => restoredOf(world) !== undefined)
  const left = [...disk.files].filter(
    ([name, { part }]) => part.subtask === 'counts/0' && before.has(name),
  )
  t.deepEqual(left, [])
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(reads, ['counts/0'])
  t.deepEqual(restoredOf(world), { memory: 2, disk: 0, store: 1 })
  t.is(troublesOf(world).length, 1)
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('a disk that is full fails no checkpoint, and is told once for each process', async t => {
  const { world, disk, reads, completed } = worldWithDisk()
  disk.fails = (_process, work) => work === 'write'
  world.start()
  await completed(5)
  t.is(troublesOf(world).length, 3)
  const { store } = world.connect('reader')
  const reading = store.history(world.plan.job)()
  let history: Awaited<typeof reading> | undefined
  void reading.then(read => {
    history = read
  })
  await world.time.run('the history', () => history !== undefined)
  const told = (history === undefined || E.isLeft(history) ? [] : history.right).flatMap(entry =>
    (entry.subtasks ?? []).filter(({ copyTrouble }) => copyTrouble === 'no write: ENOSPC'),
  )
  t.deepEqual(told.map(({ subtask }) => subtask).sort(), ['counts/0', 'left/0', 'right/0'])
  t.deepEqual([...disk.files], [])
  world.kill('counts/0')
  t.is((await world.untilEnded()).status, 'finished')
  t.false(world.notes.some(note => note.type === 'checkpoint-aborted'))
  t.deepEqual(reads, ['counts/0'])
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('a disk that does not answer holds up no checkpoint, and a restart for a bounded time', async t => {
  const { world, disk, reads, completed } = worldWithDisk()
  disk.latencyMs = () => 10 ** 9
  world.start()
  await completed(5)
  world.kill('counts/0')
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(reads, ['counts/0'])
  t.is(troublesOf(world).length, 1)
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('what is superseded goes, and with the end of the job everything', async t => {
  const { world, disk, completed } = worldWithDisk()
  world.start()
  for (const epoch of [2, 4, 6]) {
    await completed(epoch)
    // The newest completed one, and one that is pending or about to go, of each of three subtasks.
    t.true(disk.files.size > 0 && disk.files.size <= 6, `${disk.files.size} files at ${epoch}`)
  }
  t.is((await world.untilEnded()).status, 'finished')
  await world.time.pass(10_000)
  t.deepEqual([...disk.files.keys()], [])
})

test('a job that is canceled leaves no copies', async t => {
  const { world, disk, completed } = worldWithDisk()
  world.start()
  await completed(2)
  t.true(disk.files.size > 0)
  await world.cancel()
  t.is((await world.untilEnded()).status, 'canceled')
  await world.time.pass(10_000)
  t.deepEqual([...disk.files.keys()], [])
})

// --- step by step -----------------------------------------------------------------------------

const machine = () => {
  const time = new VirtualTime()
  const disk = new MemoryDisk(time)
  const troubles: StreamError[] = []
  const worker = (name: string, pendingMax = 1): Copies => {
    const process = new MemoryProcess(name, time)
    return new Copies({
      job: 'job',
      pendingMax,
      digestOf: partDigest,
      folders: disk.of(process),
      scheduler: memoryScheduler(time, process),
      onTrouble: error => troubles.push(error),
    })
  }
  const epochs = (subtask: string): readonly number[] =>
    [...disk.files.values()]
      .filter(({ part }) => part.subtask === subtask)
      .map(({ part }) => part.epoch)
      .sort()
  /** Waits for an answer that needs time to go on. */
  const soon = async <A>(work: Promise<A>): Promise<A> => {
    let isDone = false
    void work.then(() => {
      isDone = true
    })
    await time.run('an answer', () => isDone)
    return work
  }
  return { time, disk, troubles, worker, epochs, soon }
}

const chunksOf = (text: string): readonly Uint8Array[] => [new TextEncoder().encode(text)]
const partOf = (subtask: string, epoch: number, generation = 1): PartRef => {
  const chunks = chunksOf(`${subtask} ${epoch}`)
  const bytes = chunks[0]?.byteLength ?? 0
  return { subtask, epoch, generation, digest: partDigest(chunks), chunks: 1, bytes }
}
const keep = (copies: Copies, subtask: string, epoch: number, generation = 1): void =>
  copies.keep(partOf(subtask, epoch, generation), chunksOf(`${subtask} ${epoch}`))
const manifestOf = (epoch: number, parts: readonly PartRef[], jobId = 'life-1'): Manifest => ({
  ...{ version: 1, job: 'job', jobId, epoch, generation: 1, maxParallelism: 8, graph: 'g' },
  ...{ triggeredAt: 0, completedAt: 0, parts, final: false },
})

test('a subtask that moves to another worker of the machine finds its copy there', async t => {
  const { time, worker, epochs, soon } = machine()
  const [a, b] = [worker('a'), worker('b')]
  a.begin('life-1', 1, ['x/0'], undefined)
  keep(a, 'x/0', 1)
  await time.pass(100)
  a.completed(1)
  const restore = manifestOf(1, [partOf('x/0', 1)])
  a.begin('life-1', 2, [], restore)
  b.begin('life-1', 2, ['x/0'], restore)
  t.is((await soon(b.find(partOf('x/0', 1))))?.place, 'disk')
  keep(b, 'x/0', 2, 2)
  await time.pass(100)
  a.completed(2)
  await time.pass(100)
  t.deepEqual(epochs('x/0'), [1, 2], 'what another worker runs is not this one’s to remove')
  b.completed(2)
  await time.pass(100)
  t.deepEqual(epochs('x/0'), [2])
})

test('what was written for a checkpoint that did not complete goes with the next generation', async t => {
  const { time, worker, epochs, soon } = machine()
  const before = worker('before', 2)
  before.begin('life-1', 1, ['x/0'], undefined)
  for (const epoch of [1, 2]) keep(before, 'x/0', epoch)
  await time.pass(100)
  t.deepEqual(epochs('x/0'), [1, 2])
  const after = worker('after', 2)
  after.begin('life-1', 2, ['x/0'], manifestOf(1, [partOf('x/0', 1)]))
  await time.pass(100)
  t.deepEqual(epochs('x/0'), [1])
  t.deepEqual((await soon(after.find(partOf('x/0', 1))))?.chunks.map(Buffer.from), [
    Buffer.from('x/0 1'),
  ])
})

test('a job that was started afresh neither uses nor keeps the copies of its life before', async t => {
  const { time, disk, worker, soon } = machine()
  const copies = worker('a')
  copies.begin('life-1', 1, ['x/0'], undefined)
  keep(copies, 'x/0', 1)
  await time.pass(100)
  copies.begin('life-2', 1, ['x/0'], undefined)
  // The same id, of the other life.
  t.is(await soon(copies.find(partOf('x/0', 1))), undefined)
  keep(copies, 'x/0', 1)
  await time.pass(100)
  t.deepEqual(
    [...disk.files.values()].map(({ life }) => life.jobId),
    ['life-2'],
  )
})

test('a disk that is slower than the checkpoints skips some of them', async t => {
  const { time, disk, worker, epochs } = machine()
  disk.latencyMs = () => 100
  const copies = worker('a')
  copies.begin('life-1', 1, ['x/0'], undefined)
  for (let epoch = 1; epoch <= 50; epoch += 1) {
    keep(copies, 'x/0', epoch)
    await time.pass(10)
    copies.completed(epoch)
  }
  await time.pass(1_000)
  t.deepEqual(epochs('x/0'), [50])
  const written = disk.works.filter(work => work.startsWith('write'))
  t.true(written.length < 10, written.join(', '))
})

test('a job that is over leaves nothing, whatever was being written', async t => {
  const { time, disk, troubles, worker, soon } = machine()
  const copies = worker('a')
  copies.begin('life-1', 1, ['x/0'], undefined)
  await time.pass(100)
  disk.latencyMs = () => 50
  keep(copies, 'x/0', 1)
  await soon(copies.end('life-1'))
  await time.pass(1_000)
  t.deepEqual([...disk.files], [])
  t.deepEqual(troubles, [])
})
