/**
 * Judges one definition by itself: an actor, a source or a sink.
 *
 * Ids of sources and sinks are those of their vertices, which are judged with the graph.
 */
import { filterFault, streamNameFault, subjectFault } from '../protocol/names.js'
import type { Vertex } from './graph.js'
import { describe, type Problem } from './problem.js'
import {
  anything,
  codec,
  type FieldRules,
  fields,
  integer,
  isRecord,
  name,
  oneOf,
  opener,
  optional,
  problem,
  type Rule,
  synchronous,
  text,
} from './rules.js'

/** The problems of the definition that a vertex holds. */
export const definitionProblems = (path: string, vertex: Vertex): readonly Problem[] => {
  switch (vertex.type) {
    case 'operator':
      return actorRule(path, vertex.actor)
    case 'sink':
      return jetstreamSinkRule(path, vertex.sink)
    case 'source':
      return vertex.source.type === 'iterable-source'
        ? iterableSourceRule(path, vertex.source)
        : [...jetstreamSourceRule(path, vertex.source), ...spanProblems(path, vertex.source)]
  }
}

const policy = oneOf('fail', 'skip', 'dead-letter')

const actorRule = fields({
  type: anything,
  name,
  accepts: codec,
  emits: codec,
  state: optional(
    fields({
      codec,
      initial: synchronous('returns the state of a new key'),
      version: optional(integer(1)),
    }),
  ),
  receive: synchronous('handles one record'),
  onError: policy,
  onCheckpointComplete: optional(synchronous('hears of a completed checkpoint')),
  onCheckpointAborted: optional(synchronous('hears of an aborted checkpoint')),
})

const streamName = text(
  'the name of a JetStream stream',
  streamNameFault,
  'Pass the name as `nats stream ls` shows it.',
)

const sequence = integer(1, undefined, 'Stream sequences count from 1.')

const iso = /^(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/

const time = text(
  'a time in ISO 8601 with a zone',
  value => {
    const day = iso.exec(value)?.[1]
    if (day === undefined) return 'is not of that form'
    // A date that does not exist would be moved to one that does.
    const midnight = new Date(`${day}T00:00:00Z`)
    const exists = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day)
    return exists && !Number.isNaN(Date.parse(value)) ? undefined : 'does not exist'
  },
  'Write it like "2026-01-31T12:00:00Z".',
)

/** A record of which the field `at` says what other fields there are. */
const place =
  (places: Readonly<Record<string, FieldRules>>): Rule =>
  (path, value) => {
    const names = Object.keys(places)
    if (!isRecord(value) || typeof value.at !== 'string' || !names.includes(value.at)) {
      const found = isRecord(value) ? `at: ${describe(value.at)}` : describe(value)
      const expected = `{ at } with at one of ${names.map(at => `"${at}"`).join(', ')}`
      return [{ path, expected, found, next: 'Choose one of these.' }]
    }
    return fields({ at: anything, ...places[value.at] })(path, value)
  }

const jetstreamSourceRule = fields({
  type: anything,
  id: anything,
  stream: streamName,
  subject: optional(
    text(
      'a subject, wildcards allowed',
      filterFault,
      'Write it like "orders.*", or leave it out to read every message.',
    ),
  ),
  accepts: codec,
  start: place({ first: {}, last: {}, new: {}, sequence: { sequence }, time: { time } }),
  end: optional(place({ last: {}, sequence: { sequence } })),
  onRefused: policy,
})

/** A source that ends before it starts would finish without having read anything. */
const spanProblems = (
  path: string,
  source: { readonly start?: unknown; readonly end?: unknown },
): readonly Problem[] => {
  const from = isRecord(source.start) ? source.start.sequence : undefined
  const to = isRecord(source.end) ? source.end.sequence : undefined
  return typeof from === 'number' && typeof to === 'number' && to < from
    ? problem(`${path}.end.sequence`, `at least start.sequence ${from}`, to, 'Swap the two.')
    : []
}

const iterableSourceRule = fields({ type: anything, id: anything, open: opener })

const ownStream = 'SLUICE_'

const jetstreamSinkRule = fields({
  type: anything,
  id: anything,
  subject: text(
    'a subject to publish on',
    subjectFault,
    'Write it like "orders.paid", without spaces and wildcards.',
  ),
  delivery: optional(oneOf('transactional', 'idempotent')),
  stream: optional(
    text(
      'the name of a JetStream stream',
      value =>
        streamNameFault(value) ??
        (value.startsWith(ownStream) ? `starts with the reserved ${ownStream}` : undefined),
      'Choose a name of letters, digits, "_" and "-".',
    ),
  ),
})
