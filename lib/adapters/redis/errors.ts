/**
 * What ioredis throws, as plain failures.
 *
 * `unavailable` and `timed-out` leave the outcome unknown or ask for a later try; `refused` and `full`
 * say that nothing was done and that trying again alone will not help.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { messageOf, type StreamError, type StreamErrorType, streamError } from '../../errors.js'

interface Rule {
  readonly pattern: RegExp
  readonly type: StreamErrorType
  readonly says: string
  readonly next: string
}

const rules: readonly Rule[] = [
  {
    pattern: /Command timed out/,
    type: 'timed-out',
    says: 'did not answer in time, so that the outcome is unknown',
    next: 'Look at the load of the Redis server and at the network.',
  },
  {
    pattern: /^WRONGPASS|invalid password|invalid username/i,
    type: 'refused',
    says: 'refused the user name or password',
    next: 'Correct the credentials in the Redis URL, redis://user:password@host:port.',
  },
  {
    pattern: /^NOAUTH|Authentication required/i,
    type: 'refused',
    says: 'asks for a password and none was given',
    next: 'Put the credentials into the Redis URL, redis://user:password@host:port.',
  },
  {
    pattern: /^NOPERM/,
    type: 'refused',
    says: 'does not permit this user to do that',
    next: 'Give the user the commands and the keys sluice:* in the ACL of Redis.',
  },
  {
    pattern: /^OOM/,
    type: 'full',
    says: 'has reached its maxmemory',
    next: 'Raise maxmemory, or end jobs whose checkpoints are no longer needed.',
  },
  {
    pattern: /max number of clients/,
    type: 'full',
    says: 'has reached its maxclients',
    next: 'Raise maxclients, or close other connections.',
  },
  {
    pattern: /^READONLY/,
    type: 'unavailable',
    says: 'is a replica and takes no writes',
    next: 'Point the Redis URL at the primary, or wait until the failover is over.',
  },
  {
    pattern: /^LOADING/,
    type: 'unavailable',
    says: 'is still loading its data',
    next: 'Wait until it has started.',
  },
  {
    pattern: /^MASTERDOWN/,
    type: 'unavailable',
    says: 'has lost its primary',
    next: 'Wait until the failover is over.',
  },
  {
    pattern: /^NOREPLICAS/,
    type: 'unavailable',
    says: 'has fewer replicas than min-replicas-to-write and takes no writes',
    next: 'Bring the replicas back.',
  },
  {
    pattern: /^MISCONF/,
    type: 'unavailable',
    says: 'cannot write to its disk and takes no writes',
    next: 'Look at the disk and at the log of the Redis server.',
  },
  {
    pattern: /^(BUSY|TRYAGAIN|CLUSTERDOWN)/,
    type: 'unavailable',
    says: 'is busy',
    next: 'Try again later.',
  },
  {
    pattern: /^WRONGTYPE/,
    type: 'conflict',
    says: 'holds something else under a key of Sluice',
    next: 'Remove the keys that start with sluice: and were not written by Sluice.',
  },
  {
    pattern:
      /Connection is closed|isn't writeable|max retries per request|connection close|Socket timeout|ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|ENOENT/,
    type: 'unavailable',
    says: 'cannot be reached',
    next: 'Start Redis there, or correct the Redis URL.',
  },
]

/** The failure behind anything that ioredis threw, at a place such as `redis://127.0.0.1:6379`. */
export const redisError = (place: string, doing: string, thrown: unknown): StreamError => {
  const text = reasonOf(thrown)
  const rule = rules.find(({ pattern }) => pattern.test(text))
  // The cause carries the text alone: ioredis hangs the command with its arguments on its errors, and
  // those may be a password or a snapshot.
  const cause = new Error(text)
  return rule === undefined
    ? streamError('refused', `Redis at ${place} refused to ${doing}: ${text}`, { cause })
    : streamError(rule.type, `could not ${doing}: Redis at ${place} ${rule.says} (${text})`, {
        next: rule.next,
        cause,
      })
}

/** Node reports a name with several addresses as one error that holds one error per address. */
const reasonOf = (thrown: unknown): string => {
  if (thrown instanceof AggregateError && thrown.message === '') {
    return thrown.errors.map(messageOf).join(', ')
  }
  return messageOf(thrown)
}

/** Runs commands; what they throw becomes the left side. */
export const attempt =
  <A>(
    place: string,
    doing: string,
    run: () => Promise<E.Either<StreamError, A>>,
  ): TaskEither<StreamError, A> =>
  async () => {
    try {
      return await run()
    } catch (thrown) {
      return E.left(redisError(place, doing, thrown))
    }
  }
