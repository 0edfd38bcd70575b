/** What a supervised process tells its supervisor, and the other way round, over Node's own channel. */
import * as t from 'io-ts'

const Failure = t.type({
  type: t.string,
  message: t.string,
  next: t.union([t.undefined, t.string]),
})

/** How a job is doing, for people. */
export const JobProgress = t.type({
  phase: t.string,
  generation: t.number,
  /** The newest completed checkpoint; 0: none. */
  completed: t.number,
  /** Records taken by all subtasks of this generation, in the workers' last words. */
  records: t.number,
  /** Records that were dropped by the policy `skip`, in this generation. */
  skipped: t.number,
  workers: t.number,
  /** Subtasks that no worker has offered to run. */
  waiting: t.array(t.string),
})
/** How a job is doing, for people. */
export type JobProgress = t.TypeOf<typeof JobProgress>

/** What a supervised process tells. */
export const FromChild = t.union([
  /** The coordinator owns the job: workers may join. */
  t.type({ type: t.literal('claimed') }),
  t.type({ type: t.literal('progress'), progress: JobProgress }),
  t.type({ type: t.literal('note'), name: t.string, text: t.string, facts: t.unknown }),
  t.type({ type: t.literal('trouble'), text: t.string }),
  t.type({
    type: t.literal('ended'),
    status: t.union([t.literal('finished'), t.literal('canceled'), t.literal('failed')]),
    reason: t.union([t.undefined, t.string]),
  }),
  t.type({ type: t.literal('error'), error: Failure }),
])
export type FromChild = t.TypeOf<typeof FromChild>

/** What it is told. */
export const ToChild = t.union([
  t.type({ type: t.literal('shut-down') }),
  t.type({ type: t.literal('worker-exited'), worker: t.string, reason: t.string }),
])
export type ToChild = t.TypeOf<typeof ToChild>

/** Exit codes of every command. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  /** The command line, the job file or a server's configuration is wrong: trying again does not help. */
  invalid: 2,
  /** Another coordinator owns the job now. */
  fenced: 3,
} as const
