/**
 * One process's connections to servers: requests arrive in order of sending, answers in order of
 * answering, each a while later. What a killed process had sent still arrives.
 */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { StreamError } from '../../lib/errors.js'
import { MemoryLink } from './memory-link.js'
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
  readonly #links = new Map<MemoryServer, MemoryLink>()
  #arrivesAt = 0
  #answersAt = 0

  constructor(readonly options: WireOptions) {}

  /** The connection to a server, which is made again whenever it breaks. */
  linkTo(server: MemoryServer): MemoryLink {
    const known = this.#links.get(server)
    if (known !== undefined) return known
    const link = new MemoryLink(this, server)
    this.#links.set(server, link)
    return link
  }

  /** Has a request served in its turn, unless it is lost. */
  send(request: string, serve: (fault: Fault | undefined) => void, server = this.server): void {
    this.linkTo(server).send(request, serve, () => {})
  }

  /** A request with an answer, or an error that says that its outcome is not known. */
  request<A>(
    request: string,
    serve: (torn: boolean) => A,
    onAnswer: (answer: A) => void,
    onUnknown: (error: StreamError) => void,
    server = this.server,
  ): void {
    this.linkTo(server).request(request, serve, onAnswer, onUnknown)
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

  /** Brings something to the process, behind all that is on its way there. */
  bring(callback: () => void): void {
    this.arrive(() => this.options.process.enter(callback))
  }

  /** Tells the process, after the time limit, that the outcome of a request is not known. */
  timeOut(callback: () => void): void {
    const { time, timeoutMs, process } = this.options
    time.after(timeoutMs, () => process.enter(callback))
  }

  /** Happens at the server, behind all that is on its way there. */
  leave(callback: () => void): void {
    const { time, latencyMs } = this.options
    this.#arrivesAt = Math.max(this.#arrivesAt, time.now + latencyMs())
    time.after(this.#arrivesAt - time.now, callback)
  }

  /** Happens at the machine of the process, behind all that is on its way there. */
  arrive(callback: () => void): void {
    const { time, latencyMs } = this.options
    this.#answersAt = Math.max(this.#answersAt, time.now + latencyMs())
    time.after(this.#answersAt - time.now, callback)
  }
}
