import test from 'ava'
import { supersededTtlOf } from '../../lib/protocol/retention.js'

test('RT4: what an incremental attempt may build on stays until the attempt has timed out', t => {
  t.is(supersededTtlOf(60_000, { incremental: true, timeoutMs: 600_000 }), 600_000)
  t.is(supersededTtlOf(60_000, { incremental: true, timeoutMs: 1_000 }), 60_000)
  t.is(supersededTtlOf(60_000, { incremental: false, timeoutMs: 600_000 }), 60_000)
  t.is(supersededTtlOf(60_000), 60_000)
})
