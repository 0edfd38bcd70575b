/**
 * One process's connection to a server: requests arrive in order of sending, answers in order of
 * answering, each a while later. What a killed process had sent still arrives.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import type { MemoryProcess, VirtualTime } from './memory-time.js'

/** What goes wrong with one request: it never arrives, or its answer is lost. */
export type Fault = 'lost' | 'unanswered'

/** Where a test looks on, and takes part. */
export interface Hooks {
  /** Before a request is served; may kill, freeze, or say what goes wrong. */
  onRequest?: (process: MemoryProcess, request: string) => Fault | undefined
  /** After it was served, before the answer is on its way. */
  onServed?: (process: MemoryProcess, request: string) => void
}

export interface WireOptions {
  readonly time: VirtualTime
  readonly process: MemoryProcess
  readonly latencyMs: () => number
  /** A request without an answer for so long has an unknown outcome. */
  readonly timeoutMs: number
  readonly hooks: Hooks
}

export class MemoryWire {
  #arrivesAt = 0
  #answersAt = 0

  constructor(readonly options: WireOptions) {}

  /** Has a request served in its turn, unless it is lost. */
  send(request: string, serve: (fault: Fault | undefined) => void): void {
    const { time, latencyMs, hooks, process } = this.options
    this.#arrivesAt = Math.max(this.#arrivesAt, time.now + latencyMs())
    time.after(this.#arrivesAt - time.now, () => {
      const fault = hooks.onRequest?.(process, request)
      serve(fault)
      hooks.onServed?.(process, request)
    })
  }

  /** Brings something to the process, behind all that is on its way there. */
  bring(callback: () => void): void {
    const { time, latencyMs, process } = this.options
    this.#answersAt = Math.max(this.#answersAt, time.now + latencyMs())
    time.after(this.#answersAt - time.now, () => process.enter(callback))
  }

  /** Tells the process, after the time limit, that the outcome of a request is not known. */
  timeOut(callback: () => void): void {
    const { time, timeoutMs, process } = this.options
    time.after(timeoutMs, () => process.enter(callback))
  }

  /** A request with an answer, as a task. */
  ask<A>(request: string, serve: () => E.Either<StreamError, A>): TaskEither<StreamError, A> {
    return () =>
      new Promise(resolve => {
        this.send(request, fault => {
          const answer = fault === 'lost' ? undefined : serve()
          if (answer !== undefined && fault === undefined) this.bring(() => resolve(answer))
          else this.timeOut(() => resolve(E.left(unknownOutcome(request))))
        })
      })
  }
}

const unknownOutcome = (request: string): StreamError =>
  streamError('timed-out', `no answer to '${request}' in time`)
