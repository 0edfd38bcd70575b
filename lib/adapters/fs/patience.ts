/**
 * How long a folder is waited for. One on a server of files that is away answers nothing at all, not
 * even that it failed, and a call to it cannot be taken back.
 *
 * Invariants
 *   FP1. Whoever waits hears `timed-out` when the time is over. What was asked for may be done later all
 *        the same: its outcome is unknown, and nothing here is harmed by that (FS2, PE2).
 *   FP2. While a call has no answer, no other one is begun in its place: each would hold one of the few
 *        threads that Node has for files and for names of hosts.
 */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'

type Work<A> = Promise<E.Either<StreamError, A>>

/** How long a folder may be silent, in milliseconds. */
export const defaultPatienceMs = 60_000

/** Bytes get more time: so many a millisecond are a slow disk's. */
const bytesPerMs = 1024

/** What waits for a folder: for `patienceMs`, and more where many bytes are moved. */
export type Patience = <A>(doing: string, bytes: number, work: () => Work<A>) => Work<A>

/** Waits for one folder. */
export const patienceWith = (folder: string, patienceMs: number): Patience => {
  let stuck: Promise<unknown> | undefined
  return async (doing, bytes, work) => {
    const silent = E.left(silence(`the folder ${JSON.stringify(folder)}`, doing, patienceMs))
    let isGivenUp = false
    const running = (async () => {
      await stuck
      return isGivenUp ? silent : work()
    })()
    const done = await within(running, patienceMs + bytes / bytesPerMs)
    if (done !== undefined) return done
    isGivenUp = true
    stuck ??= running.finally(() => {
      stuck = undefined
    })
    return silent
  }
}

/** What somebody hears who has waited in vain. */
export const silence = (what: string, doing: string, patienceMs: number): StreamError =>
  streamError('timed-out', `could not ${doing}: ${what} has not answered for ${patienceMs} ms`, {
    next: 'Check that the folder is mounted and answers on this machine.',
  })

/** What was promised; undefined when it has not come in time. */
export const within = async <A>(promise: Promise<A>, ms: number): Promise<A | undefined> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(() => resolve(undefined), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
