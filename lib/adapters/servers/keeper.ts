/**
 * The keeper: a process of its own that owns the servers, so that they end also when whoever wanted
 * them is killed and can no longer see to it. It runs this file, in a session of its own, so that a
 * terminal's Ctrl-C reaches only its parent, which then decides.
 *
 * Invariants
 *   EK1. The channel to the parent closes ⇒ the servers are ended, a temporary folder is removed,
 *       and the keeper exits. The system closes the channel however the parent died.
 *   EK2. Requests are carried out one after another; only closing overtakes: it makes a start under
 *       way give up.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../../errors.js'
import type {
  HeldServer,
  Holding,
  KeeperMessage,
  KeeperPlan,
  KeeperRequest,
  NumberedRequest,
} from './keeper-messages.js'
import type { ServerName } from './options.js'
import { ServerProcess } from './server-process.js'
import { natsSpec, redisSpec, type ServerSpec } from './specs.js'

type Outcome = E.Either<StreamError, void>

const servers = new Map<ServerName, ServerProcess>()
const spawned = new Map<ServerName, number>()
let folder: { readonly path: string; readonly isTemporary: boolean } | undefined
let line: Promise<void> = Promise.resolve()
let closing: Promise<void> | undefined

const tell = (message: KeeperMessage): void => {
  // A failed send means that the parent is gone, which 'disconnect' sees to.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

const holding = (): Holding | undefined => {
  if (folder === undefined) return undefined
  const held: Partial<Record<ServerName, HeldServer>> = {}
  for (const [name, server] of servers) {
    const pid = server.pid ?? spawned.get(name)
    held[name] = {
      ...(server.port === undefined ? {} : { port: server.port }),
      ...(pid === undefined ? {} : { pid }),
    }
  }
  return { folder: folder.path, isTemporary: folder.isTemporary, servers: held }
}

const report = (): void => {
  const now = holding()
  if (now !== undefined) tell({ type: 'holds', holding: now })
}

const openFolder = async (plan: KeeperPlan): Promise<string> => {
  if (plan.folder === undefined) {
    folder = { path: await mkdtemp(join(tmpdir(), 'sluice-')), isTemporary: true }
  } else {
    await mkdir(plan.folder, { recursive: true })
    folder = { path: plan.folder, isTemporary: false }
  }
  report()
  return folder.path
}

const keep = (spec: ServerSpec): void => {
  const { name } = spec
  const server = new ServerProcess(spec, {
    onSpawn: pid => {
      spawned.set(name, pid)
      report()
    },
    onExit: end => {
      spawned.delete(name)
      report()
      tell({ type: 'exited', exit: { server: name, ...end } })
    },
  })
  servers.set(name, server)
}

const open = async (plan: KeeperPlan): Promise<Outcome> => {
  let path: string
  try {
    path = await openFolder(plan)
  } catch (thrown) {
    const where = plan.folder ?? tmpdir()
    const message = `the servers' folder ${where} cannot be made: ${messageOf(thrown)}`
    return E.left(streamError('invalid', message, { next: 'Give a folder that can be written.' }))
  }
  const { nats, redis } = plan.binaries
  if (nats !== undefined) keep(natsSpec(nats, join(path, 'nats'), plan.nats))
  if (redis !== undefined) keep(redisSpec(redis, join(path, 'redis'), plan.redis))
  if (closing !== undefined) for (const server of servers.values()) server.abort()
  const started = await Promise.all([...servers.keys()].map(name => start(name)))
  return started.find(E.isLeft) ?? E.right(undefined)
}

const start = async (name: ServerName): Promise<Outcome> => {
  const server = servers.get(name)
  if (server === undefined) {
    const message = `there is no ${name} server here: it was not asked for`
    return E.left(streamError('invalid', message))
  }
  const outcome = await server.start()
  if (E.isLeft(outcome)) spawned.delete(name)
  return outcome
}

const end = async (name: ServerName, how: 'stop' | 'kill'): Promise<Outcome> => {
  await servers.get(name)?.[how]()
  spawned.delete(name)
  return E.right(undefined)
}

const perform = async (request: KeeperRequest): Promise<Outcome> => {
  switch (request.type) {
    case 'open':
      return open(request.plan)
    case 'start':
      return start(request.server)
    case 'stop':
    case 'kill':
      return end(request.server, request.type)
    case 'restart':
      await end(request.server, 'stop')
      return start(request.server)
    case 'report':
    case 'close': // Seen to before it could get here.
      return E.right(undefined)
  }
}

const answer = async ({ id, request }: NumberedRequest): Promise<void> => {
  const outcome = await perform(request)
  report()
  tell(
    E.isRight(outcome)
      ? { type: 'done', id }
      : // What was thrown does not survive a message; the text of it is in the error's message.
        { type: 'failed', id, error: { ...outcome.left, cause: undefined } },
  )
}

const close = (): Promise<void> => {
  closing ??= (async () => {
    for (const server of servers.values()) server.abort() // EK2
    await line
    await Promise.all([...servers.values()].map(server => server.stop()))
    spawned.clear()
    report()
    if (folder?.isTemporary === true) {
      await rm(folder.path, { recursive: true, force: true, maxRetries: 3 })
    }
  })()
  return closing
}

const leave = (code: number): void => {
  close().then(
    () => process.exit(code),
    thrown => {
      tell({ type: 'crashed', reason: messageOf(thrown) })
      process.exit(1)
    },
  )
}

/** Leaves without having been asked by the parent, which must know why its servers end. */
const giveUp = (reason: string, code: number): void => {
  tell({ type: 'crashed', reason })
  for (const [server, { pid }] of servers) {
    if (pid === undefined) continue
    const log = `its keeper ended: ${reason}`
    tell({ type: 'exited', exit: { server, pid, code: null, signal: 'SIGTERM', log } })
  }
  leave(code)
}

const crash = (thrown: unknown): void => giveUp(messageOf(thrown), 1)

process.on('message', (message: NumberedRequest) => {
  if (message.request.type === 'close') {
    close().then(() => {
      tell({ type: 'done', id: message.id })
      process.disconnect()
    }, crash)
    return
  }
  line = line.then(() => answer(message)).catch(crash)
})
process.on('disconnect', () => leave(0)) // EK1
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.on(signal, () => giveUp(`it received ${signal}`, 0))
}
process.on('uncaughtException', crash)
