/** Input and output of the jobs in `jobs/`: what goes in, what must come out, and what the servers hold. */
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { Redis } from 'ioredis'
import { connect, type JetStreamManager, type MsgHdrs, type NatsConnection } from 'nats'
import { token } from '../../lib/protocol/names.js'

/** Path of a compiled job file. */
export const jobFile = (name: string): string =>
  fileURLToPath(new URL(`./jobs/${name}.js`, import.meta.url))

/** Path of a job file as it was written, in TypeScript. */
export const jobSource = (name: string): string =>
  fileURLToPath(new URL(`../../../test/support/jobs/${name}.ts`, import.meta.url))

let names = 0

/** A name that no other test has. */
export const uniqueName = (stem: string): string => {
  names += 1
  return `${stem}-${process.pid}-${names}`
}

/** A connection for the length of the test. */
export const openNats = async (t: ExecutionContext, url: string): Promise<NatsConnection> => {
  const { host, username, password } = new URL(url)
  const nats = await connect({
    servers: host,
    ...(username === '' ? {} : { user: username, pass: password }),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  })
  t.teardown(() => nats.close())
  return nats
}

/** A connection for the length of the test. */
export const openRedis = (t: ExecutionContext, url: string): Redis => {
  const redis = new Redis(url)
  t.teardown(() => {
    redis.disconnect()
  })
  return redis
}

/** A record of the job `counts`. */
export interface Numbered {
  readonly key: string
  readonly n: number
}

/** A record that the job `counts` puts out. */
export interface Counted extends Numbered {
  readonly count: number
  readonly sum: number
}

/** Records 0 … n - 1, dealt out to so many keys. */
export const numbers = (count: number, keys = 7): readonly Numbered[] =>
  Array.from({ length: count }, (_, n) => ({ key: `k${n % keys}`, n }))

/** What `counts` makes of the records, worked out in one plain loop. */
export const countedOf = (records: readonly Numbered[]): readonly Counted[] => {
  const totals = new Map<string, { readonly count: number; readonly sum: number }>()
  return records.map(({ key, n }) => {
    const { count, sum } = totals.get(key) ?? { count: 0, sum: 0 }
    const total = { count: count + 1, sum: sum + n }
    totals.set(key, total)
    return { key, n, ...total }
  })
}

/** Publishes in order; resolves when all are stored. */
export const publish = async (
  nats: NatsConnection,
  subject: string,
  payloads: readonly (string | Uint8Array)[],
): Promise<void> => {
  const js = nats.jetstream()
  const inFlightMax = 500
  for (let from = 0; from < payloads.length; from += inFlightMax) {
    const batch = payloads.slice(from, from + inFlightMax)
    await Promise.all(batch.map(payload => js.publish(subject, payload, { timeout: 20_000 })))
  }
}

/** Makes a stream of one subject with these records in it as JSON. */
export const streamOf = async (
  nats: NatsConnection,
  name: string,
  records: readonly unknown[],
): Promise<void> => {
  const manager = await nats.jetstreamManager()
  await manager.streams.add({ name, subjects: [name] })
  await publish(
    nats,
    name,
    records.map(record => JSON.stringify(record)),
  )
}

/** A stored message. */
export interface Stored {
  readonly sequence: number
  readonly subject: string
  /** When the server stored it, in milliseconds since 1970. */
  readonly timeMs: number
  readonly headers: MsgHdrs | undefined
  readonly data: Uint8Array
  readonly text: string
}

/** Everything that a stream holds, in order; nothing if there is no such stream. */
export const messagesOf = async (
  nats: NatsConnection,
  stream: string,
  subject = '>',
): Promise<readonly Stored[]> => {
  const manager = await nats.jetstreamManager()
  const held = await messageCount(manager, stream, subject)
  if (held === 0) return []
  const js = nats.jetstream()
  const consumer = await js.consumers.get(stream, { filterSubjects: subject })
  const messages: Stored[] = []
  const reading = await consumer.consume()
  for await (const { seq, subject: on, headers, data, info } of reading) {
    const text = Buffer.from(data).toString('utf8')
    const timeMs = info.timestampNanos / 1e6
    messages.push({ sequence: seq, subject: on, timeMs, headers, data, text })
    if (messages.length === held) break
  }
  await reading.close()
  return messages
}

const messageCount = async (
  manager: JetStreamManager,
  stream: string,
  subject: string,
): Promise<number> => {
  if (!(await streamNames(manager)).includes(stream)) return 0
  const { state } = await manager.streams.info(stream, { subjects_filter: subject })
  return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
}

const streamNames = async (manager: JetStreamManager): Promise<readonly string[]> =>
  (await manager.streams.names().next()).sort()

/** Names of the streams that a job has: mailboxes, identity, dead letters. */
export const jobStreams = async (nats: NatsConnection, job: string): Promise<readonly string[]> => {
  const names = await streamNames(await nats.jetstreamManager())
  return names.filter(name => name.startsWith(`SLUICE_${token(job)}_`))
}

/** The job's keys in Redis, each with its time to live in milliseconds, -1: for ever. */
export const jobKeys = async (redis: Redis, job: string): Promise<ReadonlyMap<string, number>> => {
  const keys = await allKeys(redis)
  const ttls = new Map<string, number>()
  for (const key of keys.filter(key => key.startsWith(`sluice:{${token(job)}}:`))) {
    const ttl = await redis.pttl(key)
    if (ttl !== -2) ttls.set(key, ttl) // -2: it has expired since.
  }
  return ttls
}

const allKeys = async (redis: Redis): Promise<readonly string[]> => {
  const keys = new Set<string>()
  for await (const batch of redis.scanStream({ count: 1_000 })) {
    for (const key of batch) keys.add(String(key))
  }
  return [...keys].sort()
}

/**
 * Asserts that the output stream holds for every key exactly the sequence that one plain loop over the
 * records gives: nothing lost, nothing doubled, nothing out of its order.
 */
export const assertCounted = async (
  t: ExecutionContext,
  nats: NatsConnection,
  stream: string,
  records: readonly Numbered[],
  subject = '>',
): Promise<void> => {
  const messages = await messagesOf(nats, stream, subject)
  const found = linesByKey(messages.map(({ text }): Counted => JSON.parse(text)))
  const expected = linesByKey(countedOf(records))
  const differences = [...new Set([...found.keys(), ...expected.keys()])].flatMap(key =>
    differenceOf(key, found.get(key) ?? [], expected.get(key) ?? []),
  )
  t.deepEqual(differences, [])
}

/** Where a key's output first differs from what it should be; one line, however much follows. */
const differenceOf = (
  key: string,
  found: readonly string[],
  expected: readonly string[],
): readonly string[] => {
  const length = Math.max(found.length, expected.length)
  const at = Array.from({ length }, (_, i) => i).find(i => found[i] !== expected[i])
  if (at === undefined) return []
  const counts = `${found.length} records instead of ${expected.length}`
  return [`${key}: ${counts}; #${at} is ${found[at]} instead of ${expected[at]}`]
}

const linesByKey = (records: readonly Counted[]): ReadonlyMap<string, readonly string[]> => {
  const lines = new Map<string, string[]>()
  for (const { key, n, count, sum } of records) {
    const line = `n ${n}, count ${count}, sum ${sum}`
    const known = lines.get(key)
    if (known === undefined) lines.set(key, [line])
    else known.push(line)
  }
  return lines
}
