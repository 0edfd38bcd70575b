/**
 * Where things live: stream names and subjects of a job, made of escaped names only.
 *
 * The generation is part of every data subject, so that a zombie writes where nobody reads.
 */
import type { ChannelId, Generation, SubtaskId, WorkerId } from './ids.js'
import { token } from './names.js'

/** The id of one parallel instance of a chain. */
export const subtaskId = (chain: string, index: number): SubtaskId => `${chain}/${index}`

/** The index comes after the last slash: names may hold slashes themselves. */
export const parseSubtaskId = (
  id: SubtaskId,
): { readonly chain: string; readonly index: number } => {
  const slash = id.lastIndexOf('/')
  return { chain: id.slice(0, slash), index: Number(id.slice(slash + 1)) }
}

const subtaskTokens = (id: SubtaskId): string => {
  const { chain, index } = parseSubtaskId(id)
  return `${token(chain)}.${index}`
}

/** The id of one channel; unique within a job. */
export const channelId = (edge: number, from: SubtaskId, to: SubtaskId): ChannelId =>
  `${edge}:${from}>${to}`

/** Streams that belong to a job, mailboxes and all. */
export const jobStreamPrefix = (job: string): string => `SLUICE_${token(job)}_`

/** Mailboxes of one generation. */
export const generationStreamPrefix = (job: string, generation: Generation): string =>
  `${jobStreamPrefix(job)}G${generation}_`

/** Generation of a mailbox's stream name; undefined for the job's other streams. */
export const generationOfStream = (job: string, stream: string): Generation | undefined => {
  const match = /^G(\d+)_/.exec(stream.slice(jobStreamPrefix(job).length))
  return match?.[1] === undefined ? undefined : Number(match[1])
}

/** The stream that is a subtask's mailbox. */
export const mailboxStream = (job: string, generation: Generation, to: SubtaskId): string => {
  const { chain, index } = parseSubtaskId(to)
  return `${generationStreamPrefix(job, generation)}${token(chain)}_${index}`
}

const generationSubject = (job: string, generation: Generation): string =>
  `sluice.${token(job)}.g${generation}`

/** Every subject that a mailbox captures. */
export const mailboxSubjects = (job: string, generation: Generation, to: SubtaskId): string =>
  `${generationSubject(job, generation)}.d.${subtaskTokens(to)}.>`

/** Where the frames of one channel travel. */
export const channelSubject = (
  job: string,
  generation: Generation,
  edge: number,
  from: SubtaskId,
  to: SubtaskId,
): string =>
  `${generationSubject(job, generation)}.d.${subtaskTokens(to)}.${subtaskTokens(from)}.${edge}`

/** Where a writer hears how far its channels were processed. */
export const creditSubject = (job: string, generation: Generation, writer: SubtaskId): string =>
  `${generationSubject(job, generation)}.k.${subtaskTokens(writer)}`

/** Where a reader hears that a blocked writer asks for its credit again. */
export const creditRequestSubject = (
  job: string,
  generation: Generation,
  reader: SubtaskId,
): string => `${generationSubject(job, generation)}.q.${subtaskTokens(reader)}`

/** Where the coordinator listens. */
export const coordinatorSubject = (job: string): string => `sluice.${token(job)}.coordinator`

/** Where a worker hears its orders. */
export const ordersSubject = (job: string, worker: WorkerId): string =>
  `sluice.${token(job)}.worker.${token(worker)}`

/** Where a coordinator that holds snapshots in its memory is asked for them. */
export const partsSubject = (job: string): string => `sluice.${token(job)}.parts`

/** Where somebody who asked the coordinator for a checkpoint hears its answers. */
export const answerSubject = (job: string, request: string): string =>
  `sluice.${token(job)}.answer.${token(request)}`

/** The stream of a job's dead letters. */
export const deadLetterStream = (job: string): string => `${jobStreamPrefix(job)}DEAD`

/** Every subject that it captures. */
export const deadLetterSubjects = (job: string): string => `sluice.${token(job)}.dead.>`

/** Where one subtask publishes its dead letters: it is the only writer there. */
export const deadLetterSubject = (job: string, subtask: SubtaskId): string =>
  `sluice.${token(job)}.dead.${subtaskTokens(subtask)}`

/** Says in NATS that the job exists, so that an empty Redis is noticed (P10). */
export const identityStream = (job: string): string => `${jobStreamPrefix(job)}ID`

/** The subject of the identity stream; nothing is published on it. */
export const identitySubject = (job: string): string => `sluice.${token(job)}.identity`
