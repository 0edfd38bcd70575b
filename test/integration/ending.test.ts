/** `sluice dev` and what becomes of everything that it started, however it ends. */
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { isRunning, processesWith } from '../adapters/servers/observe.js'
import {
  type Cli,
  type CliEvent,
  eventually,
  exitOf,
  gone,
  pidOf,
  startCli,
  untilNoted,
} from '../support/cli.js'
import { jobFile, uniqueName } from '../support/jobs.js'

/** `sluice dev` whose temporary files go to a folder of their own. */
const startDev = async (t: ExecutionContext, ...args: readonly string[]) => {
  const temporary = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  t.teardown(() => rm(temporary, { recursive: true, force: true }))
  const settings = { JOB: uniqueName('dev'), COUNT: 1e9, DELAY_MS: 1, PARALLELISM: 1 }
  const dev = startCli(t, ['dev', jobFile('bulk'), '--json', ...args], {
    settings,
    env: { TMPDIR: temporary },
  })
  await untilNoted(dev, 'checkpoint-completed')
  return { dev, temporary }
}

/** Nothing is left: no process that it started, no server, no file. */
const assertNothingLeft = async (t: ExecutionContext, dev: Cli, temporary: string) => {
  await gone(dev)
  await eventually('no process works in the folder', async () => {
    return (await processesWith(temporary)).length === 0
  })
  await eventually('the folder is empty', async () => (await readdir(temporary)).length === 0)
  t.pass()
}

test.serial('Ctrl-C ends it in good order, with exit code 0 and nothing left', async t => {
  const { dev, temporary } = await startDev(t)
  t.true((await processesWith(temporary)).length >= 2, 'both servers work in the folder')
  const children = [...dev.processes().values()]
  t.is(children.length, 3)
  // The terminal sends it to all of its group.
  for (const pid of [dev.pid, ...children]) process.kill(pid, 'SIGINT')
  const { code, signal, stdout, stderr } = await exitOf(dev)
  t.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  t.regex(stdout, /"status":"stopped"/)
  for (const pid of children) t.false(await isRunning(pid))
  t.deepEqual(await processesWith(temporary), [])
  t.deepEqual(await readdir(temporary), [])
})

test.serial('SIGTERM ends it as Ctrl-C does', async t => {
  const { dev, temporary } = await startDev(t)
  dev.signal('SIGTERM')
  t.is((await exitOf(dev)).code, 0)
  await assertNothingLeft(t, dev, temporary)
})

test.serial(
  'SIGKILL leaves nothing: processes, servers and folder vanish by themselves',
  async t => {
    const { dev, temporary } = await startDev(t)
    dev.signal('SIGKILL')
    t.is((await exitOf(dev)).signal, 'SIGKILL')
    await assertNothingLeft(t, dev, temporary)
  },
)

const numbered = (events: readonly CliEvent[], name: string): number =>
  events.filter(event => event.name === name).length

test.serial(
  "with --data the servers' folder is kept, and the job goes on where it was",
  async t => {
    const data = await mkdtemp(join(tmpdir(), 'sluice-data-'))
    t.teardown(() => rm(data, { recursive: true, force: true }))
    const settings = { JOB: 'kept', COUNT: 1e9, DELAY_MS: 1, PARALLELISM: 1 }
    const args = ['dev', jobFile('bulk'), '--json', '--data', data]
    for (const begun of [
      /generation 1 starts from nothing/,
      /generation 2 starts from checkpoint/,
    ]) {
      const dev = startCli(t, args, { settings })
      const note = await untilNoted(dev, 'generation-begun')
      t.regex(String(note.text), begun)
      await untilNoted(dev, 'checkpoint-completed')
      t.is(numbered(dev.events(), 'generation-begun'), 1)
      await pidOf(dev, 'coordinator')
      dev.signal('SIGINT')
      t.is((await exitOf(dev)).code, 0)
      t.true(existsSync(data))
      t.deepEqual(await processesWith(data), [])
    }
  },
)
