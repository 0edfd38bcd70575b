/**
 * The output against a model server and a model job: exhaustive small worlds, seeded long runs, and each
 * invariant by its number. The judge is in `Server.write`: it notes every record that is stored twice, out of
 * order, or before its checkpoint has completed.
 */
import test from 'ava'
import { streamError } from '../../lib/errors.js'
import {
  type LastRead,
  type OutputEffect,
  type OutputOptions,
  type OutputSnapshot,
  type PublishOutcome,
  stampOf,
  TransactionalOutput,
} from '../../lib/protocol/commit.js'
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

test('crashes at any two steps, with the predecessors at work beside the successor, double and lose nothing', t => {
  const faults = { crash: 2 }
  const { runs } = explore(t, { exclusive: true, records: 4, perEpoch: 2, faults })
  t.true(runs > 1_000)
})

test('two kills at any steps lose nothing that a completed checkpoint covers', t => {
  const { runs } = explore(t, { exclusive: true, records: 8, perEpoch: 4, faults: { kill: 2 } })
  t.true(runs > 500)
})

test('an ack lost and a connection broken, with packets that still arrive late, double nothing', t => {
  const faults = { 'lose-ack': 1, disconnect: 2, kill: 1 }
  const { runs } = explore(t, { exclusive: true, records: 3, perEpoch: 3, faults })
  t.true(runs > 1_000)
})

test('aborted checkpoints, lost notifications and answers out of order leave no gap', t => {
  const faults = { abort: 1, 'lose-note': 1, delay: 1, kill: 1 }
  const { runs } = explore(t, { exclusive: true, records: 4, perEpoch: 2, faults })
  t.true(runs > 1_000)
})

test('S4: other writers on a shared stream, at any step beside a crash, cause no hole and no double', t => {
  const limits = { holdsBeforeGrowth: 1 }
  const faults = { other: 2, crash: 1 }
  const { runs } = explore(t, { exclusive: false, limits, records: 4, perEpoch: 4, faults })
  t.true(runs > 1_000)
})

test('S4: other writers between any two messages of a shared stream cause no hole', t => {
  const limits = { holdsBeforeGrowth: 1 }
  const faults = { other: 3, delay: 1 }
  const { runs } = explore(t, { exclusive: false, limits, records: 6, perEpoch: 6, faults })
  t.true(runs > 1_000)
})

test('a stranger on the subject itself harms nothing while every message waits for its ack', t => {
  const limits = { windowRecordsMax: 1 }
  for (const faults of [
    { foreign: 1, crash: 1 },
    { foreign: 3, kill: 1 },
  ]) {
    const { runs } = explore(t, { exclusive: false, limits, records: 3, perEpoch: 3, faults })
    t.true(runs > 1_000)
  }
})

test('S9: a stream wrongly declared exclusive ends in a failure that names the skipped record', t => {
  const options = { exclusive: true, records: 6, perEpoch: 3, faults: { other: 2 } }
  const isNamed = (failure: string) => failure.startsWith('lost: ')
  const { failures } = explore(t, options, isNamed, world => world.failures.length > 0)
  t.true(failures.size > 0)
  for (const failure of failures) {
    t.regex(failure, /^lost: .* somebody else writes .* record \d of epoch \d was refused/)
  }
})

test('S8: retention that empties the subject at any step causes a failure at worst, never a double', t => {
  for (const exclusive of [true, false]) {
    const options = { exclusive, records: 4, perEpoch: 2, faults: { empty: 2, kill: 1 } }
    const { failures } = explore(t, options, failure => failure.startsWith('lost: '))
    t.true(failures.size > 0)
    t.true([...failures].every(failure => failure.includes('history')))
  }
})

const wandering = test.macro({
  exec(t, first: number, options: WorldOptions) {
    let generations = 0
    const failures: string[] = []
    for (let seed = first; seed < first + 150; seed += 1) {
      const world = wander(seed, options)
      generations += world.generation
      failures.push(...world.failures)
    }
    t.log(`seeds ${first} to ${first + 149}: ${generations} generations`)
    t.deepEqual(failures, [])
  },
  title: (name = '') => `seeded long runs over several generations: ${name}`,
})

test('alone in a stream', wandering, 1_000, {
  exclusive: true,
  records: 300,
  perEpoch: 7,
  limits: { windowRecordsMax: 16 },
  faults: often,
})

test('beside writers on other subjects', wandering, 2_000, {
  exclusive: false,
  records: 300,
  perEpoch: 7,
  limits: { windowRecordsMax: 16 },
  faults: { ...often, other: 300 },
})

test('beside a stranger on the subject, one message at a time', wandering, 3_000, {
  exclusive: false,
  records: 60,
  perEpoch: 5,
  limits: { windowRecordsMax: 1 },
  faults: { ...often, other: 100, foreign: 40 },
})

const optionsOf = (more: Partial<OutputOptions> = {}): OutputOptions => ({
  ...identity,
  generation: 5,
  subject: 'out',
  mode: 'transactional',
  exclusive: true,
  ...more,
})

/** Effects as short texts: `a 1/0 >7` publishes record `a` of epoch 1, index 0, expecting sequence 7. */
const show = (effect: OutputEffect): string => {
  switch (effect.type) {
    case 'publish': {
      const stamp = stampOf(effect.headers, identity)
      const at = `${stamp?.epoch}/${stamp?.index}`
      return `${decode(effect.payload)} ${at} >${effect.expectedLastSubjectSequence}`
    }
    case 'scan-back':
      return `scan-back ${effect.after}`
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

const effectsOf = (output: TransactionalOutput): string[] => output.takeEffects().map(show)

const errorOf = (output: TransactionalOutput): string => {
  const effect = output.takeEffects().find(({ type }) => type === 'failed')
  return effect?.type === 'failed' ? effect.error.message : ''
}

/** An output of a first start whose subject's last message, a stranger's, is at sequence 10. */
const begin = (more: Partial<OutputOptions> = {}): TransactionalOutput => {
  const output = TransactionalOutput.start(optionsOf(more))
  output.lastRead({ type: 'found', sequence: 10, ours: undefined }, 0)
  output.takeEffects()
  return output
}

const prepare = (output: TransactionalOutput, epoch: number, ...texts: string[]): void => {
  for (const text of texts) output.add(encode(text))
  output.prepare(epoch)
}

/** Answers `stored` to messages from token `from` on. */
const ack = (output: TransactionalOutput, from: number, ...sequences: number[]): void => {
  sequences.forEach((sequence, i) => {
    output.outcome(from + i, { type: 'stored', sequence }, 0)
  })
}

const found = (sequence: number, epoch: number, index: number, generation = 4): LastRead => ({
  type: 'found',
  sequence,
  ours: { generation, epoch, index },
})

const refused: PublishOutcome = { type: 'wrong-last-sequence', actual: 99 }
const unanswered: PublishOutcome = { type: 'failed', error: timedOut }

/** An output restored from epoch 3 with records a, b (epoch 2) and c (epoch 3) that may have been published. */
const restore = (
  more: Partial<OutputOptions> = {},
  base: OutputSnapshot['base'] = { sequence: 10, published: { epoch: 1, index: 5 } },
): TransactionalOutput => {
  const output = TransactionalOutput.restore(optionsOf(more), {
    restoredEpoch: 3,
    base,
    transactions: [
      { epoch: 2, firstIndex: 0, records: [encode('a'), encode('b')] },
      { epoch: 3, firstIndex: 0, records: [encode('c')] },
    ],
  })
  output.takeEffects()
  return output
}

test('S1: nothing is published before its checkpoint has completed', t => {
  const output = begin()
  prepare(output, 1, 'a')
  prepare(output, 2, 'b')
  t.deepEqual(effectsOf(output), [])
  output.completed(1)
  t.deepEqual(effectsOf(output), ['a 1/0 >10'])
})

test('S1: a completion covers all epochs before it; repeated and older ones change nothing', t => {
  const output = begin()
  prepare(output, 1, 'a')
  prepare(output, 2, 'b')
  prepare(output, 3)
  output.completed(3)
  output.completed(1)
  output.completed(3)
  t.deepEqual(effectsOf(output), ['a 1/0 >10', 'b 2/0 >11'])
  ack(output, 0, 11, 12)
  t.deepEqual(effectsOf(output), ['committed 1', 'committed 3'])
  t.is(output.committedUpTo, 3)
})

test('S1: records of an aborted checkpoint are published with the next that completes', t => {
  const output = begin()
  prepare(output, 1, 'a')
  output.aborted(1)
  prepare(output, 2, 'b')
  output.completed(2)
  t.deepEqual(effectsOf(output), ['a 1/0 >10', 'b 2/0 >11'])
})

test('S1: a completion of what was never prepared, and an epoch that goes back, are defects', t => {
  const output = begin()
  prepare(output, 2, 'a')
  t.throws(() => output.completed(3), { message: /invariant S1/ })
  t.throws(() => output.prepare(2), { message: /invariant S1/ })
})

test('a message carries its place, and stampOf reads it back for this output only', t => {
  const named = { job: 'a\r\nSluice-Epoch: 9', sink: 'delays out', subtask: 3 }
  const output = begin(named)
  prepare(output, 7, 'a')
  output.completed(7)
  const [publish] = output.takeEffects()
  const headers = publish?.type === 'publish' ? publish.headers : {}
  t.deepEqual(headers, {
    'Sluice-Job': 'a=0d=0aSluice-Epoch=3a=209',
    'Sluice-Sink': 'delays=20out/3',
    'Sluice-Generation': '5',
    'Sluice-Epoch': '7',
    'Sluice-Index': '0',
  })
  t.deepEqual(stampOf(headers, named), { generation: 5, epoch: 7, index: 0 })
  t.is(stampOf(headers, { ...named, subtask: 0 }), undefined)
  t.is(stampOf(headers, { ...named, job: 'b' }), undefined)
  t.is(stampOf({ ...headers, 'Sluice-Index': '-1' }, named), undefined)
  t.is(stampOf(undefined, named), undefined)
})

test('S3: after a refusal the rest of the window is awaited, then truth is read, then the rest is sent', t => {
  const output = begin()
  prepare(output, 1, 'a', 'b', 'c')
  output.completed(1)
  t.deepEqual(effectsOf(output), ['a 1/0 >10', 'b 1/1 >11', 'c 1/2 >12'])
  ack(output, 0, 11)
  output.outcome(1, unanswered, 0)
  t.deepEqual(effectsOf(output), [])
  output.outcome(2, refused, 0)
  t.deepEqual(effectsOf(output), ['read-last'])
  output.lastRead(found(12, 1, 1, 5), 0)
  t.deepEqual(effectsOf(output), ['c 1/2 >12'])
  ack(output, 1, 50)
  t.deepEqual(effectsOf(output), [], 'an outcome that comes after the message was given up')
  ack(output, 3, 13)
  t.deepEqual(effectsOf(output), ['committed 1'])
})

test('S4: an exclusive stream takes a whole window of predicted sequences, bounded in records and bytes', t => {
  const output = begin({ limits: { windowRecordsMax: 3, windowBytesMax: 8 } })
  prepare(output, 1, 'aaa', 'bbb', 'ccc', 'd', 'too long for the window', 'e')
  output.completed(1)
  t.deepEqual(effectsOf(output), ['aaa 1/0 >10', 'bbb 1/1 >11'])
  ack(output, 0, 11)
  t.deepEqual(effectsOf(output), ['ccc 1/2 >12', 'd 1/3 >13'])
  ack(output, 1, 12, 13, 14)
  t.deepEqual(effectsOf(output), ['too long for the window 1/4 >14'])
})

test('S4: a shared stream gets two messages at most, and one while predictions fail', t => {
  const output = begin({ exclusive: false, limits: { holdsBeforeGrowth: 2 } })
  prepare(output, 1, ...'abcdefghij')
  output.completed(1)
  t.deepEqual(effectsOf(output), ['a 1/0 >10'])
  ack(output, 0, 11)
  t.deepEqual(effectsOf(output), ['b 1/1 >11'])
  ack(output, 1, 12)
  t.deepEqual(effectsOf(output), ['c 1/2 >12', 'd 1/3 >13'])
  ack(output, 2, 13, 14)
  t.deepEqual(effectsOf(output), ['e 1/4 >14', 'f 1/5 >15'])
  ack(output, 4, 20)
  output.outcome(5, refused, 0)
  t.deepEqual(effectsOf(output), ['read-last'])
  output.lastRead(found(20, 1, 4, 5), 0)
  t.deepEqual(effectsOf(output), ['f 1/5 >20'])
  ack(output, 6, 23)
  t.deepEqual(effectsOf(output), ['g 1/6 >23'], 'the prediction would have failed: no second one')
})

test('S4: a refusal narrows the window of an exclusive stream to one, and predictions that hold widen it', t => {
  const output = begin({ limits: { windowRecordsMax: 3, holdsBeforeGrowth: 2 } })
  prepare(output, 1, ...'abcdef')
  output.completed(1)
  output.takeEffects()
  for (const token of [0, 1, 2]) output.outcome(token, refused, 0)
  output.lastRead({ type: 'found', sequence: 10, ours: undefined }, 0)
  t.deepEqual(effectsOf(output), ['read-last', 'a 1/0 >10'])
  ack(output, 3, 11)
  t.deepEqual(effectsOf(output), ['b 1/1 >11'])
  ack(output, 4, 12)
  t.deepEqual(effectsOf(output), ['c 1/2 >12', 'd 1/3 >13'])
})

test('S4: behind an empty subject the first ack is awaited', t => {
  const output = TransactionalOutput.start(optionsOf())
  output.lastRead({ type: 'empty', firstSequence: 0, lastSequence: 0 }, 0)
  prepare(output, 1, 'a', 'b', 'c')
  output.completed(1)
  t.deepEqual(effectsOf(output), ['read-last', 'recovered', 'a 1/0 >0'])
  ack(output, 0, 40)
  t.deepEqual(effectsOf(output), ['b 1/1 >40', 'c 1/2 >41'])
})

test('S4: a stranger on the subject is scanned past, and narrows the window for good', t => {
  const output = begin({ limits: { holdsBeforeGrowth: 1 } })
  prepare(output, 1, ...'abcdef')
  output.completed(1)
  output.takeEffects()
  ack(output, 0, 11)
  for (let sent = 1; sent < 6; sent += 1) output.outcome(sent, refused, 0)
  t.deepEqual(effectsOf(output), ['read-last'])
  output.lastRead({ type: 'found', sequence: 12, ours: undefined }, 0)
  t.deepEqual(effectsOf(output), ['scan-back 11'])
  output.scanned({ type: 'none', firstSequence: 1 }, 0)
  t.deepEqual(effectsOf(output), ['b 1/1 >12'])
  ack(output, 6, 13)
  t.deepEqual(effectsOf(output), ['c 1/2 >13'])
  ack(output, 7, 14)
  t.deepEqual(effectsOf(output), ['d 1/3 >14'])
})

test('a scan that finds a message of ours goes on after it, behind the stranger', t => {
  const output = restore()
  output.lastRead({ type: 'found', sequence: 14, ours: undefined }, 0)
  t.deepEqual(effectsOf(output), ['scan-back 10'])
  const ours = { generation: 4, epoch: 2, index: 0 }
  output.scanned({ type: 'found', sequence: 12, ours }, 0)
  t.deepEqual(effectsOf(output), ['b 2/1 >14'])
})

test('S5: a message of a newer generation ends a zombie for ever', t => {
  const output = begin()
  prepare(output, 1, 'a')
  output.completed(1)
  output.outcome(0, refused, 0)
  output.takeEffects()
  output.lastRead(found(11, 1, 0, 6), 0)
  t.deepEqual(effectsOf(output), ['fenced 6'])
  prepare(output, 2, 'b')
  output.completed(2)
  output.tick(1e9)
  t.deepEqual(effectsOf(output), [])
})

test('S5: a newer generation also ends a direct output', t => {
  const output = begin({ mode: 'direct' })
  output.add(encode('a'))
  output.outcome(0, refused, 0)
  output.takeEffects()
  output.lastRead(found(11, 0, 3, 6), 0)
  output.add(encode('b'))
  t.deepEqual(effectsOf(output), ['fenced 6'])
})

test('S5: a newer generation is also found behind a stranger', t => {
  const output = restore()
  output.lastRead({ type: 'found', sequence: 14, ours: undefined }, 0)
  const ours = { generation: 6, epoch: 2, index: 1 }
  output.scanned({ type: 'found', sequence: 12, ours }, 0)
  t.deepEqual(effectsOf(output), ['scan-back 10', 'fenced 6'])
})

test('S6: a message of an epoch after the restored one means that the store lost a checkpoint', t => {
  const output = restore()
  output.lastRead(found(20, 4, 0), 0)
  t.regex(errorOf(output), /store lost a completed checkpoint.*record 0 of epoch 4.*epoch 3/)
})

test('S7: what was restored is published, then recovered is said, then new records follow', t => {
  const output = restore()
  prepare(output, 4, 'd')
  output.completed(4)
  output.lastRead(found(11, 2, 0), 0)
  t.deepEqual(effectsOf(output), ['b 2/1 >11', 'c 3/0 >12'])
  ack(output, 0, 12, 13)
  t.deepEqual(effectsOf(output), ['recovered', 'd 4/0 >13', 'committed 3'])
})

test('S7: a recovery that finds everything published sends nothing', t => {
  const output = restore()
  output.lastRead(found(13, 3, 0), 0)
  t.deepEqual(effectsOf(output), ['recovered', 'committed 3'])
  t.is(output.pendingRecords, 0)
})

test('S8: an empty subject proves nothing was published only if its stream kept all since the base', t => {
  const outcomes = [
    { firstSequence: 11, lastSequence: 10, proven: true },
    { firstSequence: 3, lastSequence: 25, proven: true },
    { firstSequence: 12, lastSequence: 25, proven: false },
    { firstSequence: 1, lastSequence: 4, proven: false },
  ]
  for (const { proven, ...facts } of outcomes) {
    const output = restore()
    output.lastRead({ type: 'empty', ...facts }, 0)
    const [effect] = output.takeEffects()
    t.is(effect === undefined ? '' : show(effect), proven ? 'a 2/0 >0' : 'failed lost')
  }
})

test('S8: a stream that ends below what this output has published there has lost it', t => {
  for (const lastSequence of [10, 11]) {
    const output = begin({ exclusive: false })
    prepare(output, 1, 'a', 'b')
    output.completed(1)
    ack(output, 0, 11)
    output.outcome(1, refused, 0)
    output.takeEffects()
    output.lastRead({ type: 'empty', firstSequence: lastSequence + 1, lastSequence }, 0)
    t.deepEqual(effectsOf(output), [lastSequence === 11 ? 'b 1/1 >0' : 'failed lost'])
  }
})

test('S8: so has a stream that went on since, where it still holds what is older than our last message', t => {
  for (const [firstSequence, mayBeCleared] of [
    [11, false],
    [12, false],
    [11, true],
  ] as const) {
    const output = begin({ exclusive: false, mayBeCleared })
    prepare(output, 1, 'a', 'b')
    output.completed(1)
    ack(output, 0, 11)
    output.outcome(1, refused, 0)
    output.takeEffects()
    output.lastRead({ type: 'empty', firstSequence, lastSequence: 30 }, 0)
    const isLost = firstSequence === 11 && !mayBeCleared
    t.deepEqual(effectsOf(output), [isLost ? 'failed lost' : 'b 1/1 >0'])
  }
})

test('S8: a stranger alone on the subject proves nothing was published only if all since the base is there', t => {
  for (const firstSequence of [11, 12]) {
    const output = restore()
    output.lastRead({ type: 'found', sequence: 14, ours: undefined }, 0)
    output.takeEffects()
    output.scanned({ type: 'none', firstSequence }, 0)
    t.deepEqual(effectsOf(output), [firstSequence === 11 ? 'a 2/0 >14' : 'failed lost'])
  }
})

test('S8: retention that empties the subject of a running output is no failure, unless a fate is unknown', t => {
  for (const last of [refused, unanswered]) {
    const output = begin({ exclusive: false })
    prepare(output, 1, 'a', 'b')
    output.completed(1)
    ack(output, 0, 11)
    output.outcome(1, last, 0)
    output.takeEffects()
    output.lastRead({ type: 'empty', firstSequence: 31, lastSequence: 30 }, 0)
    t.deepEqual(effectsOf(output), [last === refused ? 'b 1/1 >0' : 'failed lost'])
  }
})

test('S8: in an exclusive stream, messages that came and went after our last one fail a running output', t => {
  const output = begin()
  prepare(output, 1, 'a')
  output.completed(1)
  output.outcome(0, refused, 0)
  output.takeEffects()
  output.lastRead({ type: 'empty', firstSequence: 31, lastSequence: 30 }, 0)
  t.deepEqual(effectsOf(output), ['failed lost'])
})

test('S9: late packets of a broken connection may overtake their own repetition', t => {
  const output = begin()
  prepare(output, 1, 'a', 'b')
  output.completed(1)
  output.outcome(0, unanswered, 0)
  output.outcome(1, unanswered, 0)
  output.lastRead({ type: 'found', sequence: 10, ours: undefined }, 0)
  output.takeEffects()
  output.outcome(2, refused, 0)
  ack(output, 3, 12)
  output.tick(output.wakeAt ?? 0)
  t.deepEqual(effectsOf(output), ['read-last'])
  output.lastRead(found(12, 1, 1, 5), 0)
  t.deepEqual(effectsOf(output), ['committed 1'])
})

test('S10: a snapshot holds by reference what was not published, and later publishing does not change it', t => {
  const output = begin()
  prepare(output, 1, 'a', 'b')
  output.completed(1)
  ack(output, 0, 11)
  prepare(output, 2, 'c')
  const snapshot = output.snapshot()
  ack(output, 1, 12)
  const shown = snapshot.transactions.map(({ epoch, firstIndex, records }) => [
    epoch,
    firstIndex,
    ...records.map(decode),
  ])
  t.deepEqual(shown, [
    [1, 1, 'b'],
    [2, 0, 'c'],
  ])
  t.deepEqual(snapshot.base, { sequence: 11, published: { epoch: 1, index: 0 }, own: 11 })
  t.is(output.snapshot().transactions[0]?.records, snapshot.transactions[1]?.records)
})

test('S11: attempts without progress come later and later, and end in a failure with the last reason', t => {
  const output = begin({ limits: { attemptsMax: 4, retryDelayMs: 100, retryDelayMsMax: 150 } })
  prepare(output, 1, 'a')
  output.completed(1)
  output.takeEffects()
  output.outcome(0, unanswered, 1_000)
  const error = streamError('unavailable', 'no connection')
  const delays: (number | undefined)[] = []
  for (let now = 1_000; output.takeEffects().some(({ type }) => type === 'read-last'); ) {
    output.lastRead({ type: 'failed', error }, now)
    if (output.wakeAt === undefined) break
    delays.push(output.wakeAt - now)
    now = output.wakeAt
    output.tick(now - 1)
    t.deepEqual(output.takeEffects(), [])
    output.tick(now)
  }
  t.deepEqual(delays, [100, 150, 150])
  t.regex(errorOf(output), /sink out\/0 on "out": no record .* in 4 attempts: no connection/)
  t.is(output.wakeAt, undefined)
})

test('S11: a stream that refuses for good is a failure with its reason, not silence', t => {
  const output = begin({ limits: { attemptsMax: 3 } })
  prepare(output, 1, 'a')
  output.completed(1)
  const error = streamError('full', 'maximum bytes exceeded')
  let effects = output.takeEffects()
  let now = 0
  for (; !effects.some(({ type }) => type === 'failed'); effects = output.takeEffects()) {
    for (const effect of effects) {
      if (effect.type === 'publish') output.outcome(effect.token, { type: 'failed', error }, now)
      if (effect.type === 'read-last') {
        output.lastRead({ type: 'found', sequence: 10, ours: undefined }, now)
      }
    }
    now = output.wakeAt ?? now
    output.tick(now)
  }
  t.deepEqual(effects.map(show), ['failed full'])
})

test('a last message before one that was stored, or of a record never prepared, is a failure', t => {
  const behind = restore()
  behind.lastRead(found(9, 1, 4), 0)
  t.regex(errorOf(behind), /lost stored messages: .*record 4 of epoch 1.*after record 5 of epoch 1/)
  const beyond = restore()
  beyond.lastRead(found(19, 2, 2), 0)
  t.regex(errorOf(beyond), /record 2 of epoch 2.*prepared no such record/)
  const early = begin()
  prepare(early, 1, 'a')
  prepare(early, 2, 'b')
  early.completed(1)
  early.outcome(0, refused, 0)
  early.lastRead(found(12, 2, 0, 5), 0)
  t.regex(errorOf(early), /record 0 of epoch 2.*no epoch after 1 has completed/)
})

test("S8: a stranger's message before the place of our last one means that ours is lost, unless people clear", t => {
  for (const mayBeCleared of [false, true]) {
    const base = { sequence: 15, published: { epoch: 1, index: 5 }, own: 15 }
    const output = TransactionalOutput.restore(optionsOf({ mayBeCleared }), {
      restoredEpoch: 1,
      base,
      transactions: [],
    })
    output.lastRead({ type: 'found', sequence: 8, ours: undefined }, 0)
    const [, told] = output.takeEffects().map(show)
    t.is(told, mayBeCleared ? 'recovered' : 'failed lost')
  }
})

test('a new job on a used subject starts behind it without scanning it', t => {
  const output = TransactionalOutput.start(optionsOf())
  output.lastRead({ type: 'found', sequence: 1_000_000, ours: undefined }, 0)
  t.deepEqual(effectsOf(output), ['read-last', 'recovered'])
})

test('a direct output publishes every record at once, and goes on behind its predecessors', t => {
  const output = TransactionalOutput.start(optionsOf({ mode: 'direct' }))
  output.add(encode('a'))
  t.deepEqual(effectsOf(output), ['read-last'])
  output.lastRead(found(10, 0, 77), 0)
  output.add(encode('b'))
  t.deepEqual(effectsOf(output), ['recovered', 'a 0/0 >10', 'b 0/1 >11'])
  ack(output, 0, 11)
  output.outcome(1, unanswered, 0)
  t.deepEqual(effectsOf(output), ['read-last'])
  output.add(encode('c'))
  output.lastRead(found(12, 0, 1, 5), 0)
  t.deepEqual(effectsOf(output), ['c 0/2 >12'])
  t.is(output.pendingRecords, 1)
})

test('pending bytes and records count what is not known to be published', t => {
  const output = begin()
  output.add(encode('abc'))
  t.is(output.pendingBytes, 3)
  prepare(output, 1, 'de')
  output.completed(1)
  t.deepEqual([output.pendingBytes, output.pendingRecords], [5, 2])
  ack(output, 0, 11)
  t.deepEqual([output.pendingBytes, output.pendingRecords], [2, 1])
  ack(output, 1, 12)
  t.deepEqual([output.pendingBytes, output.pendingRecords], [0, 0])
})
