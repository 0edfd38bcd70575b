/** Whether a server in memory runs, and what its clients notice when it does not. */

/** Who must know what becomes of a server, or of the connection to it. */
export interface Connected {
  /** Nothing gets through any more. */
  onCut(): void
  /** New connections are taken. */
  onUp(): void
  /** It goes on after it hung: the connections are the same. */
  onGoOn(): void
}

export class MemoryServer {
  readonly #connected = new Set<Connected>()
  #waiting: (() => void)[] | undefined
  #down = false
  #life = 1

  /** Whether nothing reaches it, and nothing comes from it. */
  get isDown(): boolean {
    return this.#down
  }

  /** Whether it stands still, as after SIGSTOP: what reaches it waits. */
  get isHung(): boolean {
    return this.#waiting !== undefined
  }

  /** How many times it has been started, or gone. A request or an answer of another life is lost. */
  get life(): number {
    return this.#life
  }

  setDown(down: boolean): void {
    if (down === this.#down) return
    this.#down = down
    if (down) this.#life += 1
    this.#tell(connected => (down ? connected.onCut() : connected.onUp()))
  }

  /** A server that goes on does first, in order, what has reached it meanwhile. */
  setHung(hung: boolean): void {
    if (hung === this.isHung) return
    const waiting = this.#waiting ?? []
    this.#waiting = hung ? [] : undefined
    for (const serve of waiting) serve()
    if (!hung && !this.#down) this.#tell(connected => connected.onGoOn())
  }

  /** Serves a request now, or when it goes on. Returns whether it is served already. */
  serve(request: () => void): boolean {
    if (this.#waiting === undefined) request()
    else this.#waiting.push(request)
    return this.#waiting === undefined
  }

  /**
   * Kills and starts it; `change` is what it forgets meanwhile. What has reached it and waits is
   * never done.
   */
  restart(change: () => void = () => {}): void {
    this.#life += 1
    this.setHung(false)
    if (!this.#down) this.#tell(connected => connected.onCut())
    change()
    if (!this.#down) this.#tell(connected => connected.onUp())
  }

  /** Returns what ends the listening. */
  listen(connected: Connected): () => void {
    this.#connected.add(connected)
    return () => {
      this.#connected.delete(connected)
    }
  }

  #tell(what: (connected: Connected) => void): void {
    for (const connected of [...this.#connected]) what(connected)
  }
}
