/** The servers are gone with the process that wanted them, however it ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { Redis } from 'ioredis'
import { isRunning, processesWith, processGroupOf, until } from './observe.js'

interface Facts {
  readonly folder: string
  readonly redisUrl: string
  readonly pids: { readonly keeper: number; readonly nats: number; readonly redis: number }
}

const program = fileURLToPath(new URL('./doomed-parent.js', import.meta.url))

/** A parent in a process group of its own, whose temporary files go to a folder of their own. */
const startParent = async (t: ExecutionContext, ...args: readonly string[]) => {
  const temporary = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  const parent = spawn(process.execPath, [program, ...args], {
    detached: true,
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(async () => {
    parent.kill('SIGKILL')
    await rm(temporary, { recursive: true, force: true })
  })
  return { parent, temporary }
}

const factsOf = async (parent: ChildProcess): Promise<Facts> => {
  if (parent.stdout === null) throw new Error('the parent has no output')
  const [line] = await once(createInterface(parent.stdout), 'line')
  return JSON.parse(String(line))
}

const allGone = async ({ pids, folder }: Facts): Promise<void> => {
  for (const [name, pid] of Object.entries(pids)) {
    await until(`${name} is gone`, async () => !(await isRunning(pid)))
  }
  await until('the folder is gone', () => !existsSync(folder))
}

test('a parent that is killed leaves neither process nor folder', async t => {
  const { parent } = await startParent(t)
  const facts = await factsOf(parent)
  for (const pid of Object.values(facts.pids)) t.true(await isRunning(pid))
  t.true(existsSync(facts.folder))
  parent.kill('SIGKILL')
  await allGone(facts)
  t.pass()
})

test('a parent that is killed while the servers start leaves neither process nor folder', async t => {
  const { parent, temporary } = await startParent(t)
  await until('the folder is made', async () => (await readdir(temporary)).length > 0)
  parent.kill('SIGKILL')
  await until('the folder is gone', async () => (await readdir(temporary)).length === 0)
  await until('no server runs', async () => (await processesWith(temporary)).length === 0)
  t.pass()
})

test('a parent that simply exits leaves neither process nor folder', async t => {
  const { parent } = await startParent(t, '--leave')
  await allGone(await factsOf(parent))
  t.pass()
})

test('Ctrl-C in the terminal does not reach the servers', async t => {
  const { parent } = await startParent(t)
  const facts = await factsOf(parent)
  t.not(parent.pid, facts.pids.keeper)
  for (const pid of Object.values(facts.pids)) {
    t.is(await processGroupOf(pid), facts.pids.keeper) // A terminal signals the parent's group only.
  }
  process.kill(-(parent.pid ?? 0), 'SIGINT')
  const redis = new Redis(facts.redisUrl)
  t.is(await redis.ping(), 'PONG')
  redis.disconnect()
  parent.kill('SIGKILL')
  await allGone(facts)
})
