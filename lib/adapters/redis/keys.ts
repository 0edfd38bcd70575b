/**
 * Every Redis key of Sluice.
 *
 * A job's keys share one hash tag, `sluice:{<token(job)>}:…`, so that its scripts touch one cluster slot.
 *
 * Invariants
 *   RK1. Names from users enter a key only through `token`, which has no `:`, `{`, `}`, `*` or line break:
 *       two jobs never share a key and no key can be read as another kind.
 *   RK2. `sluice:jobs` and `sluice:identity` are the only keys that belong to no job; what is in them is
 *       data, never a pattern.
 */
import { token } from '../../protocol/names.js'

/**
 * Sorted set of job names. Score: `+inf` while the job's keys live for ever, else the server time in
 * milliseconds at which they expire.
 */
export const jobsKey = 'sluice:jobs'

const key = (job: string, kind: string): string => `sluice:{${token(job)}}:${kind}`

/** Hash: the job's record and its counters. */
export const metaKey = (job: string): string => key(job, 'meta')

/** String with a TTL: the run that holds the job. */
export const leaseKey = (job: string): string => key(job, 'lease')

/** Bounded list of completed checkpoint ids, newest first. */
export const completedKey = (job: string): string => key(job, 'completed')

/** Bounded list of finished attempts as JSON, newest first. */
export const historyKey = (job: string): string => key(job, 'history')

/** String: the manifest of one completed checkpoint as JSON. Ids start at 1, so that 0 names none. */
export const manifestKey = (job: string, epoch: number): string => key(job, `ckpt:${epoch}`)

/** Hash: one snapshot part; field `digest`, and its chunks in `c0` … `cN`. */
export const partKey = (
  job: string,
  part: { readonly generation: number; readonly epoch: number; readonly subtask: string },
): string => key(job, `part:${part.generation}:${part.epoch}:${token(part.subtask)}`)

/** String: what this Redis is known by to others that keep things for it. Made when it is first asked. */
export const identityKey = 'sluice:identity'
