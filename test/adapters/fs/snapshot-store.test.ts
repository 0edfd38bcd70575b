/** What is true of a shared folder alone: files, crashes of writers, and what may be removed. */
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { fileToken, parseFileName, partFile } from '../../../lib/adapters/fs/layout.js'
import { fsPartKeeper } from '../../../lib/adapters/fs/part-keeper.js'
import { type Files, fsSnapshotStore } from '../../../lib/adapters/fs/snapshot-store.js'
import { hostileNames, left, partOf, randomChunks, right } from '../../contract/snapshots.js'
import { newFolder } from './folder.js'

const job = 'job'
const ttlMs = 60_000
const part1 = (chunks: readonly Uint8Array[]) => partOf('delays/1', 1, 1, chunks)

const folderOf = (t: ExecutionContext) => newFolder(t)

const filesIn = async (folder: string): Promise<readonly string[]> =>
  (await fs.readdir(join(folder, job))).sort()

const failing = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code })

/** The real file system, but for some of it. */
const filesWith = (more: Partial<Files>): Files => ({ ...fs, ...more })

test('FS1: a writer that dies before the rename leaves nothing under the name of the part', async t => {
  const folder = await folderOf(t)
  const chunks = randomChunks()
  const files = filesWith({
    rename: async () => {
      throw failing('EIO')
    },
    // Nor does it tidy up: it is dead.
    unlink: async () => {
      throw failing('EIO')
    },
  })
  const store = fsSnapshotStore({ folder, files })
  await left(t, 'unavailable', store.write(job, part1(chunks), chunks, ttlMs))
  const [torn, ...others] = await filesIn(folder)
  t.deepEqual(others, [])
  t.is(parseFileName(torn ?? '')?.type, 'temporary')
  const healthy = fsSnapshotStore({ folder })
  await left(t, 'missing', healthy.read(job, part1(chunks)))

  const early = fsPartKeeper({ folder, now: () => Date.now() + ttlMs - 1_000, graceMs: 0 })
  const kept = { parts: [], newest: 0, supersededTtlMs: 0 }
  t.is(await right(t, early.sweep(job, { ...kept, seenAt: early.now() })), 0)
  const late = fsPartKeeper({ folder, now: () => Date.now() + ttlMs + 1_000, graceMs: 0 })
  t.is(await right(t, late.sweep(job, { ...kept, seenAt: late.now() })), 1)
  t.deepEqual(await filesIn(folder), [])
})

test('FS1: a part is synced before it has its name, and its folder after', async t => {
  const folder = await folderOf(t)
  const steps: string[] = []
  const files = filesWith({
    open: async (path, flags) => {
      const handle = await fs.open(path, flags)
      const sync = handle.sync.bind(handle)
      handle.sync = async () => {
        steps.push(`sync ${String(path).endsWith('.tmp') ? 'file' : 'folder'}`)
        await sync()
      }
      return handle
    },
    rename: async (from, to) => {
      steps.push('rename')
      await fs.rename(from, to)
    },
  })
  await fs.mkdir(join(folder, job))
  const chunks = randomChunks()
  await right(t, fsSnapshotStore({ folder, files }).write(job, part1(chunks), chunks, ttlMs))
  t.deepEqual(steps, ['sync file', 'rename', 'sync folder'])
})

test('a full disk is said to be full, and the torn file is removed', async t => {
  const folder = await folderOf(t)
  const files = filesWith({
    open: async (path, flags) => {
      const handle = await fs.open(path, flags)
      handle.writeFile = async () => {
        throw failing('ENOSPC')
      }
      return handle
    },
  })
  const chunks = randomChunks()
  const store = fsSnapshotStore({ folder, files })
  const error = await left(t, 'full', store.write(job, part1(chunks), chunks, ttlMs))
  t.regex(error.message, /"delays\/1" at checkpoint 1 .* disk or quota is full \(ENOSPC\)/)
  t.truthy(error.next)
  t.deepEqual(await filesIn(folder), [])
})

test('a folder that is not there is made', async t => {
  const folder = join(await folderOf(t), 'not', 'there')
  const chunks = randomChunks()
  const store = fsSnapshotStore({ folder })
  await left(t, 'missing', store.read(job, part1(chunks)))
  await right(t, store.write(job, part1(chunks), chunks, ttlMs))
  t.deepEqual((await right(t, store.read(job, part1(chunks)))).map(Buffer.from), chunks)
})

test('a folder that is none, or may not be written, is refused in plain words', async t => {
  const folder = join(await folderOf(t), 'file')
  await fs.writeFile(folder, 'text')
  const chunks = randomChunks()
  const none = fsSnapshotStore({ folder }).write(job, part1(chunks), chunks, ttlMs)
  t.regex((await left(t, 'invalid', none)).message, /that is no folder \(E(NOTDIR|EXIST)\)/)
  const files = filesWith({
    mkdir: async () => {
      throw failing('EACCES')
    },
  })
  const denied = fsSnapshotStore({ folder, files }).write(job, part1(chunks), chunks, ttlMs)
  t.regex((await left(t, 'refused', denied)).message, /no permission to \(EACCES\)/)
})

test('FS3: a file that was cut, changed or replaced is damaged', async t => {
  const folder = await folderOf(t)
  const chunks = randomChunks()
  const part = part1(chunks)
  const store = fsSnapshotStore({ folder })
  await right(t, store.write(job, part, chunks, ttlMs))
  const path = join(folder, job, partFile(part))
  const content = await fs.readFile(path)
  const flipped = Buffer.from(content)
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1
  const other = randomChunks()
  const elsewhere = partOf('delays/2', 1, 1, other)
  await right(t, store.write(job, elsewhere, other, ttlMs))
  const replaced = await fs.readFile(join(folder, job, partFile(elsewhere)))
  for (const bytes of [
    content.subarray(0, -1),
    flipped,
    replaced,
    Buffer.from('else'),
    Buffer.of(),
  ]) {
    await fs.writeFile(path, bytes)
    await left(t, 'corrupt', store.read(job, part))
  }
})

test('a commit finds a part that was cut, or that is another one, missing', async t => {
  const folder = await folderOf(t)
  const store = fsSnapshotStore({ folder })
  const keeper = fsPartKeeper({ folder, now: Date.now })
  const chunks = randomChunks()
  const part = part1(chunks)
  await right(t, store.write(job, part, chunks, ttlMs))
  t.deepEqual(await right(t, keeper.missing(job, [part], [])), [])
  t.deepEqual(await right(t, keeper.missing(job, [{ ...part, chunks: 9 }], [])), ['delays/1'])
  const path = join(folder, job, partFile(part))
  await fs.truncate(path, (await fs.stat(path)).size - 1)
  t.deepEqual(await right(t, keeper.missing(job, [part], [])), ['delays/1'])
  await fs.rm(path)
  t.deepEqual(await right(t, keeper.missing(job, [part], [])), ['delays/1'])
})

test('a part whose TTL is over is missing to a commit, unless an earlier one took it', async t => {
  const folder = await folderOf(t)
  const chunks = randomChunks()
  const part = part1(chunks)
  await right(t, fsSnapshotStore({ folder }).write(job, part, chunks, 1_000))
  const keeper = fsPartKeeper({ folder, now: () => Date.now() + 2_000 })
  t.deepEqual(await right(t, keeper.missing(job, [part], [])), ['delays/1'])
  t.deepEqual(await right(t, keeper.missing(job, [part], [part])), [])
})

test('FK1: a sweep leaves what this adapter has not written', async t => {
  const folder = await folderOf(t)
  const chunks = randomChunks()
  const part = part1(chunks)
  await right(t, fsSnapshotStore({ folder }).write(job, part, chunks, ttlMs))
  const others = ['notes.txt', 'x.part', `${partFile(part)}.bak`, '.nfs0001', 'owner.json']
  for (const name of others) await fs.writeFile(join(folder, job, name), 'mine')
  // Named like a part, and none.
  const lookalike = partFile(part1(randomChunks()))
  await fs.writeFile(join(folder, job, lookalike), 'mine')
  await fs.mkdir(join(folder, job, partFile(part1(randomChunks()))))
  const keeper = fsPartKeeper({ folder, now: () => Date.now() + 1e9, graceMs: 0 })
  const everything = { parts: [], newest: Number.POSITIVE_INFINITY, supersededTtlMs: 0 }
  t.is(await right(t, keeper.sweep(job, { ...everything, seenAt: keeper.now() })), 1)
  const left = await filesIn(folder)
  t.true([...others, lookalike].every(name => left.includes(name)))
  t.false(left.includes(partFile(part)))
  await right(t, keeper.leave(job))
  t.true((await filesIn(folder)).includes('owner.json'))
})

test('FK2: a sweep keeps what a checkpoint names, and what one may still name', async t => {
  const folder = await folderOf(t)
  const store = fsSnapshotStore({ folder })
  const chunks = randomChunks()
  const epochs = [1, 2, 3, 4].map(epoch => partOf('delays/1', epoch, 1, chunks))
  for (const part of epochs) await right(t, store.write(job, part, chunks, ttlMs))
  const [named, superseded, newest, pending] = epochs
  if (!named || !superseded || !newest || !pending) return t.fail()
  const kept = { parts: [named, newest], newest: newest.epoch, supersededTtlMs: 10_000 }
  const keeperIn = (ms: number) =>
    fsPartKeeper({ folder, now: () => Date.now() + ms, graceMs: 5_000 })
  const sweptIn = (ms: number) => {
    const keeper = keeperIn(ms)
    return right(t, keeper.sweep(job, { ...kept, seenAt: keeper.now() }))
  }
  t.is(await sweptIn(9_000), 0)
  t.is(await sweptIn(11_000), 1)
  t.deepEqual(await filesIn(folder), [named, newest, pending].map(partFile).sort())
  t.is(await sweptIn(ttlMs + 4_000), 0)
  t.is(await sweptIn(ttlMs + 6_000), 1)
  t.deepEqual(await filesIn(folder), [named, newest].map(partFile).sort())
})

test('FK3: a folder has one job store for each job, whoever comes first', async t => {
  const folder = await folderOf(t)
  const keeper = fsPartKeeper({ folder, now: Date.now })
  const firsts = await Promise.all(['a', 'b', 'c'].map(store => keeper.own(job, store)()))
  t.is(firsts.filter(E.isRight).length, 1)
  const owner = ['a', 'b', 'c'][firsts.findIndex(E.isRight)] ?? ''
  await right(t, keeper.own(job, owner))
  const error = await left(t, 'conflict', keeper.own(job, 'another'))
  t.regex(error.message, /recorded in another Redis/)
  await right(t, keeper.own('another job', 'another'))
  await right(t, keeper.leave(job))
  await right(t, keeper.own(job, 'another'))
})

test('FK2: what a job that has ended leaves for a time goes after it, and others stay', async t => {
  const folder = await folderOf(t)
  const store = fsSnapshotStore({ folder })
  const chunks = randomChunks()
  const keeperIn = (ms: number) => fsPartKeeper({ folder, now: () => Date.now() + ms, graceMs: 0 })
  const now = keeperIn(0)
  for (const name of ['ended', 'went on', 'runs', 'foreign']) {
    await right(t, now.own(name, name === 'foreign' ? 'another' : 'store'))
    await right(t, store.write(name, part1(chunks), chunks, ttlMs))
  }
  await fs.writeFile(join(folder, 'file'), 'mine')
  for (const name of ['ended', 'went on', 'foreign']) await right(t, now.expire(name, 1_000))
  await right(t, now.expire('went on', undefined))
  const hour = 3_600_000
  const isForgotten = () => async () => true
  t.is(await right(t, keeperIn(hour).sweepExpired('store', isForgotten)), 0)
  t.is(await right(t, keeperIn(hour + 2_000).sweepExpired('store', isForgotten)), 1)
  await left(t, 'missing', store.read('ended', part1(chunks)))
  for (const name of ['went on', 'runs', 'foreign']) await right(t, store.read(name, part1(chunks)))
  t.false((await fs.readdir(folder)).includes('ended'))
})

test('FL1: names of files are told apart, short enough, and stay in their folder', t => {
  const long = ['a', 'b'].map(end => `${'ä€𝄞'.repeat(200)}${end}`)
  const names = [...hostileNames, '..', '.', '/', 'a/b', ...long].map(fileToken)
  t.is(new Set(names.map(name => name.toLowerCase())).size, names.length)
  for (const name of names) {
    t.regex(name, /^[0-9a-z=+~-]+$/)
    t.true(name.length <= 100)
  }
  for (const subtask of [...hostileNames, ...long]) {
    const file = partFile(partOf(subtask, Number.MAX_SAFE_INTEGER, 1, []))
    t.like(parseFileName(file), { type: 'part', epoch: Number.MAX_SAFE_INTEGER, generation: 1 })
    t.true(file.length <= 200)
  }
})

test('a folder may be moved as it is', async t => {
  const folder = join(await folderOf(t), 'before')
  const chunks = randomChunks()
  const part = part1(chunks)
  await right(t, fsSnapshotStore({ folder }).write(job, part, chunks, ttlMs))
  await fs.rename(folder, `${folder}-after`)
  const moved = fsSnapshotStore({ folder: `${folder}-after` })
  t.deepEqual((await right(t, moved.read(job, part))).map(Buffer.from), chunks)
})
