import test from 'ava'
import { aligningSubtask } from './aligning-subtask.js'
import { replay } from './replay.js'

test('a newer barrier supersedes an alignment whose last barrier never came', t => {
  const trace = `
     0  a record      → count 1
     1  a barrier 1   → block a
     2  a record      → held
     3  b barrier 1   → block b
     4  c record      → count 2
     5  a barrier 2   → held
     6  c barrier 2   → epoch 1 superseded, block c, unblock a b, a record, count 3, a barrier 2, block a
     7  c record      → held
     8  b record      → count 4
     9  b barrier 2   → snapshot 2 holds 4 after 3 ms, unblock c a, c record, count 5
  `
  t.is(replay(trace, aligningSubtask('exactly-once', ['a', 'b', 'c'])), trace)
})

test('a late barrier of a superseded epoch does nothing', t => {
  const trace = `
     0  a barrier 1   → block a
     1  b barrier 2   → epoch 1 superseded, block b, unblock a
     2  c barrier 1   → barrier 1 ignored
     3  c barrier 2   → block c
     4  a barrier 2   → snapshot 2 holds 0 after 3 ms, unblock b c
  `
  t.is(replay(trace, aligningSubtask('exactly-once', ['a', 'b', 'c'])), trace)
})
