/**
 * The parent's end of the channel to its keeper.
 *
 * Invariants
 *   EC1. Every request is answered: by the keeper, by its end, or by the deadline.
 *   EC2. A keeper that ends unasked leaves nothing: what it last said to hold is ended from here.
 *   EC3. The channel does not keep this process alive; a request under way does, by its deadline.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { rm } from 'node:fs/promises'
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../../errors.js'
import type {
  Holding,
  KeeperMessage,
  KeeperRequest,
  NumberedRequest,
  ServerExit,
} from './keeper-messages.js'
import type { ServerName } from './options.js'
import { signalTo } from './process-id.js'

const ANSWER_DEADLINE_MS = 60_000
const STDERR_CHARS_MAX = 2_000

type Outcome = E.Either<StreamError, void>

/** A keeper process of this process's own. */
export class KeeperClient {
  readonly #child: ChildProcess
  readonly #pending = new Map<number, (outcome: Outcome) => void>()
  readonly #listeners = new Set<(exit: ServerExit) => void>()
  readonly #ended: Promise<void>
  #holding: Holding | undefined
  #lastId = 0
  #lastWords = ''
  #closing: Promise<Outcome> | undefined

  constructor(module = new URL('./keeper.js', import.meta.url)) {
    // Options for this process, such as a debugger or a loader, are not meant for the keeper.
    const { NODE_OPTIONS: _, ...env } = process.env
    this.#child = fork(module, [], {
      detached: true,
      execArgv: [],
      env,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.on('message', (message: KeeperMessage) => this.#receive(message))
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#lastWords = (this.#lastWords + chunk.toString()).slice(-STDERR_CHARS_MAX)
    })
    this.#ended = new Promise(resolve => {
      const onEnd = (how: string): void => {
        this.#onEnd(how).then(resolve, resolve)
      }
      this.#child.on('error', error => {
        if (this.#child.pid === undefined) onEnd(error.message)
      })
      // The exit may be seen before the last messages; the channel ends after them.
      const drained = new Promise(drain => this.#child.once('disconnect', drain))
      this.#child.once('exit', (code, signal) => {
        void drained.then(() => onEnd(signal ?? `code ${code}`))
      })
    })
    this.#letGo() // EC3
  }

  /** The keeper's process id; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  /** What the keeper last said to hold. */
  get holding(): Holding | undefined {
    return this.#holding
  }

  /** Calls back for each server that ends unasked, until the returned function is called. */
  onExit(listener: (exit: ServerExit) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Resolves when the keeper has carried it out. Left 'unavailable' without a keeper, or its own
   * error.
   */
  request(request: KeeperRequest): Promise<Outcome> {
    if (this.#closing !== undefined) {
      return Promise.resolve(E.left(streamError('unavailable', 'the servers have been stopped')))
    }
    return this.#ask(request)
  }

  /** Ends servers and keeper. Resolves when all are gone; again, too. */
  close(): Promise<Outcome> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<Outcome> {
    this.#child.ref()
    this.#child.channel?.ref()
    if (!this.#child.connected) {
      await this.#ended
      return E.right(undefined)
    }
    const outcome = await this.#ask({ type: 'close' })
    if (E.isLeft(outcome)) this.#child.kill('SIGKILL') // Then EC2 cleans up.
    await this.#ended
    return outcome
  }

  #ask(request: KeeperRequest): Promise<Outcome> {
    if (!this.#child.connected) return Promise.resolve(E.left(this.#gone()))
    this.#lastId += 1
    const numbered: NumberedRequest = { id: this.#lastId, request }
    return new Promise(resolve => {
      const settle = (outcome: Outcome): void => {
        clearTimeout(deadline)
        this.#pending.delete(numbered.id)
        resolve(outcome)
      }
      const deadline = setTimeout(() => {
        const message = `the keeper did not answer '${request.type}' in ${ANSWER_DEADLINE_MS} ms`
        settle(E.left(streamError('timed-out', message)))
      }, ANSWER_DEADLINE_MS)
      this.#pending.set(numbered.id, settle) // EC1
      this.#child.send(numbered, error => {
        if (error !== null) settle(E.left(this.#gone(error)))
      })
    })
  }

  #receive(message: KeeperMessage): void {
    switch (message.type) {
      case 'done':
        this.#pending.get(message.id)?.(E.right(undefined))
        return
      case 'failed':
        this.#pending.get(message.id)?.(E.left(message.error))
        return
      case 'holds':
        this.#holding = message.holding
        return
      case 'exited':
        for (const listener of this.#listeners) listener(message.exit)
        return
      case 'crashed':
        this.#lastWords = message.reason
    }
  }

  async #onEnd(how: string): Promise<void> {
    const wasAsked = this.#closing !== undefined
    if (!wasAsked && this.#lastWords === '') this.#lastWords = how
    const exits = await this.#cleanUp()
    for (const settle of [...this.#pending.values()]) settle(E.left(this.#gone()))
    if (wasAsked) return
    for (const exit of exits) for (const listener of this.#listeners) listener(exit)
  }

  /** EC2. After an orderly end there is nothing left to do. */
  async #cleanUp(): Promise<readonly ServerExit[]> {
    const holding = this.#holding
    if (holding === undefined) return []
    const exits: ServerExit[] = []
    const names: readonly ServerName[] = ['nats', 'redis']
    for (const server of names) {
      const pid = holding.servers[server]?.pid
      if (pid === undefined || !signalTo(pid, 'SIGKILL')) continue
      const log = `its keeper ended: ${this.#lastWords}`
      exits.push({ server, pid, code: null, signal: 'SIGKILL', log })
    }
    if (holding.isTemporary) {
      // A server may still be writing while it is being killed, hence the retries.
      await rm(holding.folder, { recursive: true, force: true, maxRetries: 10 })
    }
    return exits
  }

  #letGo(): void {
    this.#child.unref()
    this.#child.channel?.unref()
    if (this.#child.stderr !== null && 'unref' in this.#child.stderr) {
      const { stderr } = this.#child
      if (typeof stderr.unref === 'function') stderr.unref()
    }
  }

  #gone(cause?: Error): StreamError {
    const words = this.#lastWords.trim()
    const message = `the servers' keeper process has ended${words === '' ? '' : `: ${words}`}`
    return streamError('unavailable', message, {
      next: 'Start the servers again.',
      ...(cause === undefined ? {} : { cause }),
    })
  }
}
