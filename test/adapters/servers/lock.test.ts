import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { withLock } from '../../../lib/adapters/servers/lock.js'

const lockPath = async (t: ExecutionContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'lock')
}

const deadPid = async (): Promise<number> => {
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
  await once(child, 'exit')
  return child.pid ?? 0
}

const never = (): never => {
  throw new Error('nobody should be waited for')
}

test('EL1: of many at once, one at a time works, and nothing is left', async t => {
  const path = await lockPath(t)
  let inside = 0
  let most = 0
  const work = async () => {
    inside += 1
    most = Math.max(most, inside)
    await readdir('.')
    inside -= 1
    return E.right('done')
  }
  const options = { path, deadlineMs: 20_000, onWait: () => undefined }
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => withLock(options, work)))
  t.deepEqual(outcomes, Array(8).fill(E.right('done')))
  t.is(most, 1)
  t.deepEqual(await readdir(join(path, '..')), [])
})

test('EL2: the lock of a dead process is taken over at once', async t => {
  const path = await lockPath(t)
  await mkdir(path)
  await writeFile(join(path, `${await deadPid()}-x`), '')
  const options = { path, deadlineMs: 0, onWait: never }
  t.deepEqual(await withLock(options, async () => E.right(1)), E.right(1))
})

test('the lock of a living process is waited for, until the deadline', async t => {
  const path = await lockPath(t)
  await mkdir(path)
  await writeFile(join(path, `${process.pid}-x`), '')
  const waited: number[] = []
  const options = { path, deadlineMs: 0, onWait: (pid: number) => waited.push(pid) }
  const outcome = await withLock(options, async () => E.right(1))
  t.is(E.isLeft(outcome) && outcome.left.type, 'timed-out')
  t.deepEqual(waited, [process.pid])
  t.deepEqual(await readdir(join(path, '..')), ['lock'])
})

test('a lock that cannot be written is an error', async t => {
  const path = join(await lockPath(t), 'no', 'such', 'folder')
  const outcome = await withLock({ path, deadlineMs: 0, onWait: never }, async () => E.right(1))
  t.is(E.isLeft(outcome) && outcome.left.type, 'unavailable')
})

test('work that throws gives the lock back', async t => {
  const path = await lockPath(t)
  const options = { path, deadlineMs: 0, onWait: never }
  const throwing = withLock(options, () => Promise.reject(new Error('oh')))
  await t.throwsAsync(throwing, { message: 'oh' })
  t.deepEqual(await readdir(join(path, '..')), [])
})
