/** What a benchmark is. */
import type { Figure } from './figures.js'
import type { Stage } from './stage.js'

/** A benchmark, by the name that `--only` takes. */
export interface Bench {
  readonly name: string
  /** What is measured, in one line. */
  readonly what: string
  readonly run: (stage: Stage) => Promise<readonly Figure[]>
}
