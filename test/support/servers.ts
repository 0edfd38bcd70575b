/** Real servers for tests: those of one test, or those shared by the tests of one file. */
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import {
  type Servers,
  type ServersOptions,
  startServers,
} from '../../lib/adapters/servers/embedded.js'
import { SluiceError, type StreamError } from '../../lib/errors.js'

/** What the work gives; throws its error, which fails the test with the error's own sentence. */
export const done = async <A>(work: TaskEither<StreamError, A>): Promise<A> => {
  const outcome = await work()
  if (E.isLeft(outcome)) throw new SluiceError(outcome.left)
  return outcome.right
}

/** Servers for this test alone, stopped when it ends. */
export const withServers = async (
  t: ExecutionContext,
  options: ServersOptions = {},
): Promise<Servers> => {
  const servers = await done(startServers({ say: line => t.log(line), ...options }))
  t.teardown(() => done(servers.stop()))
  return servers
}

let shared: Promise<Servers> | undefined

/**
 * The servers of this test file, for use in its `test.before`: started by the first call, the same
 * ones for every later call, and stopped after the file's tests. Tests that share them take names
 * of their own.
 */
export const sharedServers = (options: ServersOptions = {}): Promise<Servers> => {
  shared ??= done(startServers(options))
  return shared
}

test.after.always('stop the shared servers', async () => {
  if (shared !== undefined) await done((await shared).stop())
})
