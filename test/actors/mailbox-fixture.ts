import type { ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { Gate } from '../../actors/gate.js'
import { Mailbox, type MailboxOptions } from '../../actors/mailbox.js'
import { type StreamError, streamError } from '../../lib/errors.js'
import { defaultLimits } from '../../lib/job/limits.js'
import type { EventLog } from '../../lib/ports/event-log.js'
import { encodeFrame } from '../../lib/protocol/frame.js'
import { LoopLog } from '../../lib/state/loop-log.js'
import { MemoryBroker } from '../support/memory-broker.js'
import { memoryCodec } from '../support/memory-codec.js'
import { memoryEventLog } from '../support/memory-event-log.js'
import { MemoryProcess, memoryScheduler, VirtualTime } from '../support/memory-time.js'
import { MemoryWire } from '../support/memory-wire.js'

/** One process with an event log of its own. */
export const loneProcess = () => {
  const time = new VirtualTime()
  const broker = new MemoryBroker(time)
  const process = new MemoryProcess('lone', time)
  const hooks = {}
  const wire = new MemoryWire({ time, process, latencyMs: () => 1, timeoutMs: 2_000, hooks })
  const log = memoryEventLog(broker, wire)
  return { time, broker, process, hooks, wire, log, scheduler: memoryScheduler(time, process) }
}

const generation = 3
const stream = 'MAILBOX'

/** What comes back to the head of a loop, and what it does with that. */
export interface LoopFixture {
  /** Channels that lead back. */
  readonly channels: readonly string[]
  readonly restored?: readonly unknown[]
}

/** A mailbox with the channels `a` and `b`, what it did, and writers that do as they are told. */
export const mailboxOf = (
  t: ExecutionContext,
  more: Partial<MailboxOptions> = {},
  loop: LoopFixture = { channels: [] },
) => {
  const { time, broker, log, scheduler } = loneProcess()
  broker.create({ name: stream, subjects: ['m.>'], storage: 'memory' })
  const received: unknown[] = []
  const credits: string[] = []
  const failures: StreamError[] = []
  const gate = new Gate(() => drive())
  const drive = (): void => {
    mailbox.pump(Number.POSITIVE_INFINITY)
  }
  const input = (channel: string) => ({
    channel,
    subject: `m.${channel}`,
    isFeedback: loop.channels.includes(channel),
    receive: (record: unknown) => {
      received.push(record)
      onReceive(record)
    },
    sendCredit: (number: number) => credits.push(`${channel} ${number}`),
  })
  let onReceive: (record: unknown) => void = () => {}
  const loopLog = new LoopLog(loop.channels)
  /** What the mailbox does to its stream. */
  const purges: number[] = []
  let refusedPurges = 0
  const purge: EventLog['purge'] = (name, below) => {
    if (refusedPurges === 0) {
      purges.push(below)
      return log.purge(name, below)
    }
    refusedPurges -= 1
    return async () => E.left(streamError('timed-out', 'no answer'))
  }
  const mailbox = new Mailbox({
    stream,
    generation,
    inputs: ['a', 'b', ...loop.channels].map(input),
    mode: 'exactly-once',
    restored: 0,
    loop:
      loop.channels.length === 0
        ? undefined
        : {
            log: loopLog,
            restored: loop.restored ?? [],
            receive: record => {
              received.push(record)
              onReceive(record)
            },
            onReturned: ({ epoch, records }) =>
              received.push(`returned ${epoch} with ${records.length}`),
          },
    limits: { ...defaultLimits, channelBytesMax: 400, channelStallTimeoutMs: 10_000 },
    log: { ...log, purge },
    codec: memoryCodec,
    scheduler,
    gate,
    onSnapshot: epoch => {
      received.push(`snapshot ${epoch}`)
      if (loop.channels.length > 0) loopLog.begin(epoch)
    },
    onArrived: drive,
    onFailed: error => failures.push(error),
    ...more,
  })
  mailbox.start()
  const put = (channel: string, frame: Uint8Array): number => broker.put(`m.${channel}`, frame)
  return {
    mailbox,
    gate,
    broker,
    stream,
    time,
    received,
    credits,
    failures,
    drive,
    purges,
    refusePurges: (times: number) => {
      refusedPurges = times
    },
    /** What else a record does to its subtask. */
    whenReceived: (act: (record: unknown) => void) => {
      onReceive = act
    },
    data: (channel: string, number: number, ...records: readonly unknown[]) => {
      const body = memoryCodec.serializeBatch(records)
      if (E.isLeft(body)) return t.fail(body.left.message)
      const count = records.length
      const header = { type: 'data', generation, number, firstRecord: 0, records: count } as const
      return put(channel, encodeFrame(header, body.right))
    },
    barrier: (channel: string, number: number, epoch: number, by = generation) => {
      const header = { type: 'barrier', generation: by, number, epoch, final: false } as const
      return put(channel, encodeFrame({ ...header, triggeredAt: 0 }, new Uint8Array(0)))
    },
    put,
    settle: () => time.pass(20),
  }
}
