/**
 * One process's connection to one server.
 *
 *   ML1. A request has exactly one outcome: its answer, or that nobody knows.
 *   ML2. A server that is killed takes the connection with it. Until the process notices, what it
 *        sends is lost; then all that had no answer fails at once, in order (NU3, NU4), and what it asks
 *        for fails until there is a connection again. So what is stored is in order of sending.
 *   ML3. While the server is down nobody is told anything: that is noticed by time limits, or when it
 *        is up again.
 *   ML4. What reaches a server that hangs is done when it goes on, also when its sender has given up
 *        long before.
 *   ML5. What a killed process had sent arrives, or from some message on none of it does.
 */
import { type StreamError, streamError } from '../../lib/errors.js'
import type { Connected, MemoryServer } from './memory-server.js'
import type { Fault, MemoryWire } from './memory-wire.js'

export class MemoryLink {
  /** The server's life that the process is connected to. */
  #life: number
  /** From the notice that a connection broke to the next connection. */
  #isBroken = false
  readonly #inFlight = new Set<() => void>()
  readonly #listeners = new Set<Connected>()
  readonly #stopListening: () => void

  constructor(
    private readonly wire: MemoryWire,
    private readonly server: MemoryServer,
  ) {
    this.#life = server.life
    this.#stopListening = server.listen({
      onCut: () => this.#tell(listener => listener.onCut()),
      onUp: () => wire.bring(() => this.#onBroken()),
      onGoOn: () => wire.bring(() => this.#tell(listener => listener.onGoOn())),
    })
  }

  /** Told in the process, but for `onCut`. Returns what ends the listening. */
  listen(listener: Connected): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Has a request served in its turn, or says that it waits at a server that hangs. */
  send(request: string, serve: (fault: Fault | undefined) => void, onWaiting: () => void): void {
    const { hooks, process } = this.wire.options
    const life = this.#life
    const arrive = (): void => {
      const fault = hooks.onRequest?.(process, request)
      serve(this.#isCut(life) ? 'lost' : fault)
      hooks.onServed?.(process, request)
    }
    this.wire.leave(() => {
      if (!process.isHeard) return
      if (!this.server.serve(arrive)) onWaiting()
    })
  }

  /** A request with an answer, or an error that says that its outcome is not known. */
  request<A>(
    request: string,
    serve: (torn: boolean) => A,
    onAnswer: (answer: A) => void,
    onUnknown: (error: StreamError) => void,
  ): void {
    const { wire } = this
    const life = this.#life
    const onBroken = (): void => settle(() => onUnknown(broken(request)))
    const settle = (tell: () => void): void => {
      if (this.#inFlight.delete(onBroken)) tell()
    }
    const timeOut = (): void => wire.timeOut(() => settle(() => onUnknown(unanswered(request))))
    const arrive = (fault: Fault | undefined): void => {
      const answer = fault === 'lost' ? undefined : { is: serve(fault === 'torn') }
      if (answer === undefined || fault !== undefined) timeOut()
      else {
        wire.arrive(() => {
          if (this.#isCut(life)) timeOut()
          else wire.options.process.enter(() => settle(() => onAnswer(answer.is)))
        })
      }
    }
    this.#inFlight.add(onBroken)
    if (this.#isBroken) wire.bring(onBroken)
    else this.send(request, arrive, timeOut)
  }

  #isCut(life: number): boolean {
    return this.server.isDown || this.server.life !== life
  }

  #onBroken(): void {
    // An earlier notice may have come late enough for this one, too.
    if (this.#life === this.server.life) return
    this.#isBroken = true
    for (const onBroken of [...this.#inFlight]) onBroken()
    this.wire.bring(() => this.#reconnect())
  }

  #reconnect(): void {
    // It may have gone again meanwhile.
    if (this.server.isDown || !this.#isBroken) return
    this.#isBroken = false
    this.#life = this.server.life
    this.#tell(listener => listener.onUp())
  }

  #tell(what: (listener: Connected) => void): void {
    if (!this.wire.options.process.alive) this.#stopListening()
    for (const listener of [...this.#listeners]) what(listener)
  }
}

const unanswered = (request: string): StreamError =>
  streamError('timed-out', `no answer to '${request}' in time`)

const broken = (request: string): StreamError =>
  streamError('unavailable', `the connection broke before an answer to '${request}'`)
