/**
 * The low-latency output: exhaustive small worlds, seeded long runs, and each invariant by its number.
 */
import test from 'ava'
import type { LastRead, OutputLimits } from '../../lib/protocol/commit.js'
import { stampOf } from '../../lib/protocol/commit.js'
import {
  type IdempotentEffect,
  IdempotentOutput,
  type IdempotentSnapshot,
  type ReadBack,
} from '../../lib/protocol/idempotent.js'
import {
  decode,
  encode,
  explore,
  identity,
  often,
  timedOut,
  type WorldOptions,
  wander,
} from './output-world.js'

const kind = 'idempotent'

test('crashes at any two steps, with predecessors that go on with their input, double and lose nothing', t => {
  const limits = { windowRecordsMax: 2 }
  for (const [crash, records] of [
    [2, 2],
    [1, 4],
  ] as const) {
    const faults = { crash }
    const { runs } = explore(t, { kind, exclusive: true, limits, records, perEpoch: 1, faults })
    t.true(runs > 500)
  }
})

test('two kills at any steps lose nothing', t => {
  const options = { kind, exclusive: true, records: 8, perEpoch: 4, faults: { kill: 2 } } as const
  t.true(explore(t, options).runs > 500)
})

test('an ack lost and a connection broken, with packets that still arrive late, double nothing', t => {
  const faults = { 'lose-ack': 1, disconnect: 1, kill: 1 }
  const { runs } = explore(t, { kind, exclusive: true, records: 3, perEpoch: 1, faults })
  t.true(runs > 1_000)
})

test('other writers on a shared stream, at any step beside a crash, cause no hole and no double', t => {
  const limits = { holdsBeforeGrowth: 1 }
  const faults = { other: 1, crash: 1 }
  const { runs } = explore(t, { kind, exclusive: false, limits, records: 3, perEpoch: 1, faults })
  t.true(runs > 1_000)
})

test('IO7: retention that empties the subject at any step causes a failure at worst, never a double', t => {
  for (const exclusive of [true, false]) {
    const faults = { empty: 2, kill: 1 }
    const options = { kind, exclusive, records: 4, perEpoch: 2, faults } as const
    const { failures } = explore(t, options, failure => failure.startsWith('lost: '))
    t.true(failures.size > 0)
    t.true([...failures].every(failure => failure.includes('history')))
  }
})

test('IO2: a stream wrongly declared exclusive ends in a failure that names the skipped record', t => {
  const options = { kind, exclusive: true, records: 6, perEpoch: 3, faults: { other: 2 } } as const
  const isNamed = (failure: string): boolean => failure.startsWith('lost: ')
  const { failures } = explore(t, options, isNamed, world => world.failures.length > 0)
  t.true(failures.size > 0)
  for (const failure of failures)
    t.regex(failure, /^lost: .* record \d was refused and is not there, though record \d is/)
})

const wandering = test.macro({
  exec(t, first: number, options: WorldOptions) {
    let generations = 0
    for (let seed = first; seed < first + 150; seed += 1) {
      const world = wander(seed, options)
      generations += world.generation
      t.deepEqual(world.failures, [], `seed ${seed}`)
    }
    t.log(`seeds ${first} to ${first + 149}: ${generations} generations`)
  },
  title: (name = '') => `seeded long runs over several generations: ${name}`,
})

test('alone in a stream', wandering, 4_000, {
  kind,
  exclusive: true,
  records: 300,
  perEpoch: 7,
  limits: { windowRecordsMax: 16 },
  faults: often,
})

test('beside writers on other subjects', wandering, 5_000, {
  kind,
  exclusive: false,
  records: 300,
  perEpoch: 7,
  limits: { windowRecordsMax: 16 },
  faults: { ...often, other: 300 },
})

const checksum = (payload: Uint8Array): number => payload[0] ?? 0

const optionsOf = (limits: Partial<OutputLimits> = {}) => ({
  ...identity,
  generation: 5,
  subject: 'out',
  exclusive: true,
  checksum,
  limits,
})

/** Effects as short texts: `a 1 >7` publishes record `a` under number 1, expecting sequence 7. */
const show = (effect: IdempotentEffect): string => {
  switch (effect.type) {
    case 'publish': {
      const number = stampOf(effect.headers, identity)?.index
      return `${decode(effect.payload)} ${number} >${effect.expectedLastSubjectSequence}`
    }
    case 'read-since':
      return `read-since ${effect.after} to ${effect.until}`
    case 'committed':
      return `committed ${effect.epoch}`
    case 'fenced':
      return `fenced ${effect.generation}`
    case 'failed':
      return `failed ${effect.error.type}`
    default:
      return effect.type
  }
}

const effectsOf = (output: IdempotentOutput): readonly string[] => output.takeEffects().map(show)

const errorOf = (output: IdempotentOutput): string => {
  const effect = output.takeEffects().find(({ type }) => type === 'failed')
  return effect?.type === 'failed' ? effect.error.message : ''
}

const add = (output: IdempotentOutput, ...texts: readonly string[]): void => {
  for (const text of texts) output.add(encode(text))
}

const found = (sequence: number, index: number, generation = 4): LastRead => ({
  type: 'found',
  sequence,
  ours: { generation, epoch: 0, index },
})

const back = (index: number, text: string, generation = 4): ReadBack => ({
  stamp: { generation, epoch: 0, index },
  checksum: checksum(encode(text)),
})

/** Restored from epoch 3 after three records; the last, `c`, may have been published. */
const snapshot: IdempotentSnapshot = {
  base: { sequence: 10, published: 2 },
  next: 3,
  since: 10,
  records: [encode('c')],
}

const restore = (kept = snapshot, isElsewhere = false): IdempotentOutput => {
  const output = IdempotentOutput.restore(optionsOf(), { restoredEpoch: 3, isElsewhere, ...kept })
  output.takeEffects()
  return output
}

/** One that has recovered, with records below number 3 on its subject, the last of them at sequence 11. */
const recovered = (): IdempotentOutput => {
  const output = restore()
  output.lastRead(found(10, 1), 0)
  output.outcome(0, { type: 'stored', sequence: 11 }, 0)
  output.takeEffects()
  return output
}

test('IO1: a record is published at once under the number that it has again when it is replayed', t => {
  const output = recovered()
  add(output, 'd', 'e')
  t.deepEqual(effectsOf(output), ['d 3 >11', 'e 4 >12'])
  const again = restore()
  again.lastRead(found(12, 3), 0)
  t.deepEqual(effectsOf(again), ['read-since 10 to 12'])
  const messages = [back(2, 'c'), back(3, 'd')]
  again.readSince({ type: 'read', messages, firstSequence: 1 }, 0)
  add(again, 'd', 'e')
  t.deepEqual(effectsOf(again), ['recovered', 'committed 3', 'e 4 >12'])
})

test('IO3: after a refusal the rest of the window is awaited, then truth is read, then the rest is sent', t => {
  const output = recovered()
  add(output, 'd', 'e')
  output.takeEffects()
  output.outcome(1, { type: 'wrong-last-sequence', actual: 12 }, 0)
  t.deepEqual(effectsOf(output), [])
  // A leftover was faster with the first; the second landed behind that.
  output.outcome(2, { type: 'stored', sequence: 13 }, 0)
  t.deepEqual(effectsOf(output), ['read-last'])
  output.lastRead(found(13, 4, 5), 0)
  t.deepEqual(effectsOf(output), ['read-since 11 to 13'])
  const messages = [back(3, 'd'), back(4, 'e', 5)]
  output.readSince({ type: 'read', messages, firstSequence: 1 }, 0)
  add(output, 'f')
  t.deepEqual(effectsOf(output), ['f 5 >13'])
})

test('IO4: a replayed record with other content than its number has on the subject ends the job', t => {
  const output = restore()
  output.lastRead(found(12, 3), 0)
  const messages = [back(2, 'c'), back(3, 'd')]
  output.readSince({ type: 'read', messages, firstSequence: 1 }, 0)
  output.takeEffects()
  add(output, 'x', 'e')
  const error = errorOf(output)
  t.regex(error, /does not replay .* record 3 has other content/)
  t.deepEqual(effectsOf(output), [])
})

test('IO4: a record that waits is compared with what a leftover has published in its place', t => {
  const output = restore()
  output.lastRead(found(11, 2), 0)
  output.readSince({ type: 'read', messages: [back(2, 'x')], firstSequence: 1 }, 0)
  t.regex(errorOf(output), /record 2 has other content/)
})

test('IO4: what is ahead of a replay is read back again after a crash in its middle', t => {
  const output = restore()
  output.lastRead(found(14, 5), 0)
  const messages = [back(2, 'c'), back(3, 'd'), back(4, 'e'), back(5, 'f')]
  output.readSince({ type: 'read', messages, firstSequence: 1 }, 0)
  add(output, 'd')
  output.prepare(4, false)
  const kept = output.snapshot()
  t.like(kept, { base: { sequence: 14, published: 6 }, next: 4, since: 10 })
  const again = restore(kept)
  again.lastRead(found(14, 5), 0)
  t.deepEqual(effectsOf(again), ['read-since 10 to 14'])
  again.readSince({ type: 'read', messages, firstSequence: 1 }, 0)
  again.takeEffects()
  add(again, 'e', 'f', 'g')
  t.deepEqual(effectsOf(again), ['g 6 >14'])
  t.is(again.snapshot().since, 14)
})

test('IO5: what was restored is published, then recovered is said, then new records follow', t => {
  const output = restore()
  output.lastRead(found(10, 1), 0)
  add(output, 'd')
  t.deepEqual(effectsOf(output), ['c 2 >10', 'd 3 >11'])
  output.outcome(0, { type: 'stored', sequence: 11 }, 0)
  t.deepEqual(effectsOf(output), ['recovered', 'committed 3'])
})

test('IO5: a snapshot holds by reference what was not published, and later publishing does not change it', t => {
  const output = recovered()
  const record = encode('d')
  output.add(record)
  output.prepare(4, false)
  const kept = output.snapshot()
  output.outcome(1, { type: 'stored', sequence: 12 }, 0)
  t.is(kept.records[0], record)
  t.is(kept.records.length, 1)
  t.is(output.snapshot().records.length, 0)
})

test('IO6: a message of a newer generation ends a zombie for ever', t => {
  const output = recovered()
  add(output, 'd')
  output.takeEffects()
  output.outcome(1, { type: 'wrong-last-sequence', actual: 12 }, 0)
  output.takeEffects()
  output.lastRead(found(12, 3, 6), 0)
  t.deepEqual(effectsOf(output), ['fenced 6'])
  add(output, 'e')
  output.tick(1e9)
  t.deepEqual(effectsOf(output), [])
})

test('IO7: a stream that ends below what was published there has lost it', t => {
  const behind = restore()
  behind.lastRead(found(9, 0), 0)
  t.regex(errorOf(behind), /lost stored messages/)
  const empty = restore()
  empty.lastRead({ type: 'empty', firstSequence: 1, lastSequence: 9 }, 0)
  t.regex(errorOf(empty), /lost stored messages/)
  const gone = restore({ ...snapshot, base: { ...snapshot.base, own: 9 } })
  gone.lastRead({ type: 'empty', firstSequence: 4, lastSequence: 30 }, 0)
  t.regex(errorOf(gone), /lost stored messages: the subject is empty, its stream holds 4..30/)
})

test("IO7: a stranger's message before the place of our last one means that ours is lost", t => {
  const kept = { ...snapshot, base: { ...snapshot.base, own: 10 } }
  const lost = restore(kept)
  lost.lastRead({ type: 'found', sequence: 8, ours: undefined }, 0)
  t.regex(errorOf(lost), /lost stored messages: the last one there, at 8, is somebody else's/)
  const behind = restore({ ...kept, base: { ...kept.base, sequence: 12 }, since: 12 })
  behind.lastRead({ type: 'found', sequence: 12, ours: undefined }, 0)
  t.deepEqual(effectsOf(behind), ['c 2 >12'])
})

test('IO7: a refusal behind which the subject is empty may have been by a leftover', t => {
  const output = recovered()
  add(output, 'd')
  output.outcome(1, { type: 'wrong-last-sequence', actual: 12 }, 0)
  output.lastRead({ type: 'empty', firstSequence: 14, lastSequence: 13 }, 0)
  t.regex(errorOf(output), /history needed to go on is gone/)
})

test('IO7: an empty subject proves that nothing was published only if its stream kept all since the base', t => {
  const gone = restore()
  gone.lastRead({ type: 'empty', firstSequence: 14, lastSequence: 13 }, 0)
  t.regex(errorOf(gone), /history needed to go on is gone/)
  const still = restore()
  still.lastRead({ type: 'empty', firstSequence: 11, lastSequence: 10 }, 0)
  t.deepEqual(effectsOf(still), ['c 2 >0'])
})

test('IO7: behind a stranger nothing of ours is proven only if its stream kept all since the base', t => {
  for (const firstSequence of [11, 12]) {
    const output = restore()
    output.lastRead({ type: 'found', sequence: 12, ours: undefined }, 0)
    t.deepEqual(effectsOf(output), ['read-since 10 to 12'])
    output.readSince({ type: 'read', messages: [], firstSequence }, 0)
    if (firstSequence === 11) t.deepEqual(effectsOf(output), ['c 2 >12'])
    else t.regex(errorOf(output), /history needed to go on is gone/)
  }
})

test('IO8: nothing is published before the first checkpoint has completed, and all of it then', t => {
  const output = IdempotentOutput.start(optionsOf())
  output.takeEffects()
  output.lastRead({ type: 'empty', firstSequence: 1, lastSequence: 0 }, 0)
  add(output, 'a', 'b')
  output.prepare(1, false)
  t.deepEqual(effectsOf(output), ['recovered'])
  t.true(output.isHeld)
  output.completed(1)
  t.deepEqual(effectsOf(output), ['a 0 >0'])
  output.outcome(0, { type: 'stored', sequence: 1 }, 0)
  t.deepEqual(effectsOf(output), ['b 1 >1'])
  t.false(output.isHeld)
})

test('IO9: attempts without progress come later and later, and end in a failure with the last reason', t => {
  const output = IdempotentOutput.restore(optionsOf({ attemptsMax: 3 }), {
    restoredEpoch: 3,
    isElsewhere: false,
    ...snapshot,
  })
  output.takeEffects()
  const failed: LastRead = { type: 'failed', error: timedOut }
  const waits: (number | undefined)[] = []
  output.lastRead(failed, 0)
  for (let tries = 0; tries < 2; tries += 1) {
    output.lastRead(failed, 0)
    waits.push(output.wakeAt)
    output.tick(output.wakeAt ?? 0)
  }
  output.lastRead(failed, 0)
  t.deepEqual(waits, [100, 200])
  t.regex(errorOf(output), /no record was published in 3 attempts: no answer/)
})

test('an epoch is committed when it has completed and all before its barrier is published', t => {
  const output = recovered()
  add(output, 'd')
  output.prepare(4, false)
  add(output, 'e')
  output.completed(4)
  output.takeEffects()
  t.is(output.committedUpTo, 3)
  output.outcome(1, { type: 'stored', sequence: 12 }, 0)
  t.deepEqual(effectsOf(output), ['committed 4'])
})

test('IO8: another subject gets, from the first own checkpoint on, what nobody is known to have published', t => {
  for (const lastSequence of [0, 80]) {
    const output = restore(snapshot, true)
    const firstSequence = lastSequence === 0 ? 0 : 70
    output.lastRead({ type: 'empty', firstSequence, lastSequence }, 0)
    add(output, 'd')
    t.deepEqual(effectsOf(output), ['recovered'])
    output.prepare(4, false)
    t.true(output.isHeld)
    t.is(output.snapshot().records.length, 2)
    output.completed(4)
    t.deepEqual(effectsOf(output), ['c 2 >0'])
  }
})

test('IO4: a chain that ends before a record that was published ends the job', t => {
  const short = restore()
  short.lastRead(found(12, 3), 0)
  short.readSince({ type: 'read', messages: [back(2, 'c'), back(3, 'd')], firstSequence: 1 }, 0)
  short.takeEffects()
  short.prepare(4, false)
  t.deepEqual(effectsOf(short), [])
  short.prepare(5, true)
  t.regex(errorOf(short), /ended with 3 records, of 4 that were published before the restart/)
})

test('IO4: so does one behind whose end a leftover publishes', t => {
  const late = restore()
  late.lastRead(found(10, 1), 0)
  late.takeEffects()
  late.prepare(4, true)
  late.outcome(0, { type: 'wrong-last-sequence', actual: 12 }, 0)
  late.lastRead(found(12, 3), 0)
  late.readSince({ type: 'read', messages: [back(2, 'c'), back(3, 'd')], firstSequence: 1 }, 0)
  t.regex(errorOf(late), /ended with 3 records, of 4/)
})

test('pending bytes and records count what is not known to be published', t => {
  const output = recovered()
  add(output, 'abc', 'd')
  t.is(output.pendingBytes, 4)
  t.is(output.pendingRecords, 2)
  output.outcome(1, { type: 'stored', sequence: 12 }, 0)
  t.is(output.pendingBytes, 1)
})
