/**
 * A lock between processes of one user, held in a folder and free of races also when a holder died.
 *
 * Invariants
 *   EL1. The lock is taken by renaming a prepared folder, which holds one file named after its
 *       holder, onto the lock's path: that succeeds only where nothing or an empty folder is, so
 *       one taker wins.
 *   EL2. A dead holder's lock is broken by removing *that holder's* file, so that a slow breaker
 *       cannot remove the file of whoever took the lock in the meantime.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, rmdir, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../../errors.js'
import { isAlive } from './process-id.js'

const POLL_MS = 100

/** What a lock needs: its path, how long to wait for it, and whom to tell about the wait. */
export interface LockOptions {
  readonly path: string
  readonly deadlineMs: number
  /** Called once, with the id of the process that holds the lock. */
  readonly onWait: (pid: number) => void
}

/**
 * Does the work while holding the lock. Left when the lock is not got in time ('timed-out') or
 * cannot be written ('unavailable'); otherwise what the work gives.
 */
export const withLock = async <A>(
  options: LockOptions,
  work: () => Promise<E.Either<StreamError, A>>,
): Promise<E.Either<StreamError, A>> => {
  const me = `${process.pid}-${randomUUID()}`
  try {
    if (!(await take(options, me))) {
      return E.left(
        streamError('timed-out', `the lock ${options.path} is held by another process`, {
          next: `Wait until that process is done, or remove ${options.path} if none is running.`,
        }),
      )
    }
  } catch (thrown) {
    return E.left(
      streamError('unavailable', `cannot use the lock ${options.path}: ${messageOf(thrown)}`, {
        cause: thrown,
      }),
    )
  }
  try {
    return await work()
  } finally {
    await release(options.path, me)
  }
}

const take = async (options: LockOptions, me: string): Promise<boolean> => {
  const prepared = `${options.path}.${me}`
  const giveUpAt = performance.now() + options.deadlineMs
  await mkdir(prepared)
  await writeFile(join(prepared, me), '')
  let told = false
  try {
    for (;;) {
      if (await put(prepared, options.path)) return true // EL1
      const holder = await breakIfDead(options.path)
      if (holder === undefined) continue
      if (!told) options.onWait(holder)
      told = true
      if (performance.now() > giveUpAt) return false
      await delay(POLL_MS)
    }
  } finally {
    await rm(prepared, { recursive: true, force: true })
  }
}

const put = (prepared: string, path: string): Promise<boolean> =>
  rename(prepared, path).then(
    () => true,
    unless('ENOTEMPTY', 'EEXIST', () => false),
  )

/** The living holder, or undefined if there is none any more. */
const breakIfDead = async (path: string): Promise<number | undefined> => {
  const [holder] = await readdir(path).catch(unless('ENOENT', 'ENOENT', (): string[] => []))
  if (holder === undefined) return undefined
  const pid = Number.parseInt(holder, 10)
  if (isAlive(pid)) return pid
  await unlink(join(path, holder)).catch(unless('ENOENT', 'ENOENT', () => undefined)) // EL2
  return undefined
}

const release = async (path: string, me: string): Promise<void> => {
  await unlink(join(path, me))
  // The next holder may be faster than this: then the folder is theirs.
  await rmdir(path).catch(unless('ENOTEMPTY', 'ENOENT', () => undefined))
}

const unless =
  <A>(first: string, second: string, otherwise: () => A) =>
  (thrown: unknown): A => {
    const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
    if (code === first || code === second) return otherwise()
    throw thrown
  }
