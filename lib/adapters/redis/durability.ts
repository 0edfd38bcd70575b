/** What a Redis server promises about data that it has accepted. */
import * as E from 'fp-ts/lib/Either.js'
import { streamError } from '../../errors.js'
import type { JobStore } from '../../ports/job-store.js'
import type { RedisConnection } from './connection.js'
import { attempt, redisError } from './errors.js'

/** Reads the eviction policy and the append-only file's settings from the server's configuration. */
export const readDurability = ({
  redis,
  place,
}: RedisConnection): ReturnType<JobStore['durability']> =>
  attempt(place, 'read the configuration', async () => {
    const settings = new Map<string, string>()
    for (const name of ['maxmemory-policy', 'appendonly', 'appendfsync']) {
      const value = await setting(redis, name)
      if (value instanceof Error) return E.left(hidden(place, value))
      settings.set(name, value)
    }
    const policy = settings.get('maxmemory-policy') ?? ''
    return E.right({
      evicts: policy !== 'noeviction',
      policy,
      appendOnly: settings.get('appendonly') === 'yes',
      fsync: settings.get('appendfsync') ?? '',
    })
  })

/** The value, or the error of a server that does not let its configuration be read. */
const setting = async (redis: RedisConnection['redis'], name: string): Promise<string | Error> => {
  try {
    const reply: unknown = await redis.config('GET', name)
    const value: unknown = Array.isArray(reply) ? reply[1] : undefined
    return typeof value === 'string' ? value : new Error(`CONFIG GET ${name} answered nothing`)
  } catch (thrown) {
    const denied = thrown instanceof Error && /NOPERM|unknown command/i.test(thrown.message)
    if (!denied) throw thrown
    return thrown
  }
}

const hidden = (place: string, reason: Error) =>
  streamError(
    'refused',
    `Redis at ${place} does not show its configuration, so that its durability is unknown`,
    {
      next: 'Grant CONFIG GET to this user (ACL: +config|get), or take the durability profile that asks nothing of Redis.',
      cause: redisError(place, 'read the configuration', reason).cause,
    },
  )
