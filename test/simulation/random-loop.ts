/** The loop of a random job: where records go round, and how often each of them does. */
import type { Prng } from '../support/prng.js'
import { between, hashText, mix, pick } from './draws.js'
import type { Input, Node } from './random-job.js'
import type { Item } from './record.js'

/** A loop: what comes out of the vertex `tail` goes back to `head`, for as many rounds as a record has. */
export interface Loop {
  readonly head: number
  readonly tail: number
  readonly roundsMax: number
}

/** Vertices, and the loop among them if there is one. */
export interface Looping {
  readonly nodes: readonly Node[]
  readonly loop?: Loop
}

const share = 0.15

/** In some jobs a head is put before one of the actors, to which its records go back. */
export const drawLoop = (random: Prng, nodes: readonly Node[]): Looping => {
  const bodies = [...nodes.keys()].filter(index => !/source|sink/.test(nodes[index]?.kind ?? ''))
  if (bodies.length === 0 || !random.chance(share)) return { nodes }
  const tail = pick(random, bodies)
  const body = nodes[tail]
  if (body === undefined) return { nodes }
  const head = nodes.length
  const parallelism = random.chance(0.6) ? body.parallelism : between(random, 1, 2)
  const inputs = body.inputs.map(
    (input): Input =>
      input.type === 'forward' && nodes[input.from]?.parallelism !== parallelism
        ? { ...input, type: 'rebalance' }
        : input,
  )
  const isKeyed = body.kind.startsWith('count') || random.chance(0.25)
  const even = parallelism === body.parallelism ? 'forward' : 'rebalance'
  const inside: Input = { from: head, type: isKeyed ? 'keyed' : even, keys: between(random, 1, 6) }
  const loop = { head, tail, roundsMax: body.kind === 'split' ? 2 : pick(random, [2, 5, 12]) }
  return {
    nodes: [
      ...nodes.map(node => (node === body ? { ...body, inputs: [inside] } : node)),
      { id: `lo${head}`, kind: 'pass', parallelism, inputs },
    ],
    loop,
  }
}

/** Whether a record that comes out of a loop's tail goes back to its head. */
export const goesRound = (
  { tail, roundsMax }: Loop,
  nodes: readonly Node[],
  item: Item,
): boolean => {
  const id = nodes[tail]?.id ?? ''
  // The copies of one that was split have the same number of rounds, as they have the same number.
  const rounds = 1 + (mix(item.o, item.n, hashText(id), 11) % roundsMax)
  let done = 0
  for (const way of item.x.split('>')) if (way === id || way.startsWith(`${id}#`)) done += 1
  return done < rounds
}
