/** How interval, pause, timeout and concurrency act on each other: each worked case as a conversation. */
import test from 'ava'
import type { CheckpointRules } from '../../lib/protocol/checkpoint.js'
import { runningJob } from './coordinated-job.js'
import { replay } from './replay.js'

const ruled = (rules: Partial<CheckpointRules>) =>
  runningJob({
    checkpoints: {
      ...{ intervalMs: 10_000, minPauseMs: 0, timeoutMs: 60_000, maxConcurrent: 1 },
      ...rules,
    },
    // Nobody beats for a while here: what is told is about checkpoints.
    heartbeatTimeoutMs: 1_000_000,
  })

test('interval 10 s, a checkpoint takes 25 s, no pause: the next starts the moment it completes', t => {
  const trace = `
     41  tick               → allocate
     42  id 1               → both shall run 1 trigger 1
  10041  tick               → -
  20041  tick               → -
  25060  w1 reports 1/1     → -
  25061  w2 reports 1/1     → commit 1
  25062  committed 1        → (checkpoint 1 completed), both shall run 1 completed 1
  25063  tick               → allocate
  25064  id 2               → both shall run 1 trigger 2 completed 1
  35041  tick               → -
  50060  w1 reports 1/2     → -
  50061  w2 reports 1/2     → commit 2
  50062  committed 2        → (checkpoint 2 completed), both shall run 1 completed 2
  50063  tick               → allocate
  `
  t.is(replay(trace, ruled({})), trace)
})

test('the same with a pause of 5 s: the next starts 5 s after the completion', t => {
  const trace = `
     41  tick               → allocate
     42  id 1               → both shall run 1 trigger 1
  25060  w1 reports 1/1     → -
  25061  w2 reports 1/1     → commit 1
  25062  committed 1        → (checkpoint 1 completed), both shall run 1 completed 1
  25063  tick               → -
  30061  tick               → -
  30062  tick               → allocate
  30063  id 2               → both shall run 1 trigger 2 completed 1
  `
  t.is(replay(trace, ruled({ minPauseMs: 5_000 })), trace)
})

test('interval 1 s, pause 5 s: the interval is raised to 5 s', t => {
  const trace = `
     41  tick               → allocate
     42  id 1               → both shall run 1 trigger 1
     50  w1 reports 1/1     → -
     51  w2 reports 1/1     → commit 1
     52  committed 1        → (checkpoint 1 completed), both shall run 1 completed 1
   1052  tick               → -
   5040  tick               → -
   5051  tick               → -
   5052  tick               → allocate
   5053  id 2               → both shall run 1 trigger 2 completed 1
   6053  tick               → -
   `
  t.is(replay(trace, ruled({ intervalMs: 1_000, minPauseMs: 5_000 })), trace)
})

test('an attempt expires: its slot is free and the next starts at once, whatever the pause', t => {
  const trace = `
     41  tick               → allocate
     42  id 1               → both shall run 1 trigger 1
     50  w1 reports 1/1     → -
     51  w2 reports 1/1     → commit 1
     52  committed 1        → (checkpoint 1 completed), both shall run 1 completed 1
  10041  tick               → allocate
  10042  id 2               → both shall run 1 trigger 2 completed 1
  10050  w1 reports 1/2     → -
  22041  tick               → -
  22042  tick               → record aborted 2, (checkpoint 2 aborted: timed-out), allocate, both shall run 1 completed 1 aborted 2
  22043  id 3               → both shall run 1 trigger 3 completed 1 aborted 2
  22050  w2 reports 1/2     → -
  `
  t.is(replay(trace, ruled({ minPauseMs: 5_000, timeoutMs: 12_000 })), trace)
})

test('three at a time: a fourth waits for a slot, and ticks that came meanwhile are one', t => {
  const trace = `
     41  tick               → allocate
     42  id 1               → both shall run 1 trigger 1
  10041  tick               → allocate
  10042  id 2               → both shall run 1 trigger 1 trigger 2
  20041  tick               → allocate
  20042  id 3               → both shall run 1 trigger 1 trigger 2 trigger 3
  30041  tick               → -
  40041  tick               → -
  40050  w1 reports 1/1     → -
  40051  w2 reports 1/1     → commit 1
  40052  committed 1        → (checkpoint 1 completed), both shall run 1 trigger 2 trigger 3 completed 1
  40053  tick               → allocate
  40054  id 4               → both shall run 1 trigger 2 trigger 3 trigger 4 completed 1
  40055  tick               → -
  40060  w1 reports 1/2     → -
  40061  w2 reports 1/2     → commit 2
  40062  committed 2        → (checkpoint 2 completed), both shall run 1 trigger 3 trigger 4 completed 2
  40063  tick               → -
  50053  tick               → -
  50054  tick               → allocate
  `
  t.is(replay(trace, ruled({ maxConcurrent: 3 })), trace)
})

test('a later checkpoint completes first: the earlier ones are superseded, and commits never cross', t => {
  const trace = `
     41  tick               → allocate
     42  id 1               → both shall run 1 trigger 1
  10041  tick               → allocate
  10042  id 2               → both shall run 1 trigger 1 trigger 2
  10050  w1 reports 1/2     → -
  10051  w2 reports 1/2     → commit 2
  10052  w1 reports 1/1     → -
  10053  w2 reports 1/1     → -
  10054  committed 2        → (checkpoint 2 completed), record aborted 1, (checkpoint 1 aborted: superseded), both shall run 1 completed 2 aborted 1
  `
  t.is(replay(trace, ruled({ maxConcurrent: 2 })), trace)
})

test('a timeout below what a checkpoint takes: every attempt expires, until it is too much', t => {
  const trace = `
     41  tick               → allocate
     42  id 1               → both shall run 1 trigger 1
   3042  tick               → record aborted 1, (checkpoint 1 aborted: timed-out), both shall run 1 aborted 1
   3050  w1 reports 1/1     → -
   3051  w2 reports 1/1     → -
  10042  tick               → allocate
  10043  id 2               → both shall run 1 trigger 2 aborted 1
  13043  tick               → record aborted 2, (checkpoint 2 aborted: timed-out), (failed: checkpoint 2 was aborted (timed-out): no report from a/0, b/0; 2 in a row, and 1 are tolerated), both shall idle 1
  14043  tick               → begin generation, both shall idle 0
  `
  const checkpoints = {
    ...{ intervalMs: 10_000, minPauseMs: 0, timeoutMs: 3_000, maxConcurrent: 1 },
  }
  const more = { checkpoints, tolerableFailures: 1, heartbeatTimeoutMs: 1_000_000 }
  t.is(replay(trace, runningJob(more)), trace)
})

test('a checkpoint by hand waits for no pause, but for a slot; several requests are one', t => {
  const trace = `
     41  tick               → allocate
     42  id 1               → both shall run 1 trigger 1
     45  ask r1             → answer r1 queued
     46  ask r2             → answer r2 queued
     50  w1 reports 1/1     → -
     51  w2 reports 1/1     → commit 1
     52  committed 1        → (checkpoint 1 completed), both shall run 1 completed 1
     53  tick               → allocate
     54  id 2               → both shall run 1 trigger 2 completed 1
     60  ask r1             → answer r1 pending 2
     61  ask r3             → answer r3 queued
     70  w1 reports 1/2     → -
     71  w2 reports 1/2     → commit 2
     72  committed 2        → (checkpoint 2 completed), answer r1 completed 2, answer r2 completed 2, both shall run 1 completed 2
     73  tick               → allocate
     74  no id              → (trouble starting a checkpoint), answer r3 aborted before it began: Redis is out of reach
     75  ask r1             → answer r1 completed 2
     76  ask r3             → answer r3 aborted before it began: Redis is out of reach
   5071  tick               → -
  `
  t.is(replay(trace, ruled({ minPauseMs: 5_000 })), trace)
})
