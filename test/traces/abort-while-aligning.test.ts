import test from 'ava'
import { aligningSubtask } from './aligning-subtask.js'
import { replay } from './replay.js'

test('an abort releases the blocked channels, and the epoch’s last barriers do nothing', t => {
  const trace = `
     0  a barrier 1   → block a
     1  a record      → held
     2  b barrier 1   → block b
     3  abort 1       → epoch 1 aborted, unblock a b, a record, count 1
     4  abort 1       → -
     5  c record      → count 2
     6  c barrier 1   → barrier 1 ignored
     7  c barrier 2   → block c
     8  a barrier 2   → block a
     9  b barrier 2   → snapshot 2 holds 2 after 2 ms, unblock c a
  `
  t.is(replay(trace, aligningSubtask('exactly-once', ['a', 'b', 'c'])), trace)
})

test('a channel that ends while the others wait for it completes the alignment', t => {
  const trace = `
     0  a barrier 1   → block a
     1  a record      → held
     4  b end         → snapshot 1 holds 0 after 4 ms, unblock a, a record, count 1
     5  a barrier 2   → snapshot 2 holds 1 after 0 ms
  `
  t.is(replay(trace, aligningSubtask('exactly-once', ['a', 'b'])), trace)
})
