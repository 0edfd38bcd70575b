/** What the parts of `JobStore`'s contract share. */
import type { ExecutionContext } from 'ava'
import type { StreamError } from '../../lib/errors.js'
import type { Claim, JobStore } from '../../lib/ports/job-store.js'
import { commitOptions, historyOf, left, manifestOf, right, type Stores } from './snapshots.js'

/** Registers one fact of the contract as a test. */
export type Fact = (
  name: string,
  check: (t: ExecutionContext, stores: Stores) => Promise<void>,
) => void

/** Every write of a claim that is not current is `fenced`, and changes nothing. */
export const refusedEverywhere = async (
  t: ExecutionContext,
  { jobs }: Stores,
  claim: Claim,
  run: string,
  generation: number,
): Promise<void> => {
  const before = await right(t, jobs.describe(claim.job))
  const history = await right(t, jobs.history(claim.job))
  const refusals: readonly StreamError[] = [
    await left(t, 'fenced', jobs.renew(claim, run, 60_000)),
    await left(t, 'fenced', jobs.release(claim, run)),
    await left(t, 'fenced', jobs.beginGeneration(claim)),
    await left(t, 'fenced', jobs.allocate(claim, generation)),
    await left(t, 'fenced', jobs.recordAborted(claim, historyOf(9, generation, 'aborted'), 10)),
    await left(t, 'fenced', jobs.setStatus(claim, 'failed', 'stale')),
    await left(t, 'fenced', jobs.end(claim, 'failed', {})),
    await left(t, 'fenced', jobs.end(claim, 'finished', { ttlMs: 1 })),
  ]
  for (const { message, next } of refusals) {
    t.regex(message, new RegExp(`holds term ${claim.term} .* at term ${claim.term + 1}`))
    t.truthy(next)
  }
  const commit: ReturnType<JobStore['commit']> = jobs.commit(
    claim,
    manifestOf(claim, 99, generation, []),
    commitOptions(99, generation),
  )
  t.is((await right(t, commit)).type, 'fenced')
  t.deepEqual(await right(t, jobs.describe(claim.job)), before)
  t.deepEqual(await right(t, jobs.history(claim.job)), history)
}
