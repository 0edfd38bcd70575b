/** Whether a server in memory runs, and what its clients notice when it does not. */

/** A client's connection, as the server's end of it. */
export interface Connected {
  /** The connection broke. */
  onCut(): void
  /** The server takes connections again. */
  onUp(): void
}

export class MemoryServer {
  readonly #connected = new Set<Connected>()
  #down = false
  #life = 1

  /** Whether nothing reaches it, and nothing comes from it. */
  get isDown(): boolean {
    return this.#down
  }

  /** How many times it has been started. A request or an answer of another life is lost. */
  get life(): number {
    return this.#life
  }

  setDown(down: boolean): void {
    if (down === this.#down) return
    this.#down = down
    this.#tell(connected => (down ? connected.onCut() : connected.onUp()))
  }

  /** Kills and starts it; `change` is what it forgets meanwhile. */
  restart(change: () => void = () => {}): void {
    this.#life += 1
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
