import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { natsControlBus } from '../../../lib/adapters/nats/control-bus.js'
import { natsEventLog } from '../../../lib/adapters/nats/event-log.js'
import type { EventLog } from '../../../lib/ports/event-log.js'
import { publish, right } from '../../contract/event-log.js'
import { logFaultContract } from '../../contract/log-faults.js'
import type { LogServer, Restart } from '../../contract/log-server.js'
import { goOn, stop } from '../../support/stopped.js'
import { connected } from './fixtures.js'
import { type LocalNats, localNats } from './local-server.js'
import { loseTail } from './lost-tail.js'

/** Time limits that are short, because tests wait for them. */
const apiTimeoutMs = 700
const ackTimeoutMs = 700

const megabyte = 1024 * 1024

const folder = async (t: ExecutionContext): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), 'sluice-nats-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

/** A server that a test can fill up, in a folder that can be changed while it is down. */
const smallServer = async (
  t: ExecutionContext,
  storeDir: string,
  port?: number,
): Promise<LocalNats> => {
  const file = join(await folder(t), 'nats.conf')
  const limits = `max_memory_store: ${8 * megabyte}, max_file_store: ${8 * megabyte}`
  await writeFile(file, `jetstream { store_dir: "${storeDir}", ${limits} }`)
  const more = port === undefined ? {} : { port }
  return localNats(t, { storeDir, jetstream: false, args: ['-c', file], ...more })
}

const fillers = [
  { name: 'FILL_F', subjects: ['fill.f'], storage: 'file' },
  { name: 'FILL_M', subjects: ['fill.m'], storage: 'memory' },
] as const

/** Takes all space there is: the server refuses what would be stored beyond its limits. */
const fill = async (log: EventLog): Promise<void> => {
  for (const config of fillers) {
    await right(log.create(config))
    const [subject] = config.subjects
    while ((await publish(log, subject, new Uint8Array(megabyte / 2))).type === 'stored');
  }
}

/** Lets others publish on another port, so that no client of the server is there. */
const beforeOthers = async (
  t: ExecutionContext,
  storeDir: string,
  work: NonNullable<Restart['meanwhile']>,
): Promise<void> => {
  const server = await smallServer(t, storeDir)
  const { link } = await connected(t, server.url)
  const log = natsEventLog(link)
  await work(async (subject, text) => {
    const { type } = await publish(log, subject, text)
    if (type !== 'stored') throw new Error(`not stored on ${subject}: ${type}`)
  })
  await link.close()()
  await server.kill()
}

logFaultContract('nats', async (t): Promise<LogServer> => {
  const storeDir = await folder(t)
  const server = await smallServer(t, storeDir)
  const { link, next } = await connected(t, server.url, { apiTimeoutMs })
  const log = natsEventLog(link, { ackTimeoutMs })
  const setDown = async (down: boolean): Promise<void> => {
    const noticed = next(down ? 'disconnected' : 'reconnected')
    await (down ? server.kill() : server.start())
    await noticed
  }
  return {
    log,
    bus: natsControlBus(link),
    setDown,
    restart: async ({ loseAbove = new Map<string, number>(), meanwhile } = {}) => {
      await setDown(true)
      for (const [stream, above] of loseAbove) await loseTail(storeDir, stream, above)
      if (meanwhile !== undefined) await beforeOthers(t, storeDir, meanwhile)
      await setDown(false)
    },
    setHung: async hung => {
      if (server.pid === undefined) throw new Error('the server is down')
      await (hung ? stop(server.pid) : goOn(server.pid))
    },
    setFull: async full => {
      if (full) await fill(log)
      else for (const { name } of fillers) await right(log.remove(name))
    },
    dropConsumers: async stream => {
      const { consumers } = link.manager
      for await (const { name } of consumers.list(stream)) await consumers.delete(stream, name)
    },
  }
})
