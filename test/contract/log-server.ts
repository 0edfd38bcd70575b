/** A server behind an event log, and what may happen to it. */
import type { ExecutionContext } from 'ava'
import type { ControlBus } from '../../lib/ports/control-bus.js'
import type { EventLog } from '../../lib/ports/event-log.js'

/** What goes on around a restart. */
export interface Restart {
  /** Above which sequence the tail of a stream in files is lost, by name of the stream. */
  readonly loseAbove?: ReadonlyMap<string, number>
  /** Done by others before anybody who was connected is back. */
  readonly meanwhile?: (publish: (subject: string, text: string) => Promise<void>) => Promise<void>
}

/** One server for one test. Every change has happened when its promise resolves. */
export interface LogServer {
  readonly log: EventLog
  /** On the same connection. */
  readonly bus: ControlBus
  /** SIGKILL, and a new start; connections are back. */
  restart(options?: Restart): Promise<void>
  /** Down: killed, and clients have noticed. Up: connections are back. */
  setDown(down: boolean): Promise<void>
  /** SIGSTOP and SIGCONT. */
  setHung(hung: boolean): Promise<void>
  /** No space for any message, in files or memory. */
  setFull(full: boolean): Promise<void>
  /** Takes all consumers of a stream away. */
  dropConsumers(stream: string): Promise<void>
}

/** A server with nothing in it, taken away by the test's teardown. */
export type OpenLogServer = (t: ExecutionContext) => Promise<LogServer>
