import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import {
  Beat,
  decodeMessage,
  encodeMessage,
  Orders,
  ToCoordinator,
} from '../../lib/protocol/messages.js'
import { prng } from '../support/prng.js'
import { reportOf } from './checkpoint-fixture.js'

const beat: Beat = {
  version: 1,
  type: 'beat',
  worker: 'w "1"\r\n',
  pid: 4711,
  slots: 1,
  only: ['__proto__/0'],
  graph: 'g',
  generation: 3,
  jobId: 'id',
  term: 2,
  highest: 3,
  deployedBy: 2,
  subtasks: [
    {
      subtask: '__proto__/0',
      phase: 'failed',
      reports: [reportOf('__proto__/0', 4)],
      declines: [{ epoch: 5, reason: 'Redis is full' }],
      ended: false,
      committed: 4,
      error: { type: 'user-code', message: 'it threw', fatal: false },
      records: 12,
      skipped: 3,
      restoredFrom: undefined,
    },
    {
      subtask: 'b/0',
      phase: 'running',
      reports: [],
      declines: [],
      ended: true,
      committed: 0,
      error: undefined,
      records: 0,
      skipped: 3,
      restoredFrom: undefined,
    },
  ],
  stopped: false,
}

const orders: Orders = {
  version: 1,
  type: 'orders',
  term: 2,
  generation: 3,
  phase: 'run',
  subtasks: ['a/0'],
  restore: undefined,
  jobId: 'id',
  triggers: [{ epoch: 7, final: true, triggeredAt: 12.5 }],
  completed: 6,
  aborted: [4, 5],
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const refusal = (payload: Uint8Array): string => {
  const decoded = decodeMessage(ToCoordinator, payload)
  return E.isLeft(decoded) ? `${decoded.left.type}: ${decoded.left.message}` : 'decoded'
}

test('what is encoded is decoded, absent fields too', t => {
  t.deepEqual(decodeMessage(ToCoordinator, encodeMessage(beat)), E.right(beat))
  t.deepEqual(decodeMessage(Orders, encodeMessage(orders)), E.right(orders))
  const { version } = beat
  for (const message of [
    { version, type: 'heartbeat', worker: 'w', lagMs: 0 },
    { version, type: 'worker-exited', worker: 'w', reason: 'SIGKILL' },
    { version, type: 'nudge' },
  ] as const) {
    t.deepEqual(decodeMessage(ToCoordinator, encodeMessage(message)), E.right(message))
  }
})

test('orders that restore carry the whole manifest', t => {
  const restore = {
    version: 1,
    job: 'job',
    jobId: 'id',
    epoch: 6,
    generation: 2,
    maxParallelism: 128,
    graph: 'g',
    triggeredAt: 1,
    completedAt: 2,
    parts: [reportOf('a/0', 6).part],
    final: false,
  } as const
  const sent = { ...orders, restore }
  t.deepEqual(decodeMessage(Orders, encodeMessage(sent)), E.right(sent))
})

test('what is no message is refused as corrupt, never thrown', t => {
  t.regex(refusal(bytes('')), /^corrupt: a control message is not JSON/)
  t.regex(refusal(new Uint8Array([0xff, 0xfe])), /^corrupt: a control message is not JSON/)
  for (const value of [null, 1, [], {}, { ...beat, version: 2 }, { ...beat, pid: '1' }, orders]) {
    t.regex(refusal(bytes(JSON.stringify(value))), /^corrupt: a control message was refused/)
  }
})

test('unknown fields of a newer version are stripped', t => {
  const decoded = decodeMessage(Beat, bytes(JSON.stringify({ ...beat, colour: 'red' })))
  t.deepEqual(decoded, E.right(beat))
})

test('a message cut or changed anywhere decodes to a message or to an error', t => {
  const random = prng(7)
  const whole = encodeMessage(beat)
  for (let run = 0; run < 2_000; run += 1) {
    const changed = whole.slice(0, random.chance(0.5) ? whole.length : random.below(whole.length))
    if (changed.length > 0) changed[random.below(changed.length)] = random.below(256)
    t.notThrows(() => decodeMessage(ToCoordinator, changed))
  }
})
