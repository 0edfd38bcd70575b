/** Copies of snapshots on a machine's own disks: what is handed out, what is left alone, and what goes. */
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { copyFolderProblem, copyFolders } from '../../../lib/adapters/fs/copy-folders.js'
import { partFile, temporaryFile } from '../../../lib/adapters/fs/layout.js'
import type { Files } from '../../../lib/adapters/fs/snapshot-store.js'
import type { JobLife } from '../../../lib/ports/copy-folders.js'
import { hostileNames, left, partOf, randomChunks, right } from '../../contract/snapshots.js'
import { prng, seedFromEnvironment } from '../../support/prng.js'
import { newFolder } from './folder.js'

const life: JobLife = { job: 'job', jobId: 'life-1' }
const hourMs = 3_600_000

const open = async (t: ExecutionContext, more: Partial<Files> = {}) => {
  const folder = await newFolder(t)
  return {
    folder,
    copies: copyFolders({ folders: [folder], now: Date.now, files: { ...fs, ...more } }),
  }
}

/** Files below a folder, by their path in it. */
const filesIn = async (folder: string): Promise<readonly string[]> => {
  const entries = await fs.readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter(entry => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort()
}

const failing = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code })
const fails = (code: string) => async (): Promise<never> => {
  throw failing(code)
}

/** A part of a subtask with random bytes, and where its file is in the folder. */
const partAt = (epoch: number, generation = 1, subtask = 'counts/0', of = life) => {
  const chunks = randomChunks()
  const part = partOf(subtask, epoch, generation, chunks)
  return { part, chunks, file: join('sluice_copies', of.job, of.jobId, partFile(part)) }
}

/** The subtasks that run here. */
const subtasks = ['counts/0']

test('CP1: what is handed out is what was written, and nothing at all where nothing was', async t => {
  const { copies } = await open(t)
  const { part, chunks } = partAt(1)
  t.is(await right(t, copies.read(life, part)), undefined)
  await right(t, copies.write(life, part, chunks))
  t.deepEqual((await right(t, copies.read(life, part)))?.map(Buffer.from), chunks.map(Buffer.from))
  await right(t, copies.remove(life, part))
  await right(t, copies.remove(life, part))
  t.is(await right(t, copies.read(life, part)), undefined)
})

test('CP1: whatever becomes of a file, other bytes than those that were written never come out', async t => {
  const seed = seedFromEnvironment()
  t.log(`seed ${seed}`)
  const random = prng(seed)
  const { folder, copies } = await open(t)
  let refused = 0
  for (let run = 0; run < 300; run += 1) {
    const chunks = Array.from({ length: random.below(4) }, () =>
      Buffer.from(Array.from({ length: random.below(50) }, () => random.below(256))),
    )
    const part = partOf('counts/0', run, 1, chunks)
    await right(t, copies.write(life, part, chunks))
    const path = join(folder, 'sluice_copies', 'job', 'life-1', partFile(part))
    const whole = await fs.readFile(path)
    const at = random.below(whole.length)
    const other = await fs.readFile(join(path, '..', (await fs.readdir(join(path, '..')))[0] ?? ''))
    const spoiled = [
      Buffer.from(whole.map((byte, n) => (n === at ? byte ^ (1 << random.below(8)) : byte))),
      whole.subarray(0, at),
      Buffer.concat([whole, Buffer.from([random.below(256)])]),
      Buffer.concat([whole.subarray(0, at), whole.subarray(at + 1), whole.subarray(at, at + 1)]),
      Buffer.alloc(whole.length),
      other,
    ][random.below(6)]
    await fs.writeFile(path, spoiled ?? whole)
    const read = await copies.read(life, part)()
    if (E.isLeft(read)) refused += 1
    else t.deepEqual(read.right?.map(Buffer.from), chunks, `seed ${seed}, run ${run}`)
    t.true(E.isRight(read) || read.left.type === 'corrupt', `seed ${seed}, run ${run}`)
  }
  // A flipped bit in a fact that does not matter is the exception.
  t.true(refused > 200, `${refused} of 300, seed ${seed}`)
})

test('CP1: a file of another job or life under the name of a part is not used', async t => {
  const { folder, copies } = await open(t)
  const { part, chunks, file } = partAt(1)
  for (const other of [
    { job: 'other', jobId: 'life-1' },
    { job: 'job', jobId: 'life-0' },
  ]) {
    const { part: stale, chunks: bytes, file: from } = partAt(1, 1, 'counts/0', other)
    await right(t, copies.write(other, stale, bytes))
    await fs.mkdir(join(folder, file, '..'), { recursive: true })
    await fs.copyFile(join(folder, from), join(folder, file))
    await left(t, 'corrupt', copies.read(life, part))
  }
  await right(t, copies.remove(life, part))
  t.is(await right(t, copies.read(life, part)), undefined)
  await right(t, copies.write(life, part, chunks))
  t.not(await right(t, copies.read(life, part)), undefined)
})

test('CP1: a file that is longer than a part can be, or no file, is not read', async t => {
  const { folder, copies } = await open(t, { readFile: fails('EIO') })
  const { part, file } = partAt(1)
  await fs.mkdir(join(folder, file, '..'), { recursive: true })
  await fs.writeFile(join(folder, file), Buffer.alloc(100_000))
  await left(t, 'corrupt', copies.read(life, part))
  await fs.rm(join(folder, file))
  await fs.mkdir(join(folder, file))
  await left(t, 'corrupt', copies.read(life, part))
})

test('CP2: a writer that dies leaves nothing under the name, and the next generation removes the rest', async t => {
  const dead = await open(t, { rename: fails('EIO'), unlink: fails('EIO') })
  const { part, chunks } = partAt(1)
  await left(t, 'unavailable', dead.copies.write(life, part, chunks))
  t.is(await right(t, dead.copies.read(life, part)), undefined)
  t.is((await filesIn(dead.folder)).length, 1)
  const alive = copyFolders({ folders: [dead.folder], now: Date.now })
  t.is(await right(t, alive.sweep(life, 1, subtasks, [])), 0, 'its writer may be at work')
  t.is(await right(t, alive.sweep(life, 2, subtasks, [])), 1)
  t.deepEqual(await filesIn(dead.folder), [])
})

test('CP2: a full disk costs the copy and nothing else', async t => {
  const { folder, copies } = await open(t)
  const old = partAt(1)
  await right(t, copies.write(life, old.part, old.chunks))
  const opened: Files['open'] = async (path, flags, mode) => {
    const handle = await fs.open(path, flags, mode)
    if (flags === 'wx') handle.writeFile = fails('ENOSPC')
    return handle
  }
  const full = copyFolders({ folders: [folder], now: Date.now, files: { ...fs, open: opened } })
  const { part, chunks } = partAt(2)
  const error = await left(t, 'full', full.write(life, part, chunks))
  t.regex(error.message, /at checkpoint 2 of the job "job" .*full \(ENOSPC\)/)
  t.regex(error.next ?? '', /Make room there; the job goes on/)
  t.deepEqual(await filesIn(folder), [old.file])
})

test('CP3: no name reaches out of its folder, or meets another', async t => {
  const { folder, copies } = await open(t)
  const names = [...hostileNames, '..', '.', '../..', '/etc', 'a/../../b', 'a\0b', 'x'.repeat(128)]
  const written: { of: JobLife; part: ReturnType<typeof partOf>; chunks: readonly Uint8Array[] }[] =
    []
  for (const name of names) {
    for (const of of [
      { job: name, jobId: 'life-1' },
      { job: 'job', jobId: name },
    ]) {
      const { part, chunks } = partAt(1, 1, `${name}/0`)
      await right(t, copies.write(of, part, chunks))
      written.push({ of, part, chunks })
    }
  }
  const paths = await filesIn(folder)
  t.is(paths.length, written.length)
  for (const path of paths)
    t.regex(path, /^sluice_copies\/[0-9a-z=+~-]+\/[0-9a-z=+~-]+\/[^/]+\.part$/)
  for (const { of, part, chunks } of written)
    t.deepEqual((await right(t, copies.read(of, part)))?.map(Buffer.from), chunks.map(Buffer.from))
})

test('CP4: a new generation keeps what it restores and what is written in it, and no other copy', async t => {
  const { folder, copies } = await open(t)
  const [restored, older, aborted] = [partAt(5), partAt(4), partAt(6)]
  const [moved, written] = [partAt(5, 1, 'elsewhere/0'), partAt(7, 2, 'counts/1')]
  for (const { part, chunks } of [restored, older, aborted, moved, written])
    await right(t, copies.write(life, part, chunks))
  const others = join('sluice_copies', 'job', 'life-1', 'notes.txt')
  await fs.writeFile(join(folder, others), 'not ours')
  t.is(await right(t, copies.sweep(life, 2, subtasks, [restored.part])), 2)
  const kept = [restored.file, written.file, others]
  t.deepEqual(await filesIn(folder), [...kept, moved.file].sort(), 'it may run beside this one')
  const later = copyFolders({ folders: [folder], now: () => Date.now() + 1.1 * hourMs })
  t.is(await right(t, later.sweep(life, 2, subtasks, [restored.part])), 1)
  t.deepEqual(await filesIn(folder), kept.sort())
})

test('CP4: what other lives have left goes when nobody has touched it for long', async t => {
  const { folder } = await open(t)
  const earlier: JobLife = { job: 'job', jobId: 'life-0' }
  const other: JobLife = { job: 'other', jobId: 'life-1' }
  const at = (now: () => number) => copyFolders({ folders: [folder], now })
  const copies = at(Date.now)
  const [own, old, foreign] = [
    partAt(1),
    partAt(1, 1, 'counts/0', earlier),
    partAt(1, 1, 'counts/0', other),
  ]
  await right(t, copies.write(life, own.part, own.chunks))
  await right(t, copies.write(earlier, old.part, old.chunks))
  await right(t, copies.write(other, foreign.part, foreign.chunks))
  const sweptAt = (ms: number) => at(() => Date.now() + ms).sweep(life, 2, subtasks, [own.part])
  t.is(await right(t, sweptAt(0.9 * hourMs)), 0)
  t.is(await right(t, sweptAt(1.1 * hourMs)), 1)
  t.deepEqual(await filesIn(folder), [own.file, foreign.file].sort())
  t.is(await right(t, sweptAt(6.9 * 24 * hourMs)), 0, 'another job may only be stopped')
  t.is(await right(t, sweptAt(7.1 * 24 * hourMs)), 1)
  t.deepEqual(await fs.readdir(join(folder, 'sluice_copies')), ['job'])
})

test('CP4: a job of another user in the folder hinders no sweep', async t => {
  const other: JobLife = { job: 'other', jobId: 'life-1' }
  const { folder, copies } = await open(t, {
    unlink: async path => {
      if (String(path).includes('/other/')) throw failing('EACCES')
      await fs.unlink(path)
    },
  })
  const [mine, theirs] = [partAt(1), partAt(1, 1, 'counts/0', other)]
  await right(t, copies.write(life, mine.part, mine.chunks))
  await right(t, copies.write(other, theirs.part, theirs.chunks))
  const longAgo = new Date(Date.now() - 30 * 24 * hourMs)
  await fs.utimes(join(folder, theirs.file, '..'), longAgo, longAgo)
  t.is(await right(t, copies.sweep(life, 2, subtasks, [])), 1)
  t.deepEqual(await filesIn(folder), [theirs.file])
})

test('CP4: the end of a job removes its copies, and nothing of others', async t => {
  const { folder, copies } = await open(t)
  const other: JobLife = { job: 'other', jobId: 'life-1' }
  const [mine, theirs] = [partAt(1), partAt(1, 1, 'counts/0', other)]
  await right(t, copies.write(life, mine.part, mine.chunks))
  await right(t, copies.write(other, theirs.part, theirs.chunks))
  const dead = temporaryFile(partFile(mine.part), 1, '00000000-0000-0000-0000-000000000000')
  await fs.writeFile(join(folder, 'sluice_copies', 'job', 'life-1', dead), 'half')
  await fs.writeFile(join(folder, 'checkpoint.part'), 'not ours')
  await right(t, copies.clear(life))
  t.deepEqual(await filesIn(folder), ['checkpoint.part', theirs.file])
  t.deepEqual(await fs.readdir(join(folder, 'sluice_copies')), ['other'])
  await right(t, copies.clear(life))
})

test('subtasks take turns at the folders, the same ones in every process', async t => {
  const folders = [await newFolder(t), await newFolder(t), await newFolder(t)]
  const parts = Array.from({ length: 6 }, (_, n) => partAt(1, 1, `counts/${n}`))
  const [writer, reader] = [0, 1].map(() => copyFolders({ folders, now: Date.now }))
  for (const { part, chunks } of parts)
    await right(t, (writer ?? t.fail()).write(life, part, chunks))
  for (const folder of folders) t.is((await filesIn(folder)).length, 2)
  for (const { part } of parts)
    t.not(await right(t, (reader ?? t.fail()).read(life, part)), undefined)
})

test('two workers of one machine write, sweep and clear in one folder without a failure', async t => {
  const { folder } = await open(t)
  const worker = () => copyFolders({ folders: [folder], now: Date.now })
  const other: JobLife = { job: 'other', jobId: 'life-1' }
  const busy = async (index: number, of: JobLife): Promise<void> => {
    const copies = worker()
    for (let epoch = 1; epoch <= 20; epoch += 1) {
      const { part, chunks } = partAt(epoch, epoch, `counts/${index}`)
      await right(t, copies.write(of, part, chunks))
      await right(t, copies.sweep(of, epoch, [part.subtask], [part]))
      if (epoch % 5 === 0) await right(t, copies.clear(of))
    }
  }
  await Promise.all([busy(0, life), busy(1, life), busy(0, other), busy(1, other)])
  t.deepEqual(await filesIn(folder), [])
})

test('a folder that is not there any more is not made: another disk would fill up', async t => {
  const { folder, copies } = await open(t)
  const { part, chunks } = partAt(1)
  await fs.rm(folder, { recursive: true })
  await left(t, 'unavailable', copies.write(life, part, chunks))
  t.is(await right(t, copies.read(life, part)), undefined)
  await t.throwsAsync(fs.stat(folder), { code: 'ENOENT' })
})

test('what is wrong with a folder is found before it is used', async t => {
  const folder = await newFolder(t)
  t.is(await copyFolderProblem(folder), undefined)
  t.is(await copyFolderProblem(join(folder, 'none')), 'which is not there')
  const file = join(folder, 'file')
  await fs.writeFile(file, '')
  t.is(await copyFolderProblem(file), 'which is no folder')
  t.is(await copyFolderProblem(join(file, 'below')), 'where no folder can be (ENOTDIR)')
  for (const code of ['EACCES', 'EROFS', 'EPERM'])
    t.is(
      await copyFolderProblem(folder, { ...fs, open: fails(code) }),
      `where this process may not write (${code})`,
    )
  t.is(await copyFolderProblem(folder, { ...fs, open: fails('ENOSPC') }), undefined)
  const silent = { ...fs, stat: () => new Promise<never>(() => {}) }
  t.is(await copyFolderProblem(folder, silent, 20), 'which has not answered for 20 ms')
  t.deepEqual(await filesIn(folder), ['file'], 'the look leaves nothing')
})
