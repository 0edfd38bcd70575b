import test from 'ava'
import { supersededTtlOf } from '../../lib/protocol/retention.js'

test('RT4: what an incremental attempt may build on stays until the attempt has timed out', t => {
  const overlapping = { incremental: true, maxConcurrent: 2, timeoutMs: 600_000 }
  t.is(supersededTtlOf(60_000, overlapping), 600_000)
  t.is(supersededTtlOf(60_000, { ...overlapping, timeoutMs: 1_000 }), 60_000)
  t.is(supersededTtlOf(60_000, { ...overlapping, maxConcurrent: 1 }), 60_000)
  t.is(supersededTtlOf(60_000, { ...overlapping, incremental: false }), 60_000)
  t.is(supersededTtlOf(60_000), 60_000)
})
