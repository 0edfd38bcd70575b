/** What tests see of kept checkpoints behind the product's back: manifests and TTLs on the real Redis. */
import * as E from 'fp-ts/lib/Either.js'
import type { Redis } from 'ioredis'
import { manifestKey, metaKey, partKey } from '../../lib/adapters/redis/keys.js'
import { decodeManifest } from '../../lib/adapters/redis/records.js'
import { SluiceError } from '../../lib/errors.js'
import type { Manifest } from '../../lib/protocol/manifest.js'

/** 'kept' when the key has no TTL; else what is left of it, 0 when it is gone. */
export const ttlOf = async (redis: Redis, key: string): Promise<'kept' | number> => {
  const ttl = await redis.pttl(key)
  return ttl === -1 ? 'kept' : Math.max(0, ttl)
}

/** Manifests of the checkpoints that a job's record names as kept, newest first. */
export const keptOf = async (redis: Redis, job: string): Promise<readonly Manifest[]> => {
  const ids = (await redis.hget(metaKey(job), 'kept')) ?? ''
  const manifests: Manifest[] = []
  for (const id of ids.split(',').filter(text => text !== '')) {
    const key = manifestKey(job, Number(id))
    const manifest = decodeManifest('Redis', key, (await redis.get(key)) ?? '')
    if (E.isLeft(manifest)) throw new SluiceError(manifest.left)
    manifests.push(manifest.right)
  }
  return manifests
}

/** The TTLs of a checkpoint's parts, where Redis has them. */
export const partTtls = (redis: Redis, manifest: Manifest): Promise<readonly ('kept' | number)[]> =>
  Promise.all(manifest.parts.map(part => ttlOf(redis, partKey(manifest.job, part))))
