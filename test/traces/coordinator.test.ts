/** Conversations of a coordinator with two workers and the store, to be read. */
import test from 'ava'
import { coordinatedJob, runningJob } from './coordinated-job.js'
import { replay } from './replay.js'

test('a job starts, takes checkpoints and finishes when all of its output is published', t => {
  const trace = `
     0  start              → begin generation
     5  generation 1       → make mailboxes 1, (from nothing)
    10  w1 joins           → (w1 joined), w1 shall idle 0
    15  w2 joins           → (w2 joined), w2 shall idle 0
    20  mailboxes 1        → both shall deploy 1
    30  w1 ready 1         → -
    40  w2 ready 1         → (generation 1 runs), both shall run 1
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    62  w2 reports 1/1     → commit 1
    64  committed 1        → (checkpoint 1 completed), both shall run 1 completed 1
    66  w2 publishes 1/1   → -
  1041  tick               → allocate
  1043  id 2               → both shall run 1 trigger 2 completed 1
  1050  w1 reports 1/2     → -
  1052  w2 reports 1/2     → commit 2
  1054  committed 2        → (checkpoint 2 completed), both shall run 1 completed 2
  1060  w1 at end 1        → allocate
  1062  id 3               → both shall run 1 trigger 3 final completed 2
  1070  w1 reports 1/3     → -
  1072  w2 reports 1/3     → commit 3
  1074  committed 3        → (checkpoint 3 completed), both shall run 1 completed 3
  1080  w1 publishes 1/3   → -
  1082  w2 publishes 1/3   → both shall stop completed 3
  1090  w1 stopped         → -
  1092  w2 stopped         → end as finished
  1095  ended              → both shall stop
  1100  w1 stopped         → -
  `
  t.is(replay(trace, coordinatedJob()), trace)
})

test('a worker is lost while a checkpoint is pending: the generation ends with it', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    70  w2 exits           → (w2 lost: killed), (failed: b/0 lost its worker: killed), w1 shall idle 1
    71  w1 reports 1/1     → -
   500  w2 joins           → (w2 joined), w2 shall idle 1
  1070  tick               → begin generation, both shall idle 0
  1075  generation 2       → make mailboxes 2, (from nothing), both shall idle 1
  1080  mailboxes 2        → both shall deploy 2
  1090  w1 ready 2         → -
  1091  w2 ready 2         → (generation 2 runs), both shall run 2
  `
  t.is(replay(trace, runningJob()), trace)
})

test('a report of an older generation comes late and is discarded, whatever epoch it names', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    61  w2 reports 1/1     → commit 1
    62  committed 1        → (checkpoint 1 completed), both shall run 1 completed 1
  1041  tick               → allocate
  1042  id 2               → both shall run 1 trigger 2 completed 1
  1043  w2 fails 1         → (failed: b/0 failed: actor 'b' threw: no), both shall idle 1
  2043  tick               → begin generation, both shall idle 0
  2045  generation 2 from 1 → make mailboxes 2, (from checkpoint 1), both shall idle 1
  2050  mailboxes 2        → both shall deploy 2
  2060  w1 ready 2         → -
  2061  w2 ready 2         → (generation 2 runs), both shall run 2 completed 1
  3061  tick               → allocate
  3063  id 3               → both shall run 2 trigger 3 completed 1
  3070  w1 reports 2/3     → -
  3071  w2 reports 1/2     → -
  3072  w2 reports 1/3     → -
  3080  w2 reports 2/3     → commit 3
  3081  committed 3        → (checkpoint 3 completed), both shall run 2 completed 3
  `
  t.is(replay(trace, runningJob()), trace)
})

test('a checkpoint that times out is given up, and its late report too; another is declined', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
  1000  w2 runs 1          → -
  2000  w2 runs 1          → -
  2001  w1 runs 1          → -
  3000  tick               → -
  4000  w2 runs 1          → -
  4001  w1 runs 1          → -
  5041  tick               → -
  5042  tick               → record aborted 1, (checkpoint 1 aborted: timed-out), allocate, both shall run 1 aborted 1
  5044  id 2               → both shall run 1 trigger 2 aborted 1
  5050  w2 reports 1/1     → -
  5060  w1 reports 1/2     → -
  5070  w2 declines 1/2    → record aborted 2, (checkpoint 2 aborted: declined), both shall run 1 aborted 1 2
  5071  w2 declines 1/2    → -
  `
  t.is(replay(trace, runningJob()), trace)
})

test('a job is canceled: it ends when its workers have let go', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    61  w2 reports 1/1     → commit 1
    62  committed 1        → (checkpoint 1 completed), both shall run 1 completed 1
   900  cancel             → both shall stop completed 1
   910  w1 stopped         → -
   911  w2 runs 1          → -
   950  w2 stopped         → end as canceled
   960  ended              → both shall stop
  `
  t.is(replay(trace, runningJob()), trace)
})

test('a fenced coordinator falls silent in the middle of a commit', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    61  w2 reports 1/1     → commit 1
    65  fenced             → -
    70  w1 runs 1          → -
    80  committed 1        → -
   600  tick               → -
  `
  t.is(replay(trace, runningJob()), trace)
})

test('a commit whose outcome is awaited outlives the timeout; the store’s refusal ends it', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    61  w2 reports 1/1     → commit 1
  9000  w1 runs 1          → -
  9000  w2 runs 1          → -
  9001  tick               → -
  9002  refused 1 b/0      → record aborted 1, (checkpoint 1 aborted: parts-missing), both shall run 1 aborted 1
  `
  t.is(replay(trace, runningJob()), trace)
})
