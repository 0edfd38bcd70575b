/**
 * Judges a whole job before anything starts.
 *
 * Every problem is reported, never the first only. A graph that comes out on the right is what
 * `plan` and everything behind it rely on.
 */
import * as E from 'fp-ts/lib/Either.js'
import { maxParallelismMax } from '../protocol/key-group.js'
import { streamNameCharsMax, token } from '../protocol/names.js'
import { definitionProblems } from './definition-rules.js'
import type { JobGraph, Vertex } from './graph.js'
import type { Limits } from './limits.js'
import { describe, type Problem, quote } from './problem.js'
import { replayOrderProblems } from './replay-order.js'
import { integer, name, oneOf, optional, problem } from './rules.js'
import { checkpointRule, limitsRule, restartRule, stateBackendRule } from './settings-rules.js'
import { labelOf, structureProblems } from './structure.js'

/** Answers all problems of a graph, or the graph itself if it has none. */
export const validate = (graph: JobGraph): E.Either<readonly Problem[], JobGraph> => {
  const problems = [
    ...(graph.problems ?? []),
    ...name('job.name', graph.name),
    ...settingsProblems(graph),
    ...graph.vertices.flatMap((vertex, index) => vertexProblems(graph, vertex, index)),
    ...graphDefinitionProblems(graph),
    ...sharedSubjectProblems(graph),
    ...structureProblems(graph),
    ...replayOrderProblems(graph),
  ]
  return problems.length === 0 ? E.right(graph) : E.left(problems)
}

const keyGroups = integer(1, maxParallelismMax)

const settingsProblems = (graph: JobGraph): readonly Problem[] => [
  ...keyGroups('job.maxParallelism', graph.maxParallelism),
  ...oneOf('strict', 'process-crash', 'none')('job.durability', graph.durability),
  ...oneOf('memory', 'file')('job.mailboxStorage', graph.mailboxStorage),
  ...optional(checkpointRule)('checkpoint', graph.checkpoint),
  ...optional(restartRule)('restart', graph.settings?.restart),
  ...optional(stateBackendRule)('stateBackend', graph.settings?.stateBackend),
  ...limitsRule('limits', graph.limits),
  ...limitPairs.flatMap(pair => pairProblems(graph.limits, pair)),
]

interface LimitPair {
  readonly larger: keyof Limits
  readonly times: number
  readonly smaller: keyof Limits
  readonly next: string
}

const limitPairs: readonly LimitPair[] = [
  {
    larger: 'channelBytesMax',
    times: 2,
    smaller: 'frameBytesMax',
    next: 'A channel needs room for one frame under way and one being filled.',
  },
  {
    larger: 'heartbeatTimeoutMs',
    times: 3,
    smaller: 'heartbeatMs',
    next: 'One lost heartbeat must not look like a dead worker.',
  },
]

const pairProblems = (
  limits: Limits,
  { larger, times, smaller, next }: LimitPair,
): readonly Problem[] => {
  const high: unknown = limits?.[larger]
  const low: unknown = limits?.[smaller]
  if (typeof high !== 'number' || typeof low !== 'number' || !(high < times * low)) return []
  return problem(`limits.${larger}`, `at least ${times} × ${smaller} (${times * low})`, high, next)
}

const vertexProblems = (graph: JobGraph, vertex: Vertex, index: number): readonly Problem[] => {
  const path = labelOf(vertex, index)
  // The name of an actor is reported with the actor.
  const named = vertex.type === 'operator' && vertex.id === vertex.actor.name
  return [
    ...(named ? [] : name(`${path}.id`, vertex.id)),
    ...lengthProblems(path, graph, vertex),
    ...parallelismProblems(path, graph, vertex),
  ]
}

// What a mailbox's stream name holds besides the two names: `SLUICE_`, a generation, an index.
const mailboxNameCharsMax = streamNameCharsMax - 'SLUICE__4294967295__32768'.length

/** Both names fit into the name of a mailbox's stream, which a server bounds. */
const lengthProblems = (path: string, graph: JobGraph, vertex: Vertex): readonly Problem[] => {
  // A source has no mailbox.
  if (vertex.type === 'source' || typeof graph.name !== 'string' || typeof vertex.id !== 'string')
    return []
  if (name('', graph.name).length > 0 || name('', vertex.id).length > 0) return []
  const chars = token(graph.name).length + token(vertex.id).length
  if (chars <= mailboxNameCharsMax) return []
  return [
    {
      path: `${path}.id`,
      expected: `at most ${mailboxNameCharsMax} characters together with the job's name, escaped`,
      found: `${chars}`,
      next: 'Shorten one; each byte that is no letter, digit or "-" counts three.',
    },
  ]
}

const parallelismProblems = (
  path: string,
  graph: JobGraph,
  { type, parallelism }: Vertex,
): readonly Problem[] => {
  const at = `${path}.parallelism`
  const wrong = integer(1)(at, parallelism)
  if (wrong.length > 0) return wrong
  if (type === 'source' && parallelism > 1)
    return problem(
      at,
      '1, because one stream has one reader',
      parallelism,
      'Use several sources, each with its own subject.',
    )
  // Against a maxParallelism that is wrong itself nothing can be said.
  if (keyGroups('', graph.maxParallelism).length > 0 || parallelism <= graph.maxParallelism)
    return []
  return problem(
    at,
    `at most maxParallelism ${graph.maxParallelism}`,
    parallelism,
    'Lower it, or raise maxParallelism if the job has not run yet.',
  )
}

/** Each definition is judged once, however often it is used. */
const graphDefinitionProblems = (graph: JobGraph): readonly Problem[] => {
  const seen = new Set<object>()
  return graph.vertices.flatMap((vertex, index) => {
    const definition = definitionOf(vertex)
    if (seen.has(definition)) return []
    seen.add(definition)
    return definitionProblems(definitionLabel(vertex, index), vertex)
  })
}

const definitionOf = (vertex: Vertex): object => {
  if (vertex.type === 'operator') return vertex.actor
  return vertex.type === 'source' ? vertex.source : vertex.sink
}

const definitionLabel = (vertex: Vertex, index: number): string => {
  if (vertex.type !== 'operator') return labelOf(vertex, index)
  const actorName: unknown = vertex.actor.name
  return typeof actorName === 'string' && actorName !== ''
    ? `actor ${quote(actorName)}`
    : `actor #${index + 1}`
}

/** One writer owns a subject: two would each refuse what the other has published. */
const sharedSubjectProblems = (graph: JobGraph): readonly Problem[] => {
  const owners = new Map<string, string>()
  return graph.vertices.flatMap((vertex, index) => {
    if (vertex.type !== 'sink') return []
    const path = labelOf(vertex, index)
    const subjects = subjectsOf(vertex)
    const taken = subjects.find(subject => owners.has(subject))
    const owner = taken === undefined ? undefined : owners.get(taken)
    for (const subject of subjects) owners.set(subject, path)
    if (owner === undefined) return []
    const expected = 'a subject that no other sink of the job publishes on'
    const found = `${describe(taken)}, which ${owner} publishes on too`
    return [{ path: `${path}.subject`, expected, found, next: 'Give each sink its own subject.' }]
  })
}

const subjectsOf = ({
  sink,
  parallelism,
}: Extract<Vertex, { type: 'sink' }>): readonly string[] => {
  if (typeof sink.subject !== 'string') return []
  if (!(parallelism > 1 && parallelism <= maxParallelismMax)) return [sink.subject]
  return Array.from({ length: parallelism }, (_, index) => `${sink.subject}.${index}`)
}
