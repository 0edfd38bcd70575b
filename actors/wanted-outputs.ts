/**
 * The exactly-once outputs of one subtask: its sinks' subjects, and its dead letters.
 */
import type { Chain, Plan, Subtask } from '../lib/job/plan.js'
import {
  deadLetterStream,
  deadLetterSubject,
  deadLetterSubjects,
} from '../lib/protocol/addresses.js'
import type { Generation } from '../lib/protocol/ids.js'
import type { Origin } from '../lib/protocol/manifest.js'
import { token } from '../lib/protocol/names.js'
import type { OpenOutput } from './output.js'

/** Id of the dead letters among a subtask's outputs. */
export const deadLetters = 'dead-letters'

/** What a subtask has to open before it is restored, without what it restores. */
export const wantedOutputs = (of: {
  readonly plan: Plan
  readonly chain: Chain
  readonly subtask: Subtask
  readonly generation: Generation
  readonly jobId: string
  /** What the job was started from, as long as nothing of its own has completed. */
  readonly origin: Origin | undefined
}): readonly OpenOutput[] => {
  const { plan, chain, subtask, generation, jobId, origin } = of
  const { index } = subtask
  const mode = plan.graph.checkpoint === undefined ? 'direct' : 'transactional'
  const common = {
    generation,
    mode,
    mayBeCleared: false,
    pendingBytesMax: plan.graph.limits.sinkPendingBytesMax,
    restored: undefined,
  } as const
  const output = origin?.output
  const before =
    output === undefined ? {} : { before: { epoch: output.epoch, jobs: output.jobIds } }
  const wanted: OpenOutput[] = []
  for (const vertex of chain.members) {
    if (vertex.type !== 'sink') continue
    const alone = vertex.parallelism === 1
    const subject = alone ? vertex.sink.subject : `${vertex.sink.subject}.${index}`
    const name = vertex.sink.stream ?? streamNameOf(vertex.sink.id)
    wanted.push({
      ...common,
      mode: mode === 'direct' ? mode : vertex.sink.delivery,
      id: vertex.id,
      identity: { job: jobId, sink: vertex.id, subtask: index, ...before },
      subject,
      stream: vertex.sink.stream,
      // Streams of their own, so that no sink subtask disturbs another's predictions; one stream for
      // all of them where the user named it.
      create:
        alone || vertex.sink.stream === undefined
          ? { name: alone ? name : `${name}-${index}`, subjects: [subject] }
          : { name, subjects: [`${vertex.sink.subject}.*`] },
    })
  }
  if (!mayDeadLetter(chain)) return wanted
  wanted.push({
    ...common,
    mayBeCleared: true,
    id: deadLetters,
    identity: { job: jobId, sink: deadLetters, subtask: index, ...before },
    subject: deadLetterSubject(plan.job, subtask.id),
    stream: undefined,
    create: { name: deadLetterStream(plan.job), subjects: [deadLetterSubjects(plan.job)] },
  })
  return wanted
}

const mayDeadLetter = (chain: Chain): boolean =>
  chain.members.some(
    v =>
      (v.type === 'source' &&
        v.source.type === 'jetstream-source' &&
        v.source.onRefused === 'dead-letter') ||
      (v.type === 'operator' && v.actor.onError === 'dead-letter'),
  )

/** Stream names hold no dots, spaces or wildcards. */
const streamNameOf = (id: string): string => token(id.toUpperCase())
