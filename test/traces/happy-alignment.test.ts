import test from 'ava'
import { aligningSubtask } from './aligning-subtask.js'
import { replay } from './replay.js'

test('a checkpoint aligns three channels while records flow', t => {
  const trace = `
     0  a record      → count 1
     1  b record      → count 2
     2  a barrier 1   → block a
     3  a record      → held
     4  b record      → count 3
     5  b barrier 1   → block b
     6  c record      → count 4
     7  b record      → held
     9  c barrier 1   → snapshot 1 holds 4 after 7 ms, unblock a b, a record, count 5, b record, count 6
    10  c record      → count 7
    20  c barrier 2   → block c
    21  b barrier 2   → block b
    22  a barrier 2   → snapshot 2 holds 7 after 2 ms, unblock c b
  `
  t.is(replay(trace, aligningSubtask('exactly-once', ['a', 'b', 'c'])), trace)
})

test('the same at least once: nothing waits, and a snapshot holds records too many', t => {
  const trace = `
     0  a record      → count 1
     1  b record      → count 2
     2  a barrier 1   → -
     3  a record      → count 3
     4  b record      → count 4
     5  b barrier 1   → -
     6  c record      → count 5
     7  b record      → count 6
     9  c barrier 1   → snapshot 1 holds 6 after 7 ms
  `
  t.is(replay(trace, aligningSubtask('at-least-once', ['a', 'b', 'c'])), trace)
})
