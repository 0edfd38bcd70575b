import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Batch } from './batch.js'
import { codeFingerprint, Kept, type Run } from './kept.js'

const run: Run = { from: 1, seeds: 100, code: 'abc' }

const batchFrom = (from: number): Batch => ({
  from,
  seeds: 50,
  events: 1_000,
  recoveries: 250,
  virtualMs: 9.5,
  hash: 7,
  counters: { 'fault struck': 3 },
  failed: [{ seed: from, violations: [{ rule: 'I6', facts: 'twice', atMs: 1.5 }] }],
})

const newFile = async (t: ExecutionContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-kept-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'run.jsonl')
}

test('a run that is opened again has the batches and the time of before', async t => {
  const file = await newFile(t)
  const before = Kept.open(file, run)
  before.add(batchFrom(1), 2)
  before.add(batchFrom(51), 3)
  const after = Kept.open(file, run)
  t.deepEqual(after.batches, [batchFrom(1), batchFrom(51)])
  t.is(after.seconds, 5)
})

test('a line that was cut off with the run is taken for not written', async t => {
  const file = await newFile(t)
  Kept.open(file, run).add(batchFrom(1), 2)
  const whole = await readFile(file, 'utf8')
  await appendFile(file, '{"seconds":3,"batch":{"from":5')
  t.deepEqual(Kept.open(file, run).batches, [batchFrom(1)])
  t.is(await readFile(file, 'utf8'), whole)
})

test('a file of another run, of other code, or of anything else is refused and left alone', async t => {
  const file = await newFile(t)
  Kept.open(file, run).add(batchFrom(1), 2)
  const before = await readFile(file, 'utf8')
  t.throws(() => Kept.open(file, { ...run, seeds: 200 }), { message: /a run of 100 seeds from 1/ })
  t.throws(() => Kept.open(file, { ...run, code: 'def' }), { message: /other code/ })
  t.is(await readFile(file, 'utf8'), before)
  await writeFile(file, 'something else\n')
  t.throws(() => Kept.open(file, run), { message: /holds no run/ })
  await writeFile(file, `${JSON.stringify(run)}\nsomething else\n`)
  t.throws(() => Kept.open(file, run), { message: /what is no batch: something else/ })
})

test('the fingerprint of the code is the same every time', t => {
  t.is(codeFingerprint(), codeFingerprint())
  t.regex(codeFingerprint(), /^[0-9a-f]{16}$/)
})
