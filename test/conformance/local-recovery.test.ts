/** Local recovery: a worker that lives on restores from its own copy first, and from the store otherwise. */
import test from 'ava'
import { partDigest } from '../../lib/adapters/digest.js'
import type { RestoredFrom } from '../../lib/protocol/coordinator.js'
import type { PartRef } from '../../lib/protocol/manifest.js'
import { LocalCopies } from '../../lib/state/local-copies.js'
import { exitOf, pidOf, startCli, untilNoted } from '../support/cli.js'
import {
  assertCounted,
  jobFile,
  numbers,
  openNats,
  publish,
  streamOf,
  uniqueName,
} from '../support/jobs.js'
import { type Connection, JobWorld } from '../support/memory-job.js'
import {
  anySource,
  completedEpochs,
  feed,
  generations,
  mergingJob,
  nothingWrong,
  streamSource,
  verdictOf,
} from '../support/merging-job.js'
import { sharedServers } from '../support/servers.js'

const records = { left: 120, right: 120 }

/** A world; `throwNow` lets the counting actor throw once, upon which every process lives on. */
const recovering = (localRecovery: boolean, incremental = false) => {
  let throws = false
  const job = mergingJob({
    left: anySource(streamSource('left', records.left)),
    right: anySource(streamSource('right', records.right)),
    checkpoint: { intervalMs: 50, localRecovery, incremental },
    onRecord: () => {
      if (!throws) return
      throws = false
      throw new Error('once')
    },
  })
  const world = new JobWorld({ job })
  const reads: string[] = []
  world.hooks.onRequest = (_process, request) => {
    const [verb, subtask = ''] = request.split(' ')
    if (verb === 'read' && /^(left|right|counts)\/0$/.test(subtask)) reads.push(subtask)
    return undefined
  }
  /** The very chunks that a subtask gave to the store, by epoch. */
  const written = new Map<string, readonly Uint8Array[]>()
  const connect = world.connect.bind(world)
  world.connect = (name): Connection => {
    const ports = connect(name)
    const { snapshots } = ports
    return {
      ...ports,
      snapshots: {
        ...snapshots,
        write: (of, part, chunks, ttlMs) => {
          written.set(`${part.subtask} ${part.epoch}`, chunks)
          return snapshots.write(of, part, chunks, ttlMs)
        },
      },
    }
  }
  feed(world, 'left', records.left, 4)
  feed(world, 'right', records.right, 4)
  const checkpointed = () =>
    world.time.run('checkpoint 3', () => completedEpochs(world).includes(3))
  const throwNow = (): void => {
    throws = true
  }
  return { world, reads, written, checkpointed, throwNow }
}

/** What the second generation said of where it was restored from. */
const restoredOf = ({ notes }: JobWorld): RestoredFrom | undefined =>
  notes.flatMap(note => (note.type === 'running' && note.generation === 2 ? [note] : []))[0]
    ?.restored

test('workers that live on restore without the store: one that fails every read is no harm', async t => {
  const { world, reads, checkpointed, throwNow } = recovering(true)
  world.start()
  await checkpointed()
  const { onRequest } = world.hooks
  world.hooks.onRequest = (process, request) => {
    onRequest?.(process, request)
    return /^read (left|right|counts)\/0 /.test(request) ? 'lost' : undefined
  }
  throwNow()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(generations(world), [1, 2])
  t.deepEqual(reads, [])
  t.deepEqual(restoredOf(world), { memory: 3, disk: 0, store: 0 })
  t.true(world.told.includes('generation 2 runs; restored: 3 from memory'))
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('without local recovery every part is read from the store', async t => {
  const { world, reads, checkpointed, throwNow } = recovering(false)
  world.start()
  await checkpointed()
  throwNow()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual([...reads].sort(), ['counts/0', 'left/0', 'right/0'])
  t.is(restoredOf(world), undefined)
  t.true(world.told.includes('generation 2 runs'))
})

test('a worker that was killed reads its part from the store, the others their copies', async t => {
  const { world, reads, checkpointed } = recovering(true)
  world.start()
  await checkpointed()
  world.kill('left/0')
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(reads, ['left/0'])
  t.deepEqual(restoredOf(world), { memory: 2, disk: 0, store: 1 })
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('a copy that was damaged is not used: its part comes from the store', async t => {
  const { world, reads, written, checkpointed, throwNow } = recovering(true)
  world.start()
  await checkpointed()
  throwNow()
  await world.time.run('the failure', () => world.notes.some(note => note.type === 'failed'))
  let damaged = 0
  for (const [name, chunks] of written) {
    const last = chunks[0]?.at(-1)
    if (!name.startsWith('counts/0') || last === undefined) continue
    chunks[0]?.set([last ^ 1], chunks[0].length - 1)
    damaged += 1
  }
  t.true(damaged > 0)
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(reads, ['counts/0'])
  t.deepEqual(restoredOf(world), { memory: 2, disk: 0, store: 1 })
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('snapshots of changes are restored from copies, with all that they build on', async t => {
  const { world, reads, written, checkpointed, throwNow } = recovering(true, true)
  let based = 0
  const connect = world.connect.bind(world)
  world.connect = (name): Connection => {
    const ports = connect(name)
    const { snapshots } = ports
    return {
      ...ports,
      snapshots: {
        ...snapshots,
        write: (of, part, chunks, ttlMs) => {
          if (part.bases !== undefined) based += 1
          return snapshots.write(of, part, chunks, ttlMs)
        },
      },
    }
  }
  world.start()
  await checkpointed()
  t.true(based > 0 && written.size > based)
  throwNow()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(generations(world), [1, 2])
  t.deepEqual(reads, [])
  t.deepEqual(restoredOf(world), { memory: 3, disk: 0, store: 0 })
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('copies serve one restore after the other', async t => {
  const { world, reads, checkpointed, throwNow } = recovering(true)
  world.start()
  await checkpointed()
  throwNow()
  await world.time.run('the second generation', () => generations(world).includes(2))
  throwNow()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(generations(world), [1, 2, 3])
  t.deepEqual(reads, [])
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

const chunksOf = (text: string): readonly Uint8Array[] => [new TextEncoder().encode(text)]

const partOf = (subtask: string, epoch: number, generation = 1): PartRef => {
  const chunks = chunksOf(`${subtask} ${epoch}`)
  const bytes = chunks[0]?.byteLength ?? 0
  return { subtask, epoch, generation, digest: partDigest(chunks), chunks: 1, bytes }
}

const kept = (copies: LocalCopies, subtask: string): readonly number[] =>
  [1, 2, 3, 4, 5, 6].filter(epoch => copies.find(partOf(subtask, epoch)) !== undefined)

const keep = (copies: LocalCopies, subtask: string, epoch: number, generation = 1): void =>
  copies.keep(partOf(subtask, epoch, generation), chunksOf(`${subtask} ${epoch}`))

test('LC2: only the newest completed snapshot and the pending ones are kept', t => {
  const copies = new LocalCopies(2, partDigest)
  copies.begin(1, 0)
  for (const epoch of [1, 2, 3]) keep(copies, 'a/0', epoch)
  t.deepEqual(kept(copies, 'a/0'), [2, 3], 'no more than may be pending')
  copies.completed(2)
  keep(copies, 'a/0', 4)
  keep(copies, 'a/0', 5)
  t.deepEqual(kept(copies, 'a/0'), [2, 4, 5])
  copies.aborted(4)
  t.deepEqual(kept(copies, 'a/0'), [2, 5])
  copies.aborted(2)
  t.deepEqual(kept(copies, 'a/0'), [2, 5], 'what has completed is not dropped by a late abort')
  copies.completed(5)
  copies.completed(3)
  t.deepEqual(kept(copies, 'a/0'), [5])
  t.is(copies.bytes, partOf('a/0', 5).bytes)
})

test('LC2, LC3: a new generation keeps what it restores, and nothing that an older one stores late', t => {
  const copies = new LocalCopies(3, partDigest)
  copies.begin(1, 0)
  for (const epoch of [1, 2, 3]) keep(copies, 'a/0', epoch)
  copies.begin(2, 2)
  t.deepEqual(kept(copies, 'a/0'), [2])
  keep(copies, 'a/0', 4, 1)
  t.deepEqual(kept(copies, 'a/0'), [2])
  keep(copies, 'a/0', 4, 2)
  t.deepEqual(kept(copies, 'a/0'), [2, 4])
  copies.begin(3, 0)
  t.is(copies.bytes, 0)
})

test('LC2: what a snapshot of changes builds on is kept with it, and no longer', t => {
  const copies = new LocalCopies(1, partDigest)
  copies.begin(1, 0)
  const keepChanges = (epoch: number, bases: readonly number[]): void =>
    copies.keep(
      { ...partOf('a/0', epoch), bases: bases.map(base => partOf('a/0', base)) },
      chunksOf(`a/0 ${epoch}`),
    )
  keep(copies, 'a/0', 1)
  copies.completed(1)
  keepChanges(2, [1])
  copies.completed(2)
  keepChanges(3, [1, 2])
  t.deepEqual(kept(copies, 'a/0'), [1, 2, 3])
  copies.completed(3)
  keep(copies, 'a/0', 4)
  t.deepEqual(kept(copies, 'a/0'), [1, 2, 3, 4])
  copies.begin(2, 3)
  t.deepEqual(kept(copies, 'a/0'), [1, 2, 3], 'the whole chain may be restored once more')
  keep(copies, 'a/0', 5, 2)
  copies.completed(5)
  t.deepEqual(kept(copies, 'a/0'), [5])
})

test('LC1: a copy whose bytes do not match the digest is dropped', t => {
  const copies = new LocalCopies(1, partDigest)
  copies.begin(1, 0)
  copies.keep(partOf('a/0', 1), chunksOf('something else'))
  t.is(copies.find(partOf('a/0', 1)), undefined)
  t.is(copies.bytes, 0)
})

test('on real servers: after a kill the processes that live on restore from their copies', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const all = numbers(400)
  const settings = {
    JOB: uniqueName('local'),
    IN: uniqueName('IN'),
    OUT: uniqueName('OUT'),
    SUBJECT: uniqueName('out'),
    END: all.length,
    INTERVAL_MS: 100,
    LOCAL_RECOVERY: 'yes',
  }
  await streamOf(nats, settings.IN, all.slice(0, 200))
  const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
  await untilNoted(up, 'checkpoint-completed', 3)
  process.kill(await pidOf(up, 'counts/1'), 'SIGKILL')
  const { text } = await untilNoted(up, 'running', 2)
  t.is(text, 'generation 2 runs; restored: 3 from memory, 1 from the store')
  const last = all.slice(200).map(record => JSON.stringify(record))
  await publish(nats, settings.IN, last)
  t.is((await exitOf(up)).code, 0)
  await assertCounted(t, nats, settings.OUT, all)
})
