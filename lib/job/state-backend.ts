/** Where a job's snapshots are kept, decided once for all of its processes. */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../errors.js'
import type { JobGraph } from './graph.js'

/** A state backend with its defaults filled in. */
export type StateBackend =
  | { readonly type: 'memory'; readonly stateBytesMax: number }
  | { readonly type: 'fs'; readonly folder: string }
  | { readonly type: 'redis' }

/** Bytes of one subtask's snapshot that the backend `memory` takes, where nothing was said. */
export const stateBytesMaxDefault = 5_242_880

/**
 * The state backend of a job: what was said, or else Redis where there is one, and the coordinator's
 * memory where there is none. `fs` and `redis` keep the job's record in Redis: `invalid` without.
 */
export const stateBackendOf = (
  graph: Pick<JobGraph, 'settings' | 'durability' | 'name'>,
  redisUrl: string | undefined,
): E.Either<StreamError, StateBackend> => {
  const said = graph.settings?.stateBackend
  const type = said?.type ?? (redisUrl === undefined ? 'memory' : 'redis')
  if (type === 'memory') {
    if (graph.durability === 'strict') return E.left(notStrict(graph.name))
    const stateBytesMax = said?.type === 'memory' ? said.stateBytesMax : undefined
    return E.right({ type, stateBytesMax: stateBytesMax ?? stateBytesMaxDefault })
  }
  if (redisUrl === undefined) return E.left(noRedis(graph.name, type))
  return E.right(said?.type === 'fs' ? { type: 'fs', folder: said.folder } : { type: 'redis' })
}

const noRedis = (job: string, type: string): StreamError =>
  streamError(
    'invalid',
    `the state backend '${type}' of job '${job}' keeps the job's record in Redis, and no Redis is configured`,
    { next: "Add --redis or REDIS_URL; or, to try things out, .stateBackend({ type: 'memory' })." },
  )

const notStrict = (job: string): StreamError =>
  streamError(
    'invalid',
    `job '${job}' wants durability 'strict', and its state is in the coordinator's memory, which dies with it`,
    { next: "Add --redis or REDIS_URL, and .stateBackend({ type: 'redis' }) or 'fs'." },
  )

/** What the memory of a coordinator gives up, for people. */
export const memoryRisk = (stateBytesMax: number): string =>
  `state is kept in the coordinator's memory and is gone when that process ends; at most ${stateBytesMax} bytes of a subtask`

/** The coordinator that held the checkpoints of a job is gone, and they are with it. */
export const memoryGone = (job: string): StreamError =>
  streamError(
    'lost',
    `job '${job}' has run before, and its checkpoints were in the memory of a coordinator that is gone`,
    {
      next: "Start it again from nothing with --fresh; to outlive a coordinator, keep state in 'fs' or 'redis'.",
    },
  )

/** A job that has run before, of which a coordinator with nothing in its memory knows nothing. */
export const stateElsewhere = (job: string): StreamError =>
  streamError(
    'lost',
    `job '${job}' has run before, and its checkpoints were in the memory of a coordinator that is gone, or are in a Redis that this run was not given`,
    { next: 'Add --redis if they are in Redis; or start it again from nothing with --fresh.' },
  )

/** A job's newest checkpoint was written by another backend than the one it is started with. */
export const otherBackend = (job: string, was: string, is: string): StreamError =>
  streamError(
    'conflict',
    `the checkpoints of job '${job}' are in the state backend '${was}', and it is started with '${is}'`,
    { next: `Start it with '${was}' again; or give its state up with --fresh.` },
  )
