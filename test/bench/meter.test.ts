import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { meter, rateOf } from './meter.js'

test('a rate is counted between two records, not from the start', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-meter-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'marks.jsonl')
  const see = meter(file, 10, 1_010)
  const from = performance.now()
  for (let n = 0; n < 10; n += 1) see()
  t.throws(() => rateOf(file), { message: /does not hold two moments but: \{"seen":10,/ })
  for (let n = 0; n < 1_000; n += 1) see()
  const seconds = (performance.now() - from) / 1_000
  const rate = rateOf(file)
  t.true(rate >= 1_000 / seconds, `${rate} in ${seconds} s`)
  t.true(Number.isFinite(rate))
})
