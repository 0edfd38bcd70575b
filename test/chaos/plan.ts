/**
 * What happens to one run: which processes are killed, and when. Drawn from the seed and the run's
 * number alone, so that a run can be repeated.
 *
 *   D1. Faults happen one after the other; each moment counts from the fault before it.
 *   D2. Moments are facts of the job's life, not points of the clock: they hit the same phases on a
 *       fast machine and on a slow one.
 *   D3. A server dies at most once in a run, and comes back on the same folder.
 */
import { type Prng, prng } from '../support/prng.js'

/** A subtask's id, `coordinator`, `supervisor`, `nats` or `redis`. */
export type Target = string

export type Moment =
  /** Since the fault before, or since the run's start. */
  | { readonly type: 'elapsed'; readonly ms: number }
  /** Since the job began to run in a generation that is newer than the fault before. */
  | { readonly type: 'running'; readonly ms: number }
  /** Since so many checkpoints completed after the fault before. */
  | { readonly type: 'checkpoint'; readonly count: number; readonly ms: number }
  /** Since this share of all records is in the output. After the whole of it the job ends. */
  | { readonly type: 'output'; readonly share: number; readonly ms: number }
  /** Since the victim of the fault before was started again. */
  | { readonly type: 'respawned'; readonly ms: number }

/** One SIGKILL. */
export interface Fault {
  readonly target: Target
  readonly moment: Moment
  /** How long a supervisor or server stays away; 0 for what the job itself starts again. */
  readonly downMs: number
}

export interface RunPlan {
  readonly seed: number
  readonly run: number
  /** How long it takes to bring in the input; 0: it is there from the start. */
  readonly feedMs: number
  readonly faults: readonly Fault[]
}

export interface PlanOptions {
  /** Ids of the job's subtasks. */
  readonly subtasks: readonly string[]
  readonly natsKill: boolean
  readonly redisKill: boolean
}

/** Draws the plan of run number `run`, from 1. */
export const drawPlan = (seed: number, run: number, options: PlanOptions): RunPlan => {
  const random = prng(Math.imul(seed, 0x9e3779b1) ^ Math.imul(run, 0x85ebca6b))
  const feedMs = random.chance(0.4) ? 0 : 1_500 + random.below(4_500)
  const faults: Fault[] = []
  const servers: Target[] = []
  if (options.natsKill) servers.push('nats')
  if (options.redisKill) servers.push('redis')
  const kills = servers.length > 0 ? random.below(3) : 1 + random.below(4)
  for (let count = 0; count < kills; count += 1) {
    const target = drawTarget(random, options.subtasks)
    faults.push({
      target,
      moment: drawMoment(random, faults.at(-1)),
      downMs: target === 'supervisor' ? drawDown(random, 1_500, 4_500) : 0,
    })
  }
  for (const target of servers) {
    const place = random.chance(0.6) ? 0 : random.below(faults.length + 1)
    const moment = drawMoment(random, faults[place - 1])
    faults.splice(place, 0, { target, moment, downMs: drawDown(random, 2_000, 8_000) })
  }
  return { seed, run, feedMs, faults }
}

const drawTarget = (random: Prng, subtasks: readonly string[]): Target => {
  if (random.chance(0.2)) return 'supervisor'
  if (random.chance(0.25)) return 'coordinator'
  return subtasks[random.below(subtasks.length)] ?? 'coordinator'
}

/** Mostly short; at times longer than the coordinator's lease or the loss of a heartbeat. */
const drawDown = (random: Prng, shortMs: number, longMs: number): number =>
  random.chance(0.25) ? shortMs + random.below(longMs - shortMs) : random.below(shortMs)

const drawMoment = (random: Prng, before: Fault | undefined): Moment => {
  const dice = random.next()
  if (before === undefined) {
    // Moments that every run comes to, lest nothing is killed in it.
    if (dice < 0.25) return { type: 'elapsed', ms: random.below(2_500) }
    if (dice < 0.5) return { type: 'running', ms: random.below(1_000) }
    if (dice < 0.75) return { type: 'checkpoint', count: 1 + random.below(2), ms: random.below(80) }
    return { type: 'output', share: random.below(950) / 1_000, ms: 0 }
  }
  if (dice < 0.2) return { type: 'elapsed', ms: random.below(400) }
  if (dice < 0.4) return { type: 'respawned', ms: random.below(1_500) }
  if (dice < 0.5) return { type: 'running', ms: random.below(800) }
  if (dice < 0.75) return { type: 'checkpoint', count: 1 + random.below(3), ms: random.below(80) }
  if (dice < 0.92) return { type: 'output', share: random.below(1_000) / 1_000, ms: 0 }
  return { type: 'output', share: 1, ms: random.below(80) }
}

/** A plan in one line. */
export const describePlan = ({ feedMs, faults }: RunPlan): string => {
  const input = feedMs === 0 ? 'input at once' : `input over ${feedMs} ms`
  return [input, ...faults.map(describeFault)].join('; ')
}

/** A fault in a few words. */
export const describeFault = ({ target, moment, downMs }: Fault): string => {
  const away = downMs === 0 ? '' : `, away for ${downMs} ms`
  return `${target} ${describeMoment(moment)}${away}`
}

const describeMoment = (moment: Moment): string => {
  switch (moment.type) {
    case 'elapsed':
      return `after ${moment.ms} ms`
    case 'running':
      return `${moment.ms} ms into a generation`
    case 'checkpoint':
      return `${moment.ms} ms after checkpoint +${moment.count}`
    case 'output':
      return `${moment.ms} ms after ${(moment.share * 100).toFixed(1)}% of the output`
    case 'respawned':
      return `${moment.ms} ms after the restart of what was killed last`
  }
}
