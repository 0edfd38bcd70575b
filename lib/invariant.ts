/** A broken invariant: a defect in the framework, never a fault of its surroundings. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation'
  constructor(
    readonly rule: string,
    facts: string,
  ) {
    super(facts === '' ? `invariant ${rule} is broken` : `invariant ${rule} is broken: ${facts}`)
  }
}

/**
 * Asserts a numbered invariant. A violation crashes the actor, which then recovers from its last
 * completed checkpoint: going on with corrupt state would break exactly-once in silence.
 */
export function invariant(condition: boolean, rule: string, facts = ''): asserts condition {
  if (!condition) throw new InvariantViolation(rule, facts)
}

/** Proves to the compiler that a switch is exhaustive. */
export const absurd = (value: never): never => {
  throw new InvariantViolation('exhaustive', JSON.stringify(value))
}
