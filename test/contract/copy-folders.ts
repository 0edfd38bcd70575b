/** What copies of snapshots on a machine's disks must do, whatever the disk is made of. */
import test, { type ExecutionContext } from 'ava'
import type { CopyFolders, JobLife } from '../../lib/ports/copy-folders.js'
import { partOf, randomChunks, right } from './snapshots.js'

/** Two processes of one machine. */
export interface CopyFoldersUnderTest {
  readonly first: CopyFolders
  readonly second: CopyFolders
}

const life: JobLife = { job: 'job', jobId: 'life-1' }

const part = (epoch: number, generation = 1, subtask = 'counts/0') => {
  const chunks = randomChunks()
  return { chunks, of: partOf(subtask, epoch, generation, chunks) }
}

/** Declares the tests of one implementation. */
export const copyFoldersContract = (
  name: string,
  open: (t: ExecutionContext) => Promise<CopyFoldersUnderTest>,
): void => {
  const has = async (
    t: ExecutionContext,
    at: CopyFolders,
    one: ReturnType<typeof part>,
    of = life,
  ) => {
    const found = await right(t, at.read(of, one.of))
    if (found !== undefined) t.deepEqual(found.map(Buffer.from), one.chunks.map(Buffer.from))
    return found !== undefined
  }

  test(`${name}: what one process wrote the next one finds, until it is removed`, async t => {
    const { first, second } = await open(t)
    const one = part(1)
    t.false(await has(t, first, one))
    await right(t, first.write(life, one.of, one.chunks))
    t.true(await has(t, second, one))
    await right(t, second.remove(life, one.of))
    t.false(await has(t, first, one))
    await right(t, first.remove(life, one.of))
  })

  test(`${name}: jobs and lives of one job are apart`, async t => {
    const { first, second } = await open(t)
    const one = part(1)
    await right(t, first.write(life, one.of, one.chunks))
    for (const other of [
      { job: 'other', jobId: 'life-1' },
      { job: 'job', jobId: 'life-2' },
    ]) {
      t.false(await has(t, second, one, other))
      await right(t, second.clear(other))
      await right(t, second.sweep(other, 9, ['counts/0'], []))
    }
    t.true(await has(t, first, one))
  })

  test(`${name}: a generation keeps what it restores, and what is written in it`, async t => {
    const { first, second } = await open(t)
    const [restored, older, aborted, written] = [part(5), part(4), part(6), part(7, 2, 'counts/1')]
    const elsewhere = part(5, 1, 'counts/2')
    for (const { of, chunks } of [restored, older, aborted, elsewhere])
      await right(t, first.write(life, of, chunks))
    await right(t, second.write(life, written.of, written.chunks))
    t.is(await right(t, first.sweep(life, 2, ['counts/0'], [restored.of])), 2)
    t.true(await has(t, first, restored))
    t.true(await has(t, first, written))
    t.true(await has(t, first, elsewhere), 'another worker of the machine may restore it')
    t.false(await has(t, first, older))
    t.false(await has(t, first, aborted))
  })

  test(`${name}: nothing is left of a job that is over`, async t => {
    const { first, second } = await open(t)
    const all = [part(1), part(2, 2, 'counts/1')]
    for (const { of, chunks } of all) await right(t, first.write(life, of, chunks))
    await right(t, second.clear(life))
    for (const one of all) t.false(await has(t, first, one))
  })
}
