/** Why a script refused, in plain sentences. */
import { type StreamError, streamError } from '../../errors.js'
import type { Claim } from '../../ports/job-store.js'

/** A name from a user inside a sentence: no line break or control character of it gets out. */
export const quoted = (name: string): string => JSON.stringify(name)

/** The failure that a script's reply stands for; undefined when it refused nothing. */
export const refusal = (
  place: string,
  claim: Claim,
  reply: readonly string[],
): StreamError | undefined => {
  const [type, first = '', second = ''] = reply
  const job = quoted(claim.job)
  switch (type) {
    case 'fenced':
      return streamError(
        'fenced',
        `this coordinator holds term ${claim.term} of the job ${job}, which is at term ${first}, generation ${second} now`,
        { next: 'Stop this coordinator: a newer one or a newer generation goes on with the job.' },
      )
    case 'behind':
      return streamError(
        'lost',
        `Redis at ${place} is at term ${first}, generation ${second} of the job ${job}, and has given later ones to this coordinator of term ${claim.term}: it has gone back to an older state`,
        {
          next: 'Restore the Redis data; or start the job again, to go on from what it has: where that is not what was published, the job stops once more.',
        },
      )
    case 'ended':
      return streamError('fenced', `the job ${job} has ended (${first})`, {
        next: 'Stop this coordinator; start the job again to go on.',
      })
    case 'gone':
      return lostJob(place, claim.job)
    case 'lost':
      return lostPointer(place, claim.job, first === '' ? undefined : Number(first))
    default:
      return undefined
  }
}

/** The record of a job that has existed is not there (P10). */
export const lostJob = (place: string, job: string): StreamError =>
  streamError(
    'lost',
    `the job ${quoted(job)} has existed, and Redis at ${place} has lost its record`,
    {
      next: `Restore the Redis data; to give up its state and start from nothing, remove the name with ZREM sluice:jobs.`,
    },
  )

/** The newest completed checkpoint of a job is not there (P10). */
export const lostPointer = (place: string, job: string, epoch: number | undefined): StreamError =>
  streamError(
    'lost',
    epoch === undefined
      ? `the job ${quoted(job)} has completed checkpoints, and Redis at ${place} has lost which one is the newest`
      : `Redis at ${place} has lost the manifest of checkpoint ${epoch}, the newest of the job ${quoted(job)}`,
    {
      next: 'Restore the Redis data from its backup, and check that nothing evicts or deletes keys.',
    },
  )
