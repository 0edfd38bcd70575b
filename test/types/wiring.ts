/**
 * What must compile and what must not. The compiler is the test: a wrong wiring that compiles makes
 * its `@ts-expect-error` an error, and the build fails. WT1–WT4 are the rules of lib/job/stream.ts.
 */
import * as t from 'io-ts'
import {
  type Actor,
  actor,
  iterable,
  type Job,
  type JobGraph,
  jetstream,
  job,
  type KeyedState,
  type Stream,
} from 'sluice'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const proves = <_T extends true>(): void => undefined

const Order = t.type({ customer: t.string, cents: t.number })
const Total = t.type({ customer: t.string, total: t.number })
const Customer = t.type({ customer: t.string })

const orders = jetstream.source({ id: 'orders', stream: 'ORDERS', accepts: Order })
const totalsOut = jetstream.sink({ id: 'totals-out', subject: 'totals' })

const totals = actor({
  name: 'totals',
  accepts: Order,
  emits: Total,
  state: { codec: t.number, initial: () => 0 },
  receive: (ctx, order) => {
    proves<Equal<typeof order, { customer: string; cents: number }>>()
    proves<Equal<typeof ctx.state, KeyedState<number>>>()
    ctx.state.set(ctx.state.get() + order.cents)
    ctx.emit({ customer: order.customer, total: ctx.state.get() })
  },
})

const large = actor({
  name: 'large',
  accepts: Total,
  emits: Total,
  receive: (ctx, total) => {
    proves<Equal<typeof ctx.state, never>>()
    if (total.total > 100) ctx.emit(total)
  },
})

const audit = actor({ name: 'audit', accepts: Customer, emits: t.never, receive: () => undefined })

proves<Equal<typeof totals, Actor<{ customer: string; cents: number }, typeof Total._A, number>>>()
proves<Equal<typeof large, Actor<typeof Total._A, typeof Total._A, never>>>()

// What compiles -----------------------------------------------------------------------------------

/** Chained actors, an actor without state on an unkeyed stream. */
export const chained: Job = job('chained')
  .from(orders)
  .keyBy(order => order.customer)
  .to(totals, { parallelism: 3 })
  .to(large, { parallelism: 3, id: 'large-totals' })
  .into(totalsOut, { parallelism: 3 })

/**
 * An actor that only consumes ends a pipeline (WT4), and takes records with more than it needs (WT1).
 */
export const consumed: Job = job('consumed')
  .from(orders)
  .to(audit, { parallelism: 2 })
  .checkpoint({ intervalMs: 50, mode: 'at-least-once', timeoutMs: 5_000, minPauseMs: 10 })

/** Two pipelines in one job; numbers as keys; an iterable as a source. */
export const twice: Job = job('twice', {
  maxParallelism: 16,
  durability: 'process-crash',
  mailboxStorage: 'file',
  limits: { lingerMs: 2 },
})
  .from(orders)
  .keyBy(order => order.customer)
  .to(totals)
  .into(totalsOut)
  .from(iterable.source({ id: 'numbers', open: offset => [1, 2, 3].slice(offset) }))
  .keyBy(number => number % 2)
  .into(jetstream.sink({ id: 'numbers-out', subject: 'numbers', stream: 'NUMBERS' }))
  .checkpoint({ intervalMs: 1_000 })

/** What a stream carries is what its source or actor says. */
export const carried: Stream<{ customer: string; total: number }> = job('carried')
  .from(orders)
  .keyBy(order => order.customer)
  .to(totals)

/** A codec whose wire form differs: the actor sees what is decoded. */
const Cents = new t.Type<bigint, string, unknown>(
  'Cents',
  (u): u is bigint => typeof u === 'bigint',
  (u, c) => t.string.pipe(Digits).validate(u, c),
  value => value.toString(),
)
const Digits = new t.Type<bigint, string, string>(
  'Digits',
  (u): u is bigint => typeof u === 'bigint',
  (text, c) => (/^\d+$/.test(text) ? t.success(BigInt(text)) : t.failure(text, c)),
  value => value.toString(),
)
export const decoded = actor({
  name: 'decoded',
  accepts: t.type({ cents: Cents }),
  emits: t.number,
  receive: (ctx, record) => ctx.emit(Number(record.cents)),
})

// What does not -----------------------------------------------------------------------------------

/**
 * Wrong wirings as graphs: what the compiler refuses, `validate` reports too where it can be seen.
 */
export const wrong: Readonly<Record<string, JobGraph>> = {
  statefulUnkeyed: job('stateful-unkeyed')
    .from(orders)
    // @ts-expect-error WT2: state needs a key
    .to(totals)
    .into(totalsOut).graph,

  acceptsOther: job('accepts-other')
    .from(orders)
    // @ts-expect-error WT1: an Order is no Total
    .to(large)
    .into(totalsOut).graph,

  acceptsOtherBehindActor: job('accepts-other-behind-actor')
    .from(orders)
    .keyBy(order => order.customer)
    .to(totals)
    .keyBy(total => total.customer)
    // @ts-expect-error WT1: a Total is no Order
    .to(totals, { id: 'again' })
    .into(totalsOut).graph,

  missingField: job('missing-field')
    .from(orders)
    // @ts-expect-error an Order has no field of that name
    .keyBy(order => order.client)
    .to(totals)
    .into(totalsOut).graph,

  keyOfOtherType: job('key-of-other-type')
    .from(orders)
    // @ts-expect-error a key is a string or a number
    .keyBy(order => [order.customer])
    .to(totals)
    .into(totalsOut).graph,

  notJson: job('not-json')
    .from(iterable.source({ id: 'bigints', open: () => [1n, 2n] }))
    // @ts-expect-error WT3: JSON holds no bigint
    .into(totalsOut).graph,

  sinkAsActor: job('sink-as-actor')
    .from(orders)
    // @ts-expect-error a sink is no actor
    .to(totalsOut).graph,

  actorAsSink: job('actor-as-sink')
    .from(orders)
    // @ts-expect-error an actor is no sink
    .into(audit).graph,

  sinkAsSource: job('sink-as-source')
    // @ts-expect-error a sink is no source
    .from(totalsOut)
    .into(totalsOut).graph,

  unknownStepOption: job('unknown-step-option')
    .from(orders)
    // @ts-expect-error the option is parallelism
    .to(audit, { paralellism: 2 }).graph,

  unknownCheckpointOption: job('unknown-checkpoint-option')
    .from(orders)
    .into(totalsOut)
    // @ts-expect-error the option is intervalMs
    .checkpoint({ intervalMS: 1_000 }).graph,

  // @ts-expect-error the option is maxParallelism
  unknownJobOption: job('unknown-job-option', { maxParalelism: 4 }).from(orders).into(totalsOut)
    .graph,

  // @ts-expect-error there is no such limit
  unknownLimit: job('unknown-limit', { limits: { linger: 4 } })
    .from(orders)
    .into(totalsOut).graph,

  unknownMode: job('unknown-mode')
    .from(orders)
    .into(totalsOut)
    // @ts-expect-error there is no such mode
    .checkpoint({ intervalMs: 1_000, mode: 'sometimes' }).graph,
}

const unfinished = job('unfinished').from(orders)
// @ts-expect-error a stream without a sink is no job
export const notYetAJob: Job = unfinished
// @ts-expect-error without a source there is no stream
export const noStream: unknown = job('no-stream').into
// @ts-expect-error WT4: behind an actor that emits nothing there is no stream
export const nothingLeft: unknown = unfinished.to(audit).into

/** Wrong actors. They are never run: the lines in their bodies are for the compiler. */
export const wrongActors: readonly unknown[] = [
  actor({
    name: 'emits-other',
    accepts: Order,
    emits: Total,
    // @ts-expect-error what it emits is no Total
    receive: (ctx, order) => ctx.emit({ customer: order.customer }),
  }),
  actor({
    name: 'emits-though-never',
    accepts: Order,
    emits: t.never,
    // @ts-expect-error it declares that it emits nothing
    receive: (ctx, order) => ctx.emit(order),
  }),
  actor({
    name: 'reads-missing-field',
    accepts: Order,
    emits: t.string,
    // @ts-expect-error an Order has no field of that name
    receive: (ctx, order) => ctx.emit(order.client),
  }),
  actor({
    name: 'state-undeclared',
    accepts: Order,
    emits: t.number,
    // @ts-expect-error it declares no state
    receive: ctx => ctx.emit(ctx.state.get()),
  }),
  actor({
    name: 'state-of-other-type',
    accepts: Order,
    emits: t.number,
    state: { codec: t.number, initial: () => 0 },
    // @ts-expect-error its state is a number
    receive: ctx => ctx.state.set('1'),
  }),
  actor({
    name: 'initial-of-other-type',
    accepts: Order,
    emits: t.number,
    // @ts-expect-error its state is a number
    state: { codec: t.number, initial: () => '0' },
    receive: () => undefined,
  }),
  actor({
    name: 'async',
    accepts: Order,
    emits: t.number,
    // @ts-expect-error what happens after an await would belong to no checkpoint
    receive: async (ctx, order) => ctx.emit(order.cents),
  }),
  // @ts-expect-error emits is missing
  actor({ name: 'emits-missing', accepts: Order, receive: () => undefined }),
  // @ts-expect-error there is no such policy
  actor({ name: 'policy', accepts: Order, emits: t.never, receive: () => undefined, onError: 'x' }),
  // @ts-expect-error the id is missing
  jetstream.source({ stream: 'ORDERS', accepts: Order }),
  // @ts-expect-error a time needs a time
  jetstream.source({ id: 's', stream: 'S', accepts: Order, start: { at: 'time' } }),
  // @ts-expect-error the subject is missing
  jetstream.sink({ id: 'out' }),
]
