/**
 * A chain of vertices compiled to plain calls: what one subtask does to one record.
 *
 * The hot path: per record one call per operator, no promise, no allocation of ours. Contexts are
 * made once and reused, which is why they are valid only during `receive`.
 */
import { messageOf, SluiceError } from '../errors.js'
import { InvariantViolation } from '../invariant.js'
import type { Context, KeyedState } from '../job/contracts.js'
import type { AnyActor, JobGraph } from '../job/graph.js'
import type { Chain } from '../job/plan.js'
import type { Key, KeyGroup } from '../protocol/ids.js'

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
  ) {
    super(`actor '${operator}' threw: ${messageOf(cause)}`, { cause })
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
  // Successors first: a member's collectors must exist when it is compiled.
  for (let index = chain.members.length - 1; index >= 0; index -= 1) {
    const targets: Collector[] = [...outputs.edges(index)]
    for (const next of chain.links[index] ?? []) {
      const program = heads[next]
      if (program !== undefined) targets.push(record => program.receive(record, undefined, 0))
    }
    heads[index] = compileMember(chain, index, subtask, fanOut(targets), outputs)
  }
  const head = heads[0]
  if (head === undefined) throw new Error(`chain ${chain.id} of ${graph.name} has no members`)
  return head
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
): ChainProgram => {
  const vertex = chain.members[index]
  if (vertex === undefined || vertex.type === 'source') return { receive: emit }
  if (vertex.type === 'sink') return { receive: outputs.sink(vertex.id) }
  const state = outputs.state(vertex.id)
  return vertex.actor.onError === 'fail'
    ? failing(vertex.id, vertex.actor, subtask, emit, state)
    : lenient(vertex.id, vertex.actor, subtask, emit, state, outputs)
}

interface MutableContext {
  state: KeyedState<unknown>
  key: Key | undefined
  subtask: number
  /** While `receive` runs. */
  active: boolean
  emit: Collector
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
): MutableContext => {
  const ctx: MutableContext = {
    state: state?.view ?? noState(operator),
    key: undefined,
    subtask,
    active: false,
    emit: record => {
      if (!ctx.active) throw late(operator)
      emit(record)
    },
  }
  return ctx
}

/** Such a record would belong to no checkpoint: a restart would lose it, or make it twice. */
const late = (operator: string): Error =>
  new Error(`'${operator}' emitted a record after 'receive' had returned; emit before it returns`)

const failing = (
  operator: string,
  actor: AnyActor,
  subtask: number,
  emit: Collector,
  state: StateDriver | undefined,
): ChainProgram => {
  const ctx = contextOf(operator, subtask, emit, state)
  const view: Context<unknown, unknown> = ctx
  const { receive } = actor
  return {
    receive: (record, key, group) => {
      ctx.key = key
      ctx.active = true
      if (state !== undefined && key !== undefined) state.setCurrent(key, group)
      try {
        const result: unknown = receive(view, record)
        if (result !== undefined) refuseResult(result)
        state?.clearCurrent()
      } catch (thrown) {
        throw isOurs(thrown) ? thrown : new UserCodeError(operator, thrown)
      }
      ctx.active = false
    },
  }
}

/** Failures from downstream pass through a user's `receive` unchanged. */
const isOurs = (thrown: unknown): boolean =>
  thrown instanceof UserCodeError ||
  thrown instanceof SluiceError ||
  thrown instanceof InvariantViolation

const refuseResult = (result: unknown): void => {
  if (result instanceof Promise) {
    throw new Error("'receive' returned a promise; it must finish its work before it returns")
  }
}

/** A record that fails leaves no trace: its emits are held until it succeeds, its state is put back. */
const lenient = (
  operator: string,
  actor: AnyActor,
  subtask: number,
  emit: Collector,
  state: StateDriver | undefined,
  outputs: ChainOutputs,
): ChainProgram => {
  let held: unknown[] = []
  const ctx = contextOf(operator, subtask, record => held.push(record), state)
  const view: Context<unknown, unknown> = ctx
  const refused = (record: unknown, thrown: unknown): void => {
    const reason = messageOf(thrown)
    if (actor.onError === 'skip') outputs.onSkipped(operator, reason)
    else outputs.onDeadLetter(operator, record, reason)
  }
  return {
    receive: (record, key, group) => {
      ctx.key = key
      ctx.active = true
      held = []
      if (state !== undefined && key !== undefined) state.setCurrent(key, group)
      const before = state !== undefined && key !== undefined ? state.peek() : undefined
      try {
        const result: unknown = actor.receive(view, record)
        if (result !== undefined) refuseResult(result)
      } catch (thrown) {
        if (state !== undefined && key !== undefined) state.revert(before)
        state?.clearCurrent()
        ctx.active = false
        refused(record, thrown)
        return
      }
      state?.clearCurrent()
      ctx.active = false
      // Downstream failures are downstream's: they must not be taken for this actor's.
      for (const out of held) emit(out)
    },
  }
}
