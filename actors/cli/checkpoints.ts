/** `sluice checkpoints`: what is known of a job's checkpoints, and which of them are kept. */
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type { HistoryEntry, JobStore } from '../../lib/ports/job-store.js'
import type { Manifest } from '../../lib/protocol/manifest.js'
import { withStore } from '../deploy.js'
import { exitCodes } from '../ipc.js'
import type { Printer } from './output.js'
import { unknownJob } from './questions.js'

/** What the store knows of a job's checkpoints, newest first. */
interface Known {
  readonly history: readonly HistoryEntry[]
  readonly kept: readonly Manifest[]
}

/** Shows the finished attempts of a job, or one with what each subtask took. */
export const checkpointsCommand = async (
  job: string,
  id: string | undefined,
  redisUrl: string,
  printer: Printer,
): Promise<number> => {
  const known = await withStore(redisUrl, store => read(store, job))
  if (E.isLeft(known)) {
    printer.error(known.left)
    return exitCodes.failed
  }
  const kept = known.right.kept.map(({ epoch, completedAt }) => ({ epoch, completedAt }))
  if (id === undefined) {
    printer.result({ job, kept, checkpoints: known.right.history }, tableOf(job, known.right))
    return exitCodes.ok
  }
  const entry = known.right.history.find(({ epoch }) => String(epoch) === id)
  if (entry === undefined) {
    printer.error(notThere(job, id, known.right))
    return exitCodes.failed
  }
  const isKept = kept.some(({ epoch }) => epoch === entry.epoch)
  printer.result({ job, kept: isKept, checkpoint: entry }, detailsOf(job, entry, isKept))
  return exitCodes.ok
}

const read = async (store: JobStore, job: string): Promise<E.Either<StreamError, Known>> => {
  const history = await store.history(job)()
  if (E.isLeft(history)) return history
  const kept = await store.checkpoints(job)()
  if (E.isLeft(kept)) return kept
  if (history.right.length + kept.right.length > 0)
    return E.right({ history: history.right, kept: kept.right })
  const record = await store.describe(job)()
  if (E.isLeft(record)) return record
  return record.right === undefined ? E.left(unknownJob(job)) : E.right({ history: [], kept: [] })
}

const notThere = (job: string, id: string, { history }: Known): StreamError => {
  const ids = history.map(({ epoch }) => epoch)
  const next = ids.length === 0 ? {} : { next: `It knows ${ids.join(', ')}.` }
  return streamError('missing', `the history of job '${job}' has no checkpoint ${id}`, next)
}

/** Columns as wide as their widest cell; the last one is not padded. */
const columns = (rows: readonly (readonly string[])[]): string => {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map(row => (row[i] ?? '').length)))
  return rows
    .map(row =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const tableOf = (job: string, { history, kept }: Known): string => {
  const keptIds = kept.map(({ epoch }) => epoch)
  const keeps = keptIds.length === 0 ? 'keeps none' : `keeps ${keptIds.join(', ')}`
  if (history.length === 0) return `job '${job}' has no checkpoints in its history; it ${keeps}`
  const head = [
    ...['id', 'status', 'triggered', 'took', 'state', 'written', 'inline', 'slowest', 'reason'],
  ]
  const rows = history.map(entry => [
    String(entry.epoch),
    keptIds.includes(entry.epoch) ? `${entry.status}, kept` : entry.status,
    timeOf(entry.triggeredAt),
    ms(entry.durationMs),
    bytes(entry.bytes),
    entry.writtenBytes === undefined ? '-' : bytes(entry.writtenBytes),
    bytes(entry.inlineBytes ?? 0),
    slowestOf(entry),
    entry.reason ?? '',
  ])
  return `job '${job}' ${keeps}\n${columns([head, ...rows])}`
}

const detailsOf = (job: string, entry: HistoryEntry, isKept: boolean): string => {
  const { epoch, generation, status, triggeredAt, durationMs, subtasks = [], reason } = entry
  const facts = [
    `checkpoint ${epoch} of job '${job}': ${status}${isKept ? ', kept' : ''}`,
    `generation ${generation}, triggered ${timeOf(triggeredAt)}, took ${ms(durationMs)}, state ${bytes(entry.bytes)}`,
    ...(reason === undefined ? [] : [`reason: ${reason}`]),
  ]
  if (subtasks.length === 0) return facts.join('\n')
  const head = ['subtask', 'state', 'written', 'inline', 'alignment', 'sync', 'async']
  const rows = subtasks.map(subtask => [
    subtask.subtask,
    bytes(subtask.bytes),
    bytes(subtask.writtenBytes),
    bytes(subtask.inlineBytes ?? 0),
    ms(subtask.alignmentMs),
    ms(subtask.syncMs),
    ms(subtask.asyncMs),
  ])
  const troubles = subtasks.flatMap(({ subtask, copyTrouble }) =>
    copyTrouble === undefined ? [] : [`${subtask}: ${copyTrouble}`],
  )
  return [...facts, columns([head, ...rows]), ...troubles].join('\n')
}

const slowestOf = ({ subtasks = [] }: HistoryEntry): string => {
  const timed = subtasks.map(s => ({ name: s.subtask, ms: s.alignmentMs + s.syncMs + s.asyncMs }))
  const slowest = timed.toSorted((a, b) => b.ms - a.ms)[0]
  return slowest === undefined ? '-' : `${slowest.name} ${ms(slowest.ms)}`
}

const timeOf = (at: number): string => new Date(at).toISOString()

const ms = (value: number): string => `${Math.round(value)} ms`

const bytes = (value: number): string => `${value} B`
