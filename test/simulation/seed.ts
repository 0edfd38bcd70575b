/** What one seed stands for: a job, what goes wrong with it, and what came of it. */
import { drawFaults, type Fault } from './faults.js'
import type { Violation } from './observer.js'
import { drawShape, type Shape } from './random-job.js'
import { referenceOf } from './reference.js'
import { SimWorld } from './world.js'

/** A seed, and what it is run with where that is not what it draws. */
export interface Case {
  readonly seed: number
  readonly shape?: Shape | undefined
  readonly faults?: readonly Fault[] | undefined
}

export interface SeedResult {
  readonly seed: number
  readonly violations: readonly Violation[]
  /** Fingerprint of all events. */
  readonly hash: number
  readonly events: number
  readonly recoveries: number
  readonly virtualMs: number
  readonly endedAtMs: number
}

let onStray: (thrown: unknown) => void = () => {}
process.on('unhandledRejection', thrown => onStray(thrown))

/** Runs one seed to its end. `counters` are added to. */
export const runSeed = async (
  { seed, shape: givenShape, faults: given }: Case,
  counters: Map<string, number>,
  trace?: (line: string) => void,
): Promise<SeedResult> => {
  const shape = givenShape ?? drawShape(seed)
  const faults = given ?? drawFaults(seed)
  const reference = referenceOf(shape)
  trace?.(`shape: ${describeShape(shape)}`)
  const world = new SimWorld({
    seed,
    shape,
    reference,
    faults,
    counters,
    ...(trace === undefined ? {} : { trace }),
  })
  // A process of the product would have ended with it; nothing may be thrown that nobody catches.
  onStray = thrown => {
    const what = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
    world.observer.broken('I14', what)
  }
  try {
    await world.run()
  } catch (thrown) {
    onStray(thrown)
  }
  return {
    seed,
    violations: world.observer.violations,
    hash: world.hash,
    events: world.job.time.events,
    recoveries: world.recoveries - 1,
    virtualMs: world.job.time.now,
    endedAtMs: world.endedAtMs,
  }
}

/** A shape on one line. */
export const describeShape = (shape: Shape): string => {
  const nodes = shape.nodes.map(node => {
    const inputs = node.inputs.map(({ from, type }) => `${shape.nodes[from]?.id} ${type}`)
    return `${node.id}×${node.parallelism}${inputs.length > 0 ? ` (${inputs.join(', ')})` : ''}`
  })
  const { loop } = shape
  const back =
    loop === undefined
      ? ''
      : `; ${shape.nodes[loop.tail]?.id} back to ${shape.nodes[loop.head]?.id}`
  const sources = shape.sources.map(
    ({ type, records, overMs }) => `${records} from ${type} over ${overMs} ms`,
  )
  return `${shape.mode}, ${shape.bounded ? 'bounded' : 'unbounded'}, every ${shape.intervalMs} ms: ${nodes.join(' · ')}${back}; ${sources.join(', ')}`
}
