/** The examples as people run them: in processes of their own, on servers of their own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import * as io from 'io-ts'

const script = fileURLToPath(new URL('../examples/flights/demo.js', import.meta.url))

const Servers = io.type({ type: io.literal('servers'), natsUrl: io.string, redisUrl: io.string })
const Started = io.type({ type: io.literal('process-started'), role: io.string, pid: io.number })
const Progress = io.type({ type: io.literal('progress'), outputs: io.number })
const Kill = io.type({
  type: io.literal('kill'),
  role: io.string,
  generation: io.number,
  fed: io.number,
  outputs: io.number,
})
const Result = io.type({
  passed: io.boolean,
  records: io.number,
  kills: io.number,
  generations: io.number,
  missing: io.number,
  duplicated: io.number,
  wrong: io.number,
  processes: io.number,
  processesEver: io.number,
  durationMs: io.number,
})

interface Demo {
  readonly process: ChildProcess
  /** What it printed so far, parsed. */
  readonly lines: readonly unknown[]
  /** Everything that it may leave behind lies in here. */
  readonly folder: string
  readonly exitCode: Promise<number | null>
}

/** Starts the demo as the leader of a process group, which ends with the test. */
const startDemo = (
  t: ExecutionContext,
  flags: readonly string[],
  onLine: (line: unknown) => void = () => {},
): Demo => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-demo-test-'))
  const child = spawn(process.execPath, [script, '--json', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: folder },
    detached: true,
  })
  const lines: unknown[] = []
  createInterface({ input: child.stdout }).on('line', text => {
    const line: unknown = JSON.parse(text)
    lines.push(line)
    onLine(line)
  })
  const exitCode = new Promise<number | null>(resolve => {
    child.once('close', resolve)
  })
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await exitCode
    rmSync(folder, { recursive: true, force: true })
  })
  return { process: child, lines, folder, exitCode }
}

const resultOf = (t: ExecutionContext, { lines }: Demo) => {
  const last = lines.at(-1)
  if (!Result.is(last)) return t.fail(`the last line is no result: ${JSON.stringify(last)}`)
  t.log(JSON.stringify(last))
  return last
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const answers = (url: string): Promise<boolean> =>
  new Promise(resolve => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

const assertNothingIsLeft = async (t: ExecutionContext, { lines, folder }: Demo): Promise<void> => {
  const started = lines.filter(Started.is)
  t.true(started.length >= 5)
  t.deepEqual(
    started.filter(({ pid }) => isAlive(pid)),
    [],
  )
  const urls = lines.filter(Servers.is).flatMap(({ natsUrl, redisUrl }) => [natsUrl, redisUrl])
  t.is(urls.length, 2)
  for (const url of urls) t.false(await answers(url), url)
  t.deepEqual(readdirSync(folder), [])
}

test.serial('three processes are killed while flights flow, and every output is right', async t => {
  t.timeout(280_000)
  const demo = startDemo(t, [])
  t.is(await demo.exitCode, 0)
  const result = resultOf(t, demo)
  t.like(result, { passed: true, records: 20_000, kills: 3, missing: 0, duplicated: 0, wrong: 0 })
  t.true(result !== undefined && result.generations >= 4)
  t.true(result !== undefined && result.processes >= 5)
  t.true(result !== undefined && result.processesEver >= 8)
  const kills = demo.lines.filter(Kill.is)
  t.deepEqual(
    kills.map(({ role }) => role),
    ['delays/1', 'delays-out/0', 'coordinator'],
  )
  for (const { fed, outputs } of kills) {
    t.true(fed < 20_000, 'input remains')
    t.true(outputs > 0 && outputs < fed, 'records are on their way')
  }
  await assertNothingIsLeft(t, demo)
})

test.serial('the demo does the same without kills', async t => {
  t.timeout(280_000)
  const demo = startDemo(t, ['--no-kill'])
  t.is(await demo.exitCode, 0)
  t.like(resultOf(t, demo), {
    passed: true,
    records: 20_000,
    kills: 0,
    generations: 1,
    missing: 0,
    duplicated: 0,
    wrong: 0,
    processes: 5,
    processesEver: 5,
  })
  await assertNothingIsLeft(t, demo)
})

test.serial('the demo fails when one output was altered', async t => {
  t.timeout(280_000)
  const demo = startDemo(t, ['--no-kill', '--tamper'])
  t.is(await demo.exitCode, 1)
  t.like(resultOf(t, demo), {
    passed: false,
    records: 20_000,
    missing: 0,
    duplicated: 0,
    wrong: 1,
  })
})

test.serial('ctrl-c stops the demo, and nothing is left', async t => {
  t.timeout(120_000)
  let interrupted = false
  const demo = startDemo(t, ['--no-kill'], line => {
    if (interrupted || !Progress.is(line) || line.outputs === 0) return
    interrupted = true
    // As a terminal does it: to every process of the group.
    if (demo.process.pid !== undefined) process.kill(-demo.process.pid, 'SIGINT')
  })
  t.is(await demo.exitCode, 130)
  t.true(interrupted)
  await assertNothingIsLeft(t, demo)
})
