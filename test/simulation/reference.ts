/**
 * What a job must come to, by definition: its functions applied to one record after another, without
 * processes, channels or checkpoints. Which records reach a vertex does not depend on the order in
 * which they come, so that one run answers for all interleavings.
 */

import { hashText } from './draws.js'
import { behave, counted, isRefused, itemsOf, keyOn, type Node, type Shape } from './random-job.js'
import { goesRound } from './random-loop.js'
import { type Item, idOf } from './record.js'

/** One record that one key of one actor must have counted. */
export interface Expected {
  readonly origin: number
  readonly n: number
  readonly hash: number
}

/** All that is right. */
export interface Reference {
  /** By sink: what arrives there, by the record's id. */
  readonly outputs: ReadonlyMap<string, ReadonlySet<string>>
  /** By actor and key, `count3/k1`: what is counted there. */
  readonly states: ReadonlyMap<string, readonly Expected[]>
  /** By the actor and the record's id, or by the source and the message's sequence. */
  readonly deadLetters: ReadonlySet<string>
  /** Actors whose records come one behind the other, from each source by each way. */
  readonly singleFile: ReadonlySet<string>
}

/** Runs the shape. */
export const referenceOf = (shape: Shape): Reference => {
  const run = new Run(shape)
  for (const [origin, source] of shape.sources.entries()) {
    for (const item of itemsOf(source, origin)) {
      if (source.poison.includes(item.n)) run.refuse(shape.nodes[source.node], `@${item.n + 1}`)
      else run.leave(source.node, item)
    }
  }
  return run.reference()
}

/** What is counted, by actor and key, when records that wait at the head of the loop go on. */
export const comingOf = (shape: Shape, waiting: readonly Item[]): Reference['states'] => {
  const run = new Run(shape)
  for (const item of waiting) run.comeBack(item)
  return run.reference().states
}

class Run {
  readonly #outputs = new Map<string, Set<string>>()
  readonly #states = new Map<string, Expected[]>()
  readonly #deadLetters = new Set<string>()
  readonly #readers: readonly (readonly { readonly to: number; readonly keys: number }[])[]

  constructor(private readonly shape: Shape) {
    this.#readers = shape.nodes.map((_, from) =>
      shape.nodes.flatMap((node, to) =>
        node.inputs.filter(input => input.from === from).map(({ keys }) => ({ to, keys })),
      ),
    )
  }

  refuse(node: Node | undefined, what: string): void {
    this.#deadLetters.add(`${node?.id}${what}`)
  }

  leave(from: number, item: Item): void {
    const { loop, nodes } = this.shape
    if (loop?.tail === from && goesRound(loop, nodes, item)) {
      this.comeBack(item)
      return
    }
    for (const { to, keys } of this.#readers[from] ?? []) this.#arrive(from, to, keys, item)
  }

  /** A record has gone round. */
  comeBack(item: Item): void {
    const { loop } = this.shape
    if (loop !== undefined) this.#arrive(loop.tail, loop.head, 0, item)
  }

  reference(): Reference {
    const wide = this.#wide()
    const singleFile = this.shape.nodes.filter((_, index) => !wide.has(index)).map(({ id }) => id)
    return {
      outputs: this.#outputs,
      states: this.#states,
      deadLetters: this.#deadLetters,
      singleFile: new Set(singleFile),
    }
  }

  /** Vertices that records may reach in another order than that of their source. */
  #wide(): ReadonlySet<number> {
    const { nodes, loop } = this.shape
    const wide = new Set(loop === undefined ? [] : [loop.head, loop.tail])
    // The head of a loop is the last vertex, whatever is behind it.
    for (let before = -1; before < wide.size; ) {
      before = wide.size
      for (const [index, { inputs }] of nodes.entries()) {
        const isBehindWide = inputs.some(
          ({ from }) => wide.has(from) || (nodes[from]?.parallelism ?? 1) > 1,
        )
        if (isBehindWide) wide.add(index)
      }
    }
    return wide
  }

  #arrive(from: number, to: number, keys: number, item: Item): void {
    const node = this.shape.nodes[to]
    if (node === undefined) return
    if (node.kind === 'sink') {
      const ids = this.#outputs.get(node.id) ?? new Set()
      ids.add(idOf(item))
      this.#outputs.set(node.id, ids)
      return
    }
    if (node.kind === 'count' || node.kind === 'count-draft') {
      const key = keyOn(from, to, keys, item)
      const place = `${node.id}/${key}`
      const seen = this.#states.get(place) ?? []
      seen.push({ origin: item.o, n: item.n, hash: hashText(idOf(item)) })
      this.#states.set(place, seen)
      this.leave(to, counted(node, item, key, 0))
      return
    }
    if (isRefused(node, item)) {
      if (node.kind === 'refuse') this.refuse(node, `:${idOf(item)}`)
      return
    }
    for (const emitted of behave(node, item)) this.leave(to, emitted)
  }
}
