/** What a Redis is known by, for stores that keep parts of what it records. */
import { randomUUID } from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../../errors.js'
import type { RedisConnection } from './connection.js'
import { attempt } from './errors.js'
import { identityKey } from './keys.js'

/** The same for as long as the data is: it is among the data, in copies and backups as well. */
export const redisIdentity = ({ redis, place }: RedisConnection): TaskEither<StreamError, string> =>
  attempt(place, 'read its identity', async () => {
    const fresh = randomUUID()
    await redis.setnx(identityKey, fresh)
    return E.right((await redis.get(identityKey)) ?? fresh)
  })
