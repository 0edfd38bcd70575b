import { streamError } from '../../lib/errors.js'
import type { CoordinatorSettings } from '../../lib/protocol/coordinator.js'
import type { SubtaskState } from '../../lib/protocol/messages.js'
import { reportOf } from '../protocol/checkpoint-fixture.js'
import { Coordination, manifestOf, subtaskOf } from '../protocol/coordinator-fixture.js'

const subtaskOfWorker = { w1: 'a/0', w2: 'b/0' } as const

/**
 * A coordinator with the subtasks `a/0` (a source, on worker `w1`) and `b/0` (on `w2`). Orders are
 * told when they say something new, though they are repeated twice a second; statuses are not told.
 *
 * Understands `start`, `tick`, `cancel`, the store's answers `generation 1`, `generation 2 from 5`,
 * `mailboxes 1`, `id 1`, `committed 1`, `refused 1 parts-missing`, `no answer`, `no id`, `fenced`,
 * `ended`, `ask r1` of a person, and of a worker `joins`, `exits`, `stopped` and, of its subtask in a generation: `ready 1`,
 * `runs 1`, `reports 1/3`, `declines 1/3`, `publishes 1/3`, `at end 1`, `fails 1`.
 */
export const coordinatedJob = (more: Partial<CoordinatorSettings> = {}) => {
  const of = new Coordination(more)
  const told = new Map<string, string>()
  let isAtEnd = false

  const perform = (words: readonly string[]): unknown => {
    const [subject = '', verb = '', last = ''] = words
    const generation = of.state.phase.type === 'beginning' ? 0 : generationOf()
    switch (subject) {
      case 'start':
        return of.step({ type: 'started' })
      case 'tick':
        return of.tick(of.now)
      case 'cancel':
        return of.step({ type: 'cancel-requested' })
      case 'generation': {
        const restore = words[2] === 'from' ? manifestOf(Number(words[3])) : undefined
        return of.step({ type: 'generation-begun', generation: Number(verb), restore })
      }
      case 'mailboxes':
        return of.step({ type: 'mailboxes-ready', generation: Number(verb) })
      case 'id':
        return of.step({ type: 'epoch-allocated', generation, epoch: Number(verb) })
      case 'committed':
        return of.step({ type: 'committed', generation, epoch: Number(verb) })
      case 'refused': {
        const epoch = Number(verb)
        const reason = 'parts-missing'
        return of.step({ type: 'commit-refused', generation, epoch, reason, facts: last })
      }
      case 'ask':
        return of.step({ type: 'checkpoint-requested', request: verb })
      case 'no':
        if (verb === 'id') {
          const error = streamError('unavailable', 'Redis is out of reach')
          return of.step({ type: 'allocation-failed', generation, error })
        }
        return of.step({ type: 'generation-failed', error: streamError('timed-out', '') })
      case 'fenced':
        return of.step({ type: 'fenced', reason: 'term 2 owns the job' })
      case 'ended':
        return of.step({ type: 'job-ended' })
      case 'w1':
      case 'w2':
        return worker(subject, verb, words.slice(2))
      default:
        throw new Error(`no event: ${words.join(' ')}`)
    }
  }

  const generationOf = (): number => {
    const { phase } = of.state
    return 'generation' in phase ? phase.generation : 0
  }

  const worker = (name: 'w1' | 'w2', verb: string, rest: readonly string[]): unknown => {
    const subtask = subtaskOfWorker[name]
    if (verb === 'exits') return of.step({ type: 'worker-exited', worker: name, reason: 'killed' })
    if (verb === 'joins') return of.beat(name)
    if (verb === 'stopped') return of.beat(name, { stopped: true })
    const [generation = 0, epoch = 0] = (rest.at(-1) ?? '').split('/').map(Number)
    if (verb === 'at') isAtEnd = true
    const more: Readonly<Record<string, Partial<SubtaskState>>> = {
      ready: { phase: 'ready' },
      reports: { reports: [reportOf(subtask, epoch, generation)] },
      declines: { declines: [{ epoch, reason: 'its store is full' }] },
      publishes: { committed: epoch },
      fails: {
        phase: 'failed',
        error: { type: 'user-code', message: "actor 'b' threw: no", fatal: false },
      },
    }
    const ended = name === 'w1' && isAtEnd
    return of.beat(name, { generation, subtasks: [subtaskOf(subtask, { ended, ...more[verb] })] })
  }

  /** An order that repeats what the worker was told last is no news. */
  const isNews = (line: string): boolean => {
    const [name = '', order] = line.split(' shall ')
    if (order === undefined) return true
    const known = told.get(name) === order
    told.set(name, order)
    return !known
  }

  return (words: readonly string[], now: number): readonly string[] => {
    of.now = now
    perform(words)
    const news = of.told.filter(line => isNews(line) && !line.startsWith('status '))
    return together(news.map(line => line.replace(/^\(generation \d+ failed/, '(failed')))
  }
}

/** What both workers shall do is said once. */
const together = (lines: readonly string[]): readonly string[] =>
  lines
    .filter(line => !(line.startsWith('w2 ') && lines.includes(line.replace('w2', 'w1'))))
    .map(line =>
      line.startsWith('w1 ') && lines.includes(line.replace('w1', 'w2'))
        ? line.replace('w1', 'both')
        : line,
    )

/** The same, brought to where generation 1 runs from nothing, at 40 ms. */
export const runningJob = (more: Partial<CoordinatorSettings> = {}) => {
  const perform = coordinatedJob(more)
  for (const [now, event] of [
    [0, 'start'],
    [5, 'generation 1'],
    [10, 'w1 joins'],
    [15, 'w2 joins'],
    [20, 'mailboxes 1'],
    [30, 'w1 ready 1'],
    [40, 'w2 ready 1'],
  ] as const) {
    perform(event.split(' '), now)
  }
  return perform
}
