/** What can be taken out of the model `checkpoint.pml`, and what it is run with. */

/** Rules of lib/README.md that are taken out together, since each of them covers the others. */
export interface Removal {
  /** Names for `-D`; every one holds the number of its rule. */
  readonly names: readonly string[]
  /** What is done instead. */
  readonly instead: string
  /** Size of the model in which that is found. */
  readonly defines?: readonly string[]
}

/** Each of these breaks one of X1 to X5, and has its counterexample in `counterexamples.test.ts`. */
export const removals: readonly Removal[] = [
  {
    names: ['NO_P1', 'NO_P2'],
    instead: 'ids are counted from the newest checkpoint, reports of any generation count',
    defines: ['RECORDS=1'],
  },
  { names: ['NO_P3'], instead: 'an old trigger or barrier acts again' },
  { names: ['NO_P4'], instead: 'records come between the barrier and the capture' },
  { names: ['NO_P5_FENCE'], instead: 'the commit script checks neither term nor generation' },
  { names: ['NO_P5_PARTS'], instead: 'the commit script does not look for the parts' },
  { names: ['NO_P5_ASK'], instead: 'a commit whose answer is lost is taken for a success' },
  { names: ['NO_P6_EARLY'], instead: 'sinks hear of an epoch before its commit' },
  { names: ['NO_P6_ABORT'], instead: 'an abort drops what was prepared' },
  { names: ['NO_P7'], instead: 'a restore forgets what was prepared' },
  { names: ['NO_P8'], instead: 'all generations share one mailbox' },
  { names: ['NO_P9'], instead: 'the output stream stores messages anywhere' },
  { names: ['NO_P10'], instead: 'a job whose pointer is lost starts fresh', defines: ['LOSS'] },
  { names: ['NO_P11'], instead: 'the parts of the newest checkpoint may expire' },
]

/** One search of the model, and what it must come to. */
export interface Check {
  readonly title: string
  readonly defines: readonly string[]
  /** Whether one of X1 to X5 must break. */
  readonly breaks: boolean
  /** A complete search must store at least so many states. */
  readonly statesMin: number
  readonly secondsMax: number
}

const holds = (
  title: string,
  defines: readonly string[],
  statesMin: number,
  secondsMax: number,
): Check => ({ title, defines, breaks: false, statesMin, secondsMax })

const breaking = (title: string, defines: readonly string[]): Check => ({
  title,
  defines,
  breaks: true,
  statesMin: 0,
  secondsMax: 60,
})

const removalChecks = removals.map(({ names, instead, defines = [] }) => {
  const rules = names.map(name => name.replace('NO_', '')).join(', ')
  return breaking(`without ${rules}: ${instead}`, [...names, ...defines])
})

/** What every run checks. */
export const checks: readonly Check[] = [
  holds('the protocol', [], 2_000_000, 600),
  holds('a store that loses its pointer', ['LOSS', 'RECORDS=1'], 1_000_000, 300),
  holds('processes that die and are replaced', ['DEATHS', 'RECORDS=1', 'TERMS=1'], 2_000_000, 300),
  breaking('a job that gets to its end in its last generation, so the model says something', [
    'WITNESS',
  ]),
  breaking('a bus that brings old orders to a process born after them', ['DEATHS', 'LATE_ORDERS']),
  ...removalChecks,
]

/** What `--full` checks besides: more of everything, and rules that another one covers. */
export const fullChecks: readonly Check[] = [
  holds('three generations', ['RECORDS=1', 'GENERATIONS=3'], 40_000_000, 3_600),
  holds('processes that die, two terms', ['DEATHS', 'RECORDS=1'], 10_000_000, 3_600),
  holds('without P1, which P2 covers', ['RECORDS=1', 'NO_P1'], 1_000_000, 600),
  holds('without P2, which P1 covers', ['RECORDS=1', 'NO_P2'], 1_000_000, 600),
]
