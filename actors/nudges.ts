/** Small messages to a running coordinator from its surroundings. */
import type { ControlBus } from '../lib/ports/control-bus.js'
import { coordinatorSubject } from '../lib/protocol/addresses.js'
import { encodeMessage } from '../lib/protocol/messages.js'

/** Tells the coordinator at once what it would find out by silence. */
export const nudgeWorkerExited = (
  bus: ControlBus,
  job: string,
  worker: string,
  reason: string,
): void =>
  bus.send(
    coordinatorSubject(job),
    encodeMessage({ version: 1, type: 'worker-exited', worker, reason }),
  )

/** Makes the coordinator look into the store at once; without it, it does so within a second. */
export const nudgeCoordinator = (bus: ControlBus, job: string): void =>
  bus.send(coordinatorSubject(job), encodeMessage({ version: 1, type: 'nudge' }))
