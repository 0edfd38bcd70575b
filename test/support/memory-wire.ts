/**
 * One process's connection to a server: requests arrive in order of sending, answers in order of
 * answering, each a while later. What a killed process had sent still arrives.
 *
 *   MW1. A request has exactly one outcome: its answer, or that nobody knows.
 *   MW2. What is on its way when the server is killed is lost, requests and answers alike: the
 *        process learns at once that the connection broke.
 *   MW3. While the server is down nothing arrives at either end, and nobody is told: it is noticed
 *        by time limits only.
 *   MW4. What reaches a server that hangs is done when it goes on, also when its sender has given
 *        up long before.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import { MemoryServer } from './memory-server.js'
import type { MemoryProcess, VirtualTime } from './memory-time.js'

/**
 * What goes wrong with one request: it never arrives, its answer is lost, or, if it takes several
 * steps, only the first ones of them are done. A process that dies in between leaves the same.
 */
export type Fault = 'lost' | 'unanswered' | 'torn'

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
  /** The server at the other end: one that never fails, until something of a server uses the wire. */
  server = new MemoryServer()
  #arrivesAt = 0
  #answersAt = 0

  constructor(readonly options: WireOptions) {}

  /** Has a request served in its turn, unless it is lost. `onWaiting`: it has reached a server that hangs. */
  send(
    request: string,
    serve: (fault: Fault | undefined) => void,
    server = this.server,
    onWaiting: () => void = () => {},
  ): void {
    const { time, latencyMs, hooks, process } = this.options
    const { life } = server
    const arrive = (): void => {
      const fault = hooks.onRequest?.(process, request)
      serve(server.isDown || server.life !== life ? 'lost' : fault)
      hooks.onServed?.(process, request)
    }
    this.#arrivesAt = Math.max(this.#arrivesAt, time.now + latencyMs())
    time.after(this.#arrivesAt - time.now, () => {
      if (!server.serve(arrive)) onWaiting()
    })
  }

  /** Brings something to the process, behind all that is on its way there. */
  bring(callback: () => void): void {
    this.#arrive(() => this.options.process.enter(callback))
  }

  /** A request with an answer, or an error that says that its outcome is not known. */
  request<A>(
    request: string,
    serve: (torn: boolean) => A,
    onAnswer: (answer: A) => void,
    onUnknown: (error: StreamError) => void,
    server = this.server,
  ): void {
    const { process } = this.options
    const { life } = server
    let isOver = false
    const settle = (tell: () => void): void => {
      if (!isOver) tell()
      isOver = true
    }
    const timeOut = (): void => this.timeOut(() => settle(() => onUnknown(unanswered(request))))
    const unknown = (): void => {
      if (server.life === life) timeOut()
      else this.bring(() => settle(() => onUnknown(broken(request))))
    }
    const arrive = (fault: Fault | undefined): void => {
      const answer = fault === 'lost' ? undefined : { is: serve(fault === 'torn') }
      if (answer === undefined || fault !== undefined) unknown()
      else {
        this.#arrive(() => {
          if (server.isDown || server.life !== life) unknown()
          else process.enter(() => settle(() => onAnswer(answer.is)))
        })
      }
    }
    this.send(request, arrive, server, timeOut)
  }

  /** A request with an answer, as a task. */
  ask<A>(
    request: string,
    serve: (torn: boolean) => E.Either<StreamError, A>,
    server = this.server,
  ): TaskEither<StreamError, A> {
    return () =>
      new Promise(resolve => {
        this.request(request, serve, resolve, error => resolve(E.left(error)), server)
      })
  }

  #arrive(callback: () => void): void {
    const { time, latencyMs } = this.options
    this.#answersAt = Math.max(this.#answersAt, time.now + latencyMs())
    time.after(this.#answersAt - time.now, callback)
  }

  /** Tells the process, after the time limit, that the outcome of a request is not known. */
  timeOut(callback: () => void): void {
    const { time, timeoutMs, process } = this.options
    time.after(timeoutMs, () => process.enter(callback))
  }
}

const unanswered = (request: string): StreamError =>
  streamError('timed-out', `no answer to '${request}' in time`)

const broken = (request: string): StreamError =>
  streamError('unavailable', `the connection broke before an answer to '${request}'`)
