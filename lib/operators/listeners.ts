/**
 * Tells the actors of one subtask what became of its checkpoints.
 *
 * Invariants
 *   LS1. Completions strictly rise. One that never arrives is not made up for by itself: the next
 *       one stands for all before it.
 *   LS2. An abort is told at most once, and never of an epoch that a completion already covers.
 *   LS3. What a listener throws fails the subtask, and names the actor.
 */
import type { CheckpointNotice } from '../job/contracts.js'
import type { Vertex } from '../job/graph.js'
import type { Epoch } from '../protocol/ids.js'
import { refusePromise, UserCodeError } from './chain.js'

type Listener = (notice: CheckpointNotice) => unknown

interface Named {
  readonly operator: string
  readonly listener: Listener
}

/** Aborted epochs that are remembered; no more are ever pending. */
const abortedMax = 64

/** The listeners of one subtask's actors, in the order of its chain. */
export class CheckpointListeners {
  readonly #complete: readonly Named[]
  readonly #aborted: readonly Named[]
  #completedEpoch: Epoch
  #abortedEpochs: readonly Epoch[] = []

  /** `restored`: the epoch that the subtask starts from, which no listener is told of. */
  constructor(
    members: readonly Vertex[],
    readonly subtask: number,
    restored: Epoch,
  ) {
    const named = (
      pick: (vertex: Extract<Vertex, { type: 'operator' }>) => Listener | undefined,
    ): readonly Named[] =>
      members.flatMap(vertex => {
        const listener = vertex.type === 'operator' ? pick(vertex) : undefined
        return listener === undefined ? [] : [{ operator: vertex.id, listener }]
      })
    this.#complete = named(({ actor }) => actor.onCheckpointComplete)
    this.#aborted = named(({ actor }) => actor.onCheckpointAborted)
    this.#completedEpoch = restored
  }

  /** Everything up to `epoch` is durable. */
  complete(epoch: Epoch): void {
    if (epoch <= this.#completedEpoch) return // LS1
    this.#completedEpoch = epoch
    this.#abortedEpochs = this.#abortedEpochs.filter(aborted => aborted > epoch)
    this.#tell(this.#complete, 'onCheckpointComplete', epoch)
  }

  /** `epoch` will not complete. */
  abort(epoch: Epoch): void {
    if (epoch <= this.#completedEpoch || this.#abortedEpochs.includes(epoch)) return // LS2
    this.#abortedEpochs = [...this.#abortedEpochs, epoch].slice(-abortedMax)
    this.#tell(this.#aborted, 'onCheckpointAborted', epoch)
  }

  #tell(listeners: readonly Named[], name: string, epoch: Epoch): void {
    const notice: CheckpointNotice = Object.freeze({ epoch, subtask: this.subtask })
    for (const { operator, listener } of listeners) {
      try {
        refusePromise(name, listener(notice))
      } catch (thrown) {
        throw new UserCodeError(operator, thrown, name) // LS3
      }
    }
  }
}
