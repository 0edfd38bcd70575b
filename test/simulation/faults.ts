/**
 * What goes wrong in a run, as a list that a run can be repeated with, or with less of.
 *
 * A fault happens at a time, or when something has happened for the nth time: the points that are
 * named here are where a protocol like this one breaks, if it breaks.
 */
import type { Prng } from '../support/prng.js'
import { between, drawsAt, pick, pickWeighted } from './draws.js'

/** Moments inside the protocol. */
export const points = [
  /** The coordinator takes a number for its next checkpoint. */
  'trigger.before',
  /** A subtask's snapshot is stored, its report not yet sent. */
  'report.before',
  /** All reports are in; the commit is on its way. */
  'commit.before',
  /** The commit has happened; its answer is on its way. */
  'commit.reply',
  /** Records or a barrier on their way into a mailbox. */
  'emit',
  /** A sink's record on its way into its stream. */
  'publish',
  /** A snapshot is being read. */
  'restore',
  /** A new generation is being numbered. */
  'begin',
  /** A mailbox is being made. */
  'mailbox',
  /** The job's end is being written. */
  'end',
] as const
export type Point = (typeof points)[number]

export type When =
  | { readonly type: 'time'; readonly atMs: number }
  | { readonly type: 'point'; readonly point: Point; readonly nth: number }

/** Whom it hits: a role by number, or whoever is at the point. */
export type Whom = number | 'self'

export type Fault =
  | { readonly kind: 'crash'; readonly when: When; readonly whom: Whom }
  /** Stopped for so long, as by SIGSTOP; nobody takes its place unless it is found out. */
  | { readonly kind: 'pause'; readonly when: When; readonly whom: Whom; readonly forMs: number }
  /** Taken for dead: another is started beside it. */
  | { readonly kind: 'abandon'; readonly when: When; readonly whom: Whom }
  /** The request at a point never arrives, or its answer never does, or only its first steps are done. */
  | { readonly kind: 'lost' | 'unanswered' | 'torn'; readonly when: When }
  /** The operator's code throws. */
  | { readonly kind: 'throw'; readonly when: When }
  | { readonly kind: 'log-restart'; readonly when: When; readonly downMs: number }
  /** The log's restart costs the newest messages of a stream: 0 a source's, 1 an output's. */
  | {
      readonly kind: 'log-tail'
      readonly when: When
      readonly of: number
      readonly messages: number
    }
  /** Cut off for a while, and back with all that it had. */
  | { readonly kind: 'log-down'; readonly when: When; readonly forMs: number }
  /** Stopped as by SIGSTOP: what was asked meanwhile is done late. */
  | { readonly kind: 'log-hung' | 'store-hung'; readonly when: When; readonly forMs: number }
  /** The log forgets where its readers are. */
  | { readonly kind: 'consumers'; readonly when: When }
  | { readonly kind: 'log-full'; readonly when: When; readonly forMs: number }
  | {
      readonly kind: 'store-down' | 'store-oom' | 'store-readonly' | 'store-loading'
      readonly when: When
      readonly forMs: number
    }
  /** A replica that lags so far behind is made the master. */
  | { readonly kind: 'store-back'; readonly when: When; readonly byMs: number }
  /** What may expire does. */
  | { readonly kind: 'expire'; readonly when: When }
  | { readonly kind: 'clock'; readonly when: When; readonly byMs: number }
  /** Workers hear one order of two, by chance, for a while; one that is named hears none. */
  | {
      readonly kind: 'deaf'
      readonly when: When
      readonly forMs: number
      readonly whom?: number
    }
  /** Many requests of a role get lost for a while, or are done unheard. */
  | { readonly kind: 'lossy'; readonly when: When; readonly whom: number; readonly forMs: number }
  /** Requests of a role take so much longer for a while. */
  | {
      readonly kind: 'slow'
      readonly when: When
      readonly whom: number
      readonly byMs: number
      readonly forMs: number
    }
  /** Shares of control messages that are lost, doubled, late; of requests that fail. All run long. */
  | {
      readonly kind: 'bus'
      readonly loss: number
      readonly doubling: number
      readonly lateness: number
      readonly lateMs: number
    }
  | { readonly kind: 'wire'; readonly loss: number; readonly silence: number }

export type FaultKind = Fault['kind']

/** How often each kind comes, in a run that has it. */
const kinds: readonly (readonly [FaultKind, number])[] = [
  ['crash', 11],
  ['pause', 3],
  ['abandon', 2],
  ['lost', 1],
  ['unanswered', 2],
  ['torn', 1],
  ['throw', 2],
  ['log-restart', 1.5],
  ['log-down', 1],
  ['log-hung', 0.5],
  ['consumers', 1],
  ['log-full', 1],
  ['store-down', 1],
  ['store-hung', 0.5],
  ['store-oom', 0.5],
  ['store-readonly', 0.5],
  ['store-loading', 0.5],
  ['expire', 1],
  ['clock', 1],
  ['deaf', 2],
  ['lossy', 1.5],
  ['slow', 1],
]

/** These destroy what was promised to be kept: a run that has one may end with an error by name. */
const destructive: readonly FaultKind[] = ['log-tail', 'store-back']
const destructiveShare = 0.06

/** A run without these, in which nothing is destroyed, restarts hardly ever. */
const restarting: readonly FaultKind[] = ['crash', 'pause', 'abandon', 'throw', 'log-restart']

/** Faults come until then, in virtual milliseconds. */
export const faultsUntilMs = 1_500

/** Draws what goes wrong in a run: about half the kinds, some of them often. */
export const drawFaults = (seed: number): readonly Fault[] => {
  const random = drawsAt(seed, 'faults')
  // What a restart heals shows only in a calm run, in which nothing restarts.
  const isCalm = random.chance(0.15)
  const always = isCalm ? 'lossy' : 'crash'
  const allowed = kinds.filter(
    ([kind]) => kind === always || (random.chance(0.5) && !(isCalm && restarting.includes(kind))),
  )
  const faults: Fault[] = []
  if (random.chance(isCalm ? 0.8 : 0.5)) {
    const worst = random.chance(isCalm ? 0.6 : 0.3) ? 0.3 : 0.08
    const share = (): number => (random.chance(0.6) ? random.next() * worst : 0)
    faults.push({
      kind: 'bus',
      loss: share(),
      doubling: share(),
      lateness: share(),
      lateMs: pick(random, [50, 300, 1_500]),
    })
  }
  if (random.chance(0.4)) {
    faults.push({ kind: 'wire', loss: random.next() * 0.01, silence: random.next() * 0.02 })
  }
  const [least, most] = isCalm ? [0, 4] : [8, 20]
  faults.push(...(isCalm ? drawBadWays(random) : drawStorm(random)))
  for (let count = between(random, least, most); count > 0; count -= 1)
    faults.push(...drawTrouble(random, pickWeighted(random, allowed)))
  if (random.chance(destructiveShare))
    faults.push(...drawTrouble(random, pick(random, destructive)))
  return faults
}

/** Before the job existed: the store is empty. */
const longAgoMs = 60_000

/** Crashes one after another, far enough apart for a recovery each. */
const drawStorm = (random: Prng): readonly Fault[] => {
  const count = between(random, 8, 17)
  return Array.from({ length: count }, (_, nth): Fault => {
    const atMs = Math.round(((nth + random.next()) / count) * faultsUntilMs)
    return { kind: 'crash', when: { type: 'time', atMs }, whom: random.below(100) }
  })
}

/** Ways of workers that are bad for a while: an answer is lost, the next comes when it is too late. */
const drawBadWays = (random: Prng): readonly Fault[] => {
  const faults: Fault[] = []
  for (let count = between(random, 0, 4); count > 0; count -= 1)
    faults.push(...badWay(random, drawWhen(random), random.below(100)))
  return faults
}

/** A way that loses much is slow, too: answers come when their question has been asked again. */
const badWay = (random: Prng, when: When, whom: number): readonly Fault[] => {
  const forMs = between(random, 100, 1_000)
  return [
    { kind: 'lossy', when, whom, forMs },
    { kind: 'slow', when, whom, forMs, byMs: between(random, 10, 90) },
  ]
}

const drawWhen = (random: Prng): When =>
  random.chance(0.5)
    ? { type: 'time', atMs: Math.round(random.next() * faultsUntilMs) }
    : atPoint(random)

const atPoint = (random: Prng): When => ({
  type: 'point',
  point: pick(random, points),
  nth: between(random, 1, pick(random, [3, 10, 40])),
})

/** A fault, and what comes with it. */
const drawTrouble = (random: Prng, kind: FaultKind): readonly Fault[] => {
  const fault = drawFault(random, kind)
  // The machine that fails has the store's master on it, and the coordinator.
  if (fault.kind === 'store-back' && random.chance(0.7))
    return [{ kind: 'crash', when: fault.when, whom: 0 }, fault]
  if (fault.kind === 'lossy' && random.chance(0.5)) return badWay(random, fault.when, fault.whom)
  return [fault]
}

const drawFault = (random: Prng, kind: FaultKind): Fault => {
  const when = drawWhen(random)
  const whom = when.type === 'point' && random.chance(0.6) ? 'self' : random.below(100)
  const forMs = between(random, 20, pick(random, [200, 1_000, 2_500]))
  switch (kind) {
    case 'crash':
    case 'abandon':
      return { kind, when, whom }
    case 'pause':
      return { kind, when, whom, forMs }
    case 'lost':
    case 'unanswered':
    case 'torn':
      return { kind, when: atPoint(random) }
    case 'log-restart':
      return { kind, when, downMs: between(random, 0, 500) }
    case 'log-tail':
      return drawLogTail(random, when)
    case 'store-back':
      return drawStoreBack(random)
    case 'clock':
      return { kind, when, byMs: pick(random, [-3_600_000, -5_000, 5_000, 3_600_000]) }
    case 'slow':
      return { kind, when, whom: random.below(100), byMs: between(random, 5, 60), forMs }
    case 'lossy':
      return { kind, when, whom: random.below(100), forMs: between(random, 100, 800) }
    case 'deaf': {
      const named = random.chance(0.5) ? { whom: random.below(100) } : {}
      return { kind, when, forMs: between(random, 200, 800), ...named }
    }
    case 'throw':
    case 'consumers':
    case 'expire':
      return { kind, when }
    case 'log-down':
    case 'log-hung':
    case 'store-hung':
    case 'log-full':
    case 'store-down':
    case 'store-oom':
    case 'store-readonly':
    case 'store-loading':
      return { kind, when, forMs: Math.min(forMs, 800) }
    case 'bus':
      return { kind, loss: 0.1, doubling: 0.1, lateness: 0.1, lateMs: 500 }
    case 'wire':
      return { kind, loss: 0.01, silence: 0.01 }
  }
}

/** Few outputs hold anything before faults are over: those that do are met while they are written. */
const drawLogTail = (random: Prng, drawn: When): Fault => {
  const of = random.below(2)
  const isMet = of === 1 && random.chance(0.8)
  const when = isMet
    ? ({ type: 'point', point: 'publish', nth: between(random, 2, 20) } as const)
    : drawn
  return { kind: 'log-tail', when, of, messages: tailOf(random) }
}

/** Some of the newest messages, or all there are: a stream that is empty is judged by other rules (S8). */
const tailOf = (random: Prng): number =>
  random.chance(0.3) ? between(random, 1_000, 1_009) : between(random, 1, 10)

const drawStoreBack = (random: Prng): Fault => {
  const kind = 'store-back'
  if (random.chance(0.2)) return { kind, when: drawWhen(random), byMs: longAgoMs }
  if (random.chance(0.2)) return { kind, when: atPoint(random), byMs: between(random, 20, 500) }
  // By several terms and generations, but not to before there was a job, which is found out at once.
  const atMs = between(random, 500, faultsUntilMs)
  return { kind, when: { type: 'time', atMs }, byMs: between(random, 20, atMs - 200) }
}

/** A fault in words. */
export const describeFault = (fault: Fault): string => {
  const { kind, ...rest } = fault
  return `${kind} ${JSON.stringify(rest)}`
}
