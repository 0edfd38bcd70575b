/**
 * A check for tests: an actor handles each record twice, from the same state, and must do the same both
 * times. What an idempotent sink relies on, and a restart of any job that wants the same results, shows
 * at the first record that differs, and not at the first crash.
 */
import { messageOf } from '../errors.js'
import type { Context } from '../job/contracts.js'
import type { AnyActor } from '../job/graph.js'
import type { StateDriver } from './chain.js'

/** An actor did something else when it handled the same record from the same state again. */
export class UnlikeItself extends Error {
  override readonly name = 'UnlikeItself'
}

/** Tells whether two values are equal, as a checkpoint would hold them. */
export type Same = (a: unknown, b: unknown) => boolean

interface Run {
  readonly emitted: readonly unknown[]
  readonly state: unknown
  readonly result: unknown
  readonly failure: { readonly thrown: unknown } | undefined
}

/** The actor, with each record handled twice. Its state must be the driver's, if it has any. */
export const twice = (
  operator: string,
  actor: AnyActor,
  state: StateDriver | undefined,
  same: Same,
): AnyActor => {
  const run = (ctx: Context<unknown, unknown>, record: unknown, keyed: boolean): Run => {
    const emitted: unknown[] = []
    let running = true
    const emit = (each: unknown): void => {
      if (running) emitted.push(each)
      else ctx.emit(each) // Which refuses it, or takes it for what it is.
    }
    const collecting = { ...ctx, state: ctx.state, emit }
    let result: unknown
    let failure: Run['failure']
    try {
      result = actor.receive(collecting, record)
    } catch (thrown) {
      failure = { thrown }
    }
    running = false
    return { emitted, state: keyed ? state?.peek() : undefined, result, failure }
  }
  return {
    ...actor,
    receive: (ctx, record) => {
      const keyed = state !== undefined && ctx.key !== undefined
      const before = keyed ? state.peek() : undefined
      const first = run(ctx, record, keyed)
      if (keyed) state.revert(before)
      const second = run(ctx, record, keyed)
      const difference = differenceOf(first, second, same)
      if (difference !== undefined)
        throw new UnlikeItself(
          `'${operator}' does not do the same twice: handling one record again, from the same state, it ${difference}`,
        )
      if (second.failure !== undefined) throw second.failure.thrown
      for (const each of second.emitted) ctx.emit(each)
      return second.result as ReturnType<AnyActor['receive']>
    },
  }
}

const differenceOf = (first: Run, second: Run, same: Same): string | undefined => {
  const [once, again] = [thrownIn(first), thrownIn(second)]
  if (once !== again) return `threw ${again ?? 'nothing'} in the place of ${once ?? 'nothing'}`
  if (first.emitted.length !== second.emitted.length)
    return `emitted ${second.emitted.length} records in the place of ${first.emitted.length}`
  const index = first.emitted.findIndex((each, at) => !same(each, second.emitted[at]))
  if (index >= 0)
    return `emitted ${shown(second.emitted[index])} in the place of ${shown(first.emitted[index])}`
  if (!same(first.state, second.state))
    return `left the state ${shown(second.state)} in the place of ${shown(first.state)}`
  return undefined
}

const thrownIn = ({ failure }: Run): string | undefined =>
  failure === undefined ? undefined : messageOf(failure.thrown)

const shownMax = 200

const shown = (value: unknown): string => {
  try {
    return (JSON.stringify(value) ?? String(value)).slice(0, shownMax)
  } catch {
    return String(value).slice(0, shownMax)
  }
}
