/** A planted bug: one small change of the product's source text, with a name in plain words. */

/** A change of one file's text. */
export interface Change {
  /** From the project's folder. */
  readonly file: string
  /** Must occur exactly once in the file. */
  readonly find: string
  readonly replace: string
}

/** A planted bug. */
export interface Mutant extends Change {
  readonly name: string
  /** Rules and invariants that it breaks, by number. */
  readonly rules: readonly string[]
  /** What else must go for the rule to be gone: where two places hold one rule, either covers the other. */
  readonly also?: readonly Change[]
  /** Why nobody could tell the difference: such a one is not run, and not counted. */
  readonly equivalent?: string
}

/** All changes of a mutant. */
export const changesOf = ({ file, find, replace, also }: Mutant): readonly Change[] => [
  { file, find, replace },
  ...(also ?? []),
]

/** The text with the change applied; undefined when what it changes is not there exactly once. */
export const changed = (text: string, { find, replace }: Change): string | undefined => {
  const parts = text.split(find)
  const [before, after] = parts
  if (parts.length !== 2 || before === undefined || after === undefined) return undefined
  return `${before}${replace}${after}`
}
