/**
 * A chain of vertices compiled to plain calls: what one subtask does to one record.
 *
 * The hot path: per record one call per operator, no promise, no allocation of ours. Contexts are
 * made once and reused, which is why they are valid only during `receive`.
 *
 * Invariants
 *   H1. A record that an actor with `skip` or `dead-letter` fails on leaves no trace: its emits are
 *       held until it succeeds, its state is put back.
 *   H2. What happens behind an `emit` is not the emitting actor's doing: it is neither blamed for it
 *       nor able to hide it, whatever it catches.
 *   H3. Outside of `receive` a context refuses everything: what a timer or a promise emits would
 *       belong to no checkpoint.
 */
import { messageOf } from '../errors.js'
import type { Context, KeyedState } from '../job/contracts.js'
import type { AnyActor, JobGraph, Vertex, When } from '../job/graph.js'
import type { Chain } from '../job/plan.js'
import type { Key, KeyGroup } from '../protocol/ids.js'
import { type Same, twice, UnlikeItself } from './twice.js'

/** Takes one record. */
export type Collector = (record: unknown) => void

/** Keyed state as the chain drives it: it sets the current key, the actor sees the view. */
export interface StateDriver {
  readonly view: KeyedState<unknown>
  setCurrent(key: Key, group: KeyGroup): void
  /** Ends the record: whoever kept the view gets an error, not another key's state. */
  clearCurrent(): void
  /** The stored value of the current key, without `initial()`. */
  peek(): unknown
  /** Puts back what `peek` answered. */
  revert(value: unknown): void
}

/** A user's function threw. Carries which actor, so that people know where to look. */
export class UserCodeError extends Error {
  override readonly name = 'UserCodeError'
  constructor(
    readonly operator: string,
    cause: unknown,
    /** The function that threw, if it was not `receive`. */
    listener?: string,
  ) {
    const where = listener === undefined ? '' : ` in ${listener}`
    super(`actor '${operator}' threw${where}: ${messageOf(cause)}`, { cause })
  }
}

/** What surrounds a chain: where its records go, and where its state is. */
export interface ChainOutputs {
  /** Where member `member`'s records leave the chain, one collector per outgoing edge. */
  readonly edges: (member: number) => readonly Collector[]
  readonly sink: (vertex: string) => Collector
  readonly state: (vertex: string) => StateDriver | undefined
  readonly onDeadLetter: (operator: string, record: unknown, reason: string) => void
  readonly onSkipped: (operator: string, reason: string) => void
  /** Set in tests: every actor handles each record twice, and must do the same. */
  readonly same?: Same | undefined
}

/** A compiled chain. */
export interface ChainProgram {
  /** One record into the head of the chain. Key and group are undefined on unkeyed edges. */
  readonly receive: (record: unknown, key: Key | undefined, group: KeyGroup) => void
}

/** Compiles the chain of one subtask. Throws for a chain without members, which no plan has. */
export const compileChain = (
  chain: Chain,
  graph: JobGraph,
  subtask: number,
  outputs: ChainOutputs,
): ChainProgram => {
  const heads: ChainProgram[] = []
  const fate: Fate = { failure: undefined }
  // Successors first: a member's collectors must exist when it is compiled.
  for (let index = chain.members.length - 1; index >= 0; index -= 1) {
    const targets: Collector[] = [...outputs.edges(index)]
    for (const next of chain.links[index] ?? []) {
      const program = heads[next]
      if (program === undefined) continue
      const when = whenBetween(graph, chain.members[index], chain.members[next])
      targets.push(filtered(when, record => program.receive(record, undefined, 0)))
    }
    heads[index] = compileMember(chain, index, subtask, fanOut(targets), outputs, fate)
  }
  const head = heads[0]
  if (head === undefined) throw new Error(`chain ${chain.id} of ${graph.name} has no members`)
  return {
    receive: (record, key, group) => {
      try {
        head.receive(record, key, group)
      } catch (thrown) {
        throw fate.failure === undefined ? thrown : fate.failure.thrown
      }
      if (fate.failure !== undefined) throw fate.failure.thrown // H2
    },
  }
}

const whenBetween = (
  { edges }: JobGraph,
  from: Vertex | undefined,
  to: Vertex | undefined,
): When | undefined => edges.find(edge => edge.from === from?.id && edge.to === to?.id)?.when

/** Takes only the records that go its way. */
export const filtered = (when: When | undefined, take: Collector): Collector => {
  if (when === undefined) return take
  return record => {
    if (when(record)) take(record)
  }
}

/** The first thing thrown behind an `emit`, whatever the functions before it make of it (H2). */
interface Fate {
  failure: { readonly thrown: unknown } | undefined
}

const fanOut = (targets: readonly Collector[]): Collector => {
  const [first, ...rest] = targets
  if (first === undefined) return () => {}
  if (rest.length === 0) return first
  return record => {
    for (const target of targets) target(record)
  }
}

const compileMember = (
  chain: Chain,
  index: number,
  subtask: number,
  emit: Collector,
  outputs: ChainOutputs,
  fate: Fate,
): ChainProgram => {
  const vertex = chain.members[index]
  if (vertex === undefined || vertex.type === 'source') return { receive: emit }
  if (vertex.type === 'sink') return { receive: outputs.sink(vertex.id) }
  const state = outputs.state(vertex.id)
  const { id } = vertex
  const { same } = outputs
  const actor = same === undefined ? vertex.actor : twice(id, vertex.actor, state, same)
  return actor.onError === 'fail'
    ? failing(id, actor, subtask, emit, state, fate)
    : lenient(id, actor, subtask, emit, state, outputs)
}

interface MutableContext {
  state: KeyedState<unknown>
  key: Key | undefined
  subtask: number
  emit: Collector
}

/** Whether an actor handles a record right now (H3). */
interface Turn {
  active: boolean
}

/** An actor without state that reaches for it gets a sentence, not an undefined. */
const noState = (operator: string): KeyedState<unknown> => {
  const refuse = (): never => {
    throw new Error(
      `'${operator}' has no state here: declare 'state' in actor({...}) and put .keyBy(...) before it`,
    )
  }
  return { get: refuse, set: refuse, update: refuse, clear: refuse }
}

const contextOf = (
  operator: string,
  subtask: number,
  emit: Collector,
  state: StateDriver | undefined,
): MutableContext => ({ state: state?.view ?? noState(operator), key: undefined, subtask, emit })

const outside = (operator: string): Error =>
  new Error(
    `'${operator}' emitted outside of a record: ctx is valid only until receive returns, so emit before that`,
  )

const failing = (
  operator: string,
  actor: AnyActor,
  subtask: number,
  emit: Collector,
  state: StateDriver | undefined,
  fate: Fate,
): ChainProgram => {
  const turn: Turn = { active: false }
  const collect: Collector = record => {
    if (!turn.active) throw outside(operator)
    try {
      emit(record)
    } catch (thrown) {
      fate.failure ??= { thrown }
      throw thrown
    }
  }
  const ctx = contextOf(operator, subtask, collect, state)
  const view: Context<unknown, unknown> = ctx
  const { receive } = actor
  return {
    receive: (record, key, group) => {
      ctx.key = key
      if (state !== undefined && key !== undefined) state.setCurrent(key, group)
      turn.active = true
      try {
        const result: unknown = receive(view, record)
        if (result !== undefined) refuseResult(result)
      } catch (thrown) {
        turn.active = false
        state?.clearCurrent()
        throw fate.failure?.thrown === thrown ? thrown : new UserCodeError(operator, thrown)
      }
      turn.active = false
      state?.clearCurrent()
    },
  }
}

const refuseResult = (result: unknown): void => refusePromise('receive', result)

/** Throws when a function of a user's, by its name, has returned a promise. */
export const refusePromise = (name: string, result: unknown): void => {
  if (!(result instanceof Promise)) return
  // The call is refused already; what becomes of the promise must not end the process as well.
  result.catch(() => {})
  throw new Error(`'${name}' returned a promise; it must finish its work before it returns`)
}

/** Holds back what a record emits until it has succeeded (H1). */
const lenient = (
  operator: string,
  actor: AnyActor,
  subtask: number,
  emit: Collector,
  state: StateDriver | undefined,
  outputs: ChainOutputs,
): ChainProgram => {
  let held: unknown[] = []
  const turn: Turn = { active: false }
  const collect: Collector = record => {
    if (!turn.active) throw outside(operator)
    held.push(record)
  }
  const ctx = contextOf(operator, subtask, collect, state)
  const view: Context<unknown, unknown> = ctx
  /** What was thrown, if anything was. */
  const attempt = (record: unknown): { readonly thrown: unknown } | undefined => {
    turn.active = true
    try {
      const result: unknown = actor.receive(view, record)
      if (result !== undefined) refuseResult(result)
      return undefined
    } catch (thrown) {
      return { thrown }
    } finally {
      turn.active = false
    }
  }
  return {
    receive: (record, key, group) => {
      ctx.key = key
      held = []
      const keyed = state !== undefined && key !== undefined
      if (keyed) state.setCurrent(key, group)
      const before = keyed ? state.peek() : undefined
      const failure = attempt(record)
      if (failure !== undefined && keyed) state.revert(before)
      state?.clearCurrent()
      if (failure === undefined) {
        // Downstream failures are downstream's: they must not be taken for this actor's (H2).
        for (const out of held) emit(out)
        return
      }
      if (failure.thrown instanceof UnlikeItself) throw new UserCodeError(operator, failure.thrown)
      const reason = messageOf(failure.thrown)
      if (actor.onError === 'skip') outputs.onSkipped(operator, reason)
      else outputs.onDeadLetter(operator, record, reason)
    },
  }
}
