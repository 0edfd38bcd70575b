/**
 * Back-pressure of one subtask: open while every output has room. The per-record loop reads one field.
 */
export class Gate {
  private closedBy = 0
  constructor(private readonly onOpen: () => void) {}

  get closed(): boolean {
    return this.closedBy > 0
  }

  /** One output more, or one less, has no room. */
  change(closed: boolean): void {
    this.closedBy += closed ? 1 : -1
    if (!closed && this.closedBy === 0) this.onOpen()
  }
}
