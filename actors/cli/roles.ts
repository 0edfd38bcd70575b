/** `sluice coordinator` and `sluice worker`: one role in this process, supervised or by hand. */
import { randomUUID } from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../../lib/errors.js'
import { warningsOf } from '../../lib/job/idle.js'
import {
  type Running,
  runCoordinator,
  runWorker,
  type Servers,
  type WorkerOutcome,
} from '../deploy.js'
import { describeNote, progressOf } from '../describe.js'
import { exitCodes, type FromChild, ToChild } from '../ipc.js'
import { loadJob } from '../load-job.js'
import { nudgeWorkerExited } from '../nudges.js'
import type { Beginning } from './jobs.js'
import type { Printer } from './output.js'

/** Told to the supervisor if there is one, printed otherwise. */
const report = (printer: Printer, message: FromChild): void => {
  if (process.send !== undefined) {
    if (process.connected) process.send(message)
    return
  }
  if (message.type === 'progress' || message.type === 'note') printer.event(message)
  else if (message.type === 'trouble') printer.say(message.text)
  else if (message.type === 'ended') {
    const { status, reason } = message
    printer.result({ status, reason }, `the job is ${status}`)
  }
}

const reportError = (printer: Printer, error: StreamError): number => {
  const { type, message, next } = error
  if (process.send === undefined) printer.error(error)
  else report(printer, { type: 'error', error: { type, message, next } })
  return isHopeless(error) ? exitCodes.invalid : exitCodes.failed
}

/** Set to 1: actors handle each record twice (`--twice`), in all processes of the job. */
export const twiceVariable = 'SLUICE_RUN_TWICE'

/** Whether a person has to do something before another try makes sense. */
const isHopeless = ({ type }: StreamError): boolean =>
  type === 'invalid' ||
  type === 'refused' ||
  type === 'conflict' ||
  type === 'lost' ||
  type === 'corrupt'

/** Ends the role when its supervisor goes away or says so, or when a person does. */
const onLeave = (leave: () => void, onMessage: (message: ToChild) => void): void => {
  if (process.send === undefined) {
    process.once('SIGINT', leave)
    process.once('SIGTERM', leave)
    return
  }
  process.on('disconnect', () => process.exit(exitCodes.failed))
  // A supervisor that died while this process was still starting: nobody will say so any more.
  if (!process.connected) process.exit(exitCodes.failed)
  // The terminal's Ctrl-C reaches every process of its group; the supervisor says when to go.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => {})
  process.on('message', raw => {
    const message = ToChild.decode(raw)
    if (E.isLeft(message)) return
    if (message.right.type === 'shut-down') leave()
    else onMessage(message.right)
  })
}

const leaving = (): { readonly left: Promise<'left'>; readonly leave: () => void } => {
  let leave = (): void => {}
  const left = new Promise<'left'>(resolve => {
    leave = () => resolve('left')
  })
  return { left, leave: () => leave() }
}

/** A defect, or a promise nobody waited for: this process is not to be trusted any further. */
const onDefect = (printer: Printer): void => {
  const crash = (thrown: unknown): void => {
    const debug = process.env.SLUICE_DEBUG !== undefined && thrown instanceof Error
    const where = debug ? `\n${thrown.stack}` : ''
    report(printer, { type: 'trouble', text: `crashed: ${messageOf(thrown)}${where}` })
    process.exit(exitCodes.failed)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
}

const progressEveryMs = 250

/** Runs a coordinator until the job ends, another one owns it, or somebody says to leave. */
export const coordinatorCommand = async (
  file: string,
  options: Beginning & { readonly servers: Servers },
  printer: Printer,
): Promise<number> => {
  const { left, leave } = leaving()
  onDefect(printer)
  let notify: (worker: string, reason: string) => void = () => {}
  onLeave(leave, message => {
    if (message.type === 'worker-exited') notify(message.worker, message.reason)
  })
  const plan = await loadJob(file)
  if (E.isLeft(plan)) return reportError(printer, plan.left)
  const { job, graph } = plan.right
  if (process.send === undefined)
    for (const text of warningsOf(graph)) printer.say(`configuration: ${text}`)
  let lastProgress = 0
  let lastPhase: string | undefined
  const running = await runCoordinator({
    ...options,
    plan: plan.right,
    run: process.env.SLUICE_RUN ?? randomUUID(),
    trouble: text => report(printer, { type: 'trouble', text }),
    onNote: note =>
      report(printer, { type: 'note', name: note.type, text: describeNote(note), facts: note }),
    onState: state => {
      const now = performance.now()
      // The supervisor acts on the phase.
      if (state.phase.type === lastPhase && now - lastProgress < progressEveryMs) return
      lastProgress = now
      lastPhase = state.phase.type
      report(printer, { type: 'progress', progress: progressOf(state) })
    },
  })
  if (E.isLeft(running)) return reportError(printer, running.left)
  if (running.right.claimed) report(printer, { type: 'claimed' })
  notify = (worker, reason) => nudgeWorkerExited(running.right.bus, job, worker, reason)
  const outcome = await Promise.race([running.right.ended, left])
  await running.right.close()
  if (outcome === 'left') return exitCodes.ok
  if (outcome.type === 'failed') return reportError(printer, outcome.error)
  if (outcome.type === 'fenced') {
    const why = `another coordinator owns job '${job}' now: ${outcome.reason}`
    reportError(printer, streamError('fenced', why))
    return exitCodes.fenced
  }
  report(printer, { type: 'ended', status: outcome.status, reason: outcome.reason })
  return outcome.status === 'failed' ? exitCodes.failed : exitCodes.ok
}

/** Runs a worker until the job ends or somebody says to leave. */
export const workerCommand = async (
  file: string,
  options: {
    readonly servers: Servers
    readonly slots: number
    readonly only: readonly string[]
  },
  printer: Printer,
): Promise<number> => {
  const { left, leave } = leaving()
  onDefect(printer)
  onLeave(leave, () => {})
  const plan = await loadJob(file)
  if (E.isLeft(plan)) return reportError(printer, plan.left)
  const known = new Set(plan.right.subtasks.map(s => s.id))
  const unknown = options.only.filter(id => !known.has(id))
  if (unknown.length > 0) {
    return reportError(
      printer,
      streamError('invalid', `job '${plan.right.job}' has no subtask ${unknown.join(', ')}`, {
        next: `Choose from: ${[...known].join(', ')}.`,
      }),
    )
  }
  const running = await runWorker({
    ...options,
    plan: plan.right,
    worker: process.env.SLUICE_WORKER ?? `worker-${randomUUID().slice(0, 8)}`,
    freeze: process.env.NODE_ENV !== 'production',
    twice: process.env[twiceVariable] === '1',
    isSupervised: process.send !== undefined,
    trouble: text => report(printer, { type: 'trouble', text }),
  })
  if (E.isLeft(running)) return reportError(printer, running.left)
  return endWorker(running.right, left, printer)
}

const endWorker = async (
  running: Running<WorkerOutcome>,
  left: Promise<'left'>,
  printer: Printer,
): Promise<number> => {
  const outcome = await Promise.race([running.ended, left])
  await running.close()
  if (outcome === 'left' || outcome.type === 'stopped') return exitCodes.ok
  return reportError(printer, outcome.error)
}
