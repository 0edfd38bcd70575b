/** What the steps of the job store share: how a script is sent, and what it is told. */
import { type StreamError, streamError } from '../../errors.js'
import type { StoredPart } from '../../protocol/manifest.js'
import type { RedisConnection } from './connection.js'
import { metaKey } from './keys.js'
import type { Seen } from './reads.js'
import { quoted } from './refusals.js'
import { runScript, type Script } from './scripts.js'

/** Tries of a step whose newest manifest changes under it. One coordinator per term: twice is rare. */
export const staleTriesMax = 5

/** Runs a script over the connection. */
export const send = (
  { redis }: RedisConnection,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<readonly string[]> => runScript(redis, script, keys, args)

/** Redis takes whole milliseconds, and at least one for a lease. */
export const milliseconds = (value: number): number => Math.max(1, Math.ceil(value))

/** How many, then of each what the scripts check. */
export const factsOf = (parts: readonly StoredPart[]): readonly (string | number)[] => [
  parts.length,
  ...parts.flatMap(part => [part.chunks, part.digest, part.subtask]),
]

/** What the record says of kept checkpoints now. */
export const see = async ({ redis }: RedisConnection, job: string): Promise<Seen> => {
  const [latest, kept] = await redis.hmget(metaKey(job), 'latest', 'kept')
  return { latest: latest ?? '', kept: kept ?? '' }
}

/** The kept checkpoints are never the same at two looks. */
export const changing = (place: string, job: string): StreamError =>
  streamError(
    'conflict',
    `the checkpoints of the job ${quoted(job)} in Redis at ${place} have changed ${staleTriesMax} times meanwhile`,
    { next: 'Look for a second coordinator of this job.' },
  )
