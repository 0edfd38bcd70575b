/**
 * Throughput of the NATS event log beside what the bare client does on the same machine in the same
 * minute: `node dist/test/adapters/nats/bench.js [messages]`. Ratios are what counts; medians of
 * rounds that take turns, because a busy machine varies from second to second. The processor time
 * of this process per message varies less than the rate.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import {
  AckPolicy,
  consumerOpts,
  createInbox,
  DeliverPolicy,
  type NatsConnection,
  nanos,
  nuid,
  ReplayPolicy,
} from 'nats'
import { connectNats, type NatsLink } from '../../../lib/adapters/nats/connection.js'
import { natsEventLog } from '../../../lib/adapters/nats/event-log.js'
import { SluiceError, type StreamError } from '../../../lib/errors.js'
import type { EventLog, PublishOptions } from '../../../lib/ports/event-log.js'
import { freePort } from './local-server.js'

const messages = Number(process.argv[2] ?? 100_000)
const payloadBytes = 256
const frameBytes = 32_768
const frames = 10_000
const rounds = 7
const window = 4_096

const right = async <A>(task: TaskEither<StreamError, A>): Promise<A> => {
  const result = await task()
  if (E.isLeft(result)) throw new SluiceError(result.left)
  return result.right
}

interface Cost {
  readonly perSecond: number
  readonly cpuMicros: number
}

const costOf = async (count: number, run: () => Promise<void>): Promise<Cost> => {
  const startedAt = performance.now()
  const before = process.cpuUsage()
  await run()
  const { user, system } = process.cpuUsage(before)
  return {
    perSecond: (count / (performance.now() - startedAt)) * 1_000,
    cpuMicros: (user + system) / count,
  }
}

const publishAll = (
  log: EventLog,
  subject: string,
  count: number,
  size: number,
  options: PublishOptions,
): Promise<void> =>
  new Promise((resolve, reject) => {
    const payload = new Uint8Array(size)
    let sent = 0
    let told = 0
    const pump = (): void => {
      while (sent < count && sent - told < window) {
        sent += 1
        log.publish(subject, payload, options, outcome => {
          told += 1
          if (outcome.type !== 'stored') reject(new Error(JSON.stringify(outcome)))
          else if (told === count) resolve()
          else if (sent - told < window / 2) pump()
        })
      }
    }
    pump()
  })

const publishBare = async (nats: NatsConnection, count: number): Promise<void> => {
  const payload = new Uint8Array(payloadBytes)
  for (let sent = 0; sent < count; sent += window) {
    for (let i = 0; i < window; i++) nats.publish('bare.a', payload)
    await nats.flush()
  }
}

const readOurs = (log: EventLog, stream: string, count: number, bytesMax: number): Promise<void> =>
  new Promise((resolve, reject) => {
    let got = 0
    const reader = log.read({
      stream,
      start: { at: 'first' },
      messagesMax: 10_000,
      bytesMax,
      onMessage: () => {
        got += 1
        if (got < count) return
        reader.close()
        resolve()
      },
      onFailed: reject,
    })
  })

/** A bare callback on pull requests, without any check: the ceiling of what the client can do. */
const readBarePull = async ({ connection, manager }: NatsLink, count: number): Promise<void> => {
  const name = nuid.next()
  await manager.consumers.add('BENCH', {
    name,
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.All,
    replay_policy: ReplayPolicy.Instant,
    mem_storage: true,
    inactive_threshold: nanos(30_000),
  })
  const inbox = createInbox()
  const batch = 5_000
  const body = JSON.stringify({ batch, expires: nanos(5_000) })
  let got = 0
  let asked = 0
  const pull = (): void => {
    asked += batch
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.BENCH.${name}`, body, { reply: inbox })
  }
  await new Promise<void>(resolve => {
    const subscription = connection.subscribe(inbox, {
      callback: (_error, message) => {
        if (message.data.length === 0) return
        got += 1
        if (got === count) {
          subscription.unsubscribe()
          resolve()
        } else if (asked - got === batch / 2) pull()
      },
    })
    pull()
  })
}

/** The client's own ordered consumer with a callback: what one would use without this adapter. */
const readOrdered = async ({ connection }: NatsLink, count: number): Promise<void> => {
  let got = 0
  let done: () => void = () => undefined
  const finished = new Promise<void>(resolve => {
    done = resolve
  })
  const options = consumerOpts()
  options.orderedConsumer()
  options.deliverAll()
  options.callback(() => {
    got += 1
    if (got === count) done()
  })
  const subscription = await connection.jetstream().subscribe('bench.a', options)
  await finished
  subscription.unsubscribe()
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0

const greeted = async (port: number): Promise<void> => {
  const once = (): Promise<boolean> =>
    new Promise(resolve => {
      const socket = connect(port, '127.0.0.1')
      socket.once('data', () => resolve(socket.destroy() !== undefined))
      socket.once('error', () => resolve(false))
    })
  while (!(await once()));
}

const measure = async (link: NatsLink): Promise<void> => {
  const log = natsEventLog(link, { ackTimeoutMs: 30_000 })
  await right(log.create({ name: 'BENCH', subjects: ['bench.>'], storage: 'file' }))
  await right(log.create({ name: 'BARE', subjects: ['bare.>'], storage: 'file' }))
  await right(log.create({ name: 'FRAMES', subjects: ['frames.>'], storage: 'memory' }))
  const headers = { 'Sluice-Job': 'flights', 'Sluice-Epoch': '12', 'Sluice-Index': '345' }
  const cases: ReadonlyArray<readonly [string, number, () => Promise<void>]> = [
    ['publish, acknowledged', messages, () => publishAll(log, 'bench.a', messages, 256, {})],
    [
      'publish, acknowledged, 3 headers',
      messages / 2,
      () => publishAll(log, 'bare.h', messages / 2, payloadBytes, { headers }),
    ],
    ['publish, bare client, no ack', messages, () => publishBare(link.connection, messages)],
    ['read', messages, () => readOurs(log, 'BENCH', messages, 8e6)],
    ['read, bare pull callback', messages, () => readBarePull(link, messages)],
    ["read, client's ordered callback", messages, () => readOrdered(link, messages)],
    ['publish frames of 32 KiB', frames, () => publishAll(log, 'frames.a', frames, frameBytes, {})],
    ['read frames of 32 KiB', frames, () => readOurs(log, 'FRAMES', frames, 16e6)],
  ]
  const costs = new Map<string, Cost[]>(cases.map(([name]) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, count, run] of cases) costs.get(name)?.push(await costOf(count, run))
    await right(log.purge('FRAMES', Number.MAX_SAFE_INTEGER))
  }
  const rate = (name: string): number => median((costs.get(name) ?? []).map(c => c.perSecond))
  const cpu = (name: string): number => median((costs.get(name) ?? []).map(c => c.cpuMicros))
  for (const [name, values] of costs) {
    const best = Math.round(Math.max(...values.map(cost => cost.perSecond)))
    const figures = `median ${Math.round(rate(name))}/s, best ${best}/s, ${cpu(name).toFixed(2)} us CPU`
    console.log(`${name.padEnd(34)} ${figures}`)
  }
  for (const [ours, theirs] of [
    ['publish, acknowledged', 'publish, bare client, no ack'],
    ['read', 'read, bare pull callback'],
    ['read', "read, client's ordered callback"],
  ] as const) {
    const rates = (rate(ours) / rate(theirs)).toFixed(2)
    const cpus = (cpu(ours) / cpu(theirs)).toFixed(2)
    console.log(`${ours} / ${theirs}: rate ${rates}, CPU ${cpus}`)
  }
}

const main = async (): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-nats-'))
  const port = await freePort()
  const args = ['-js', '-sd', folder, '-a', '127.0.0.1', '-p', String(port)]
  const server = spawn('/usr/sbin/nats-server', args, { stdio: 'ignore' })
  try {
    await greeted(port)
    const link = await right(connectNats({ url: `nats://127.0.0.1:${port}`, name: 'bench' }))
    await measure(link)
    await link.close()()
  } finally {
    server.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  }
}

await main()
