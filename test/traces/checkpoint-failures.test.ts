/** What each kind of failure around a checkpoint does to the job, as conversations. */
import test from 'ava'
import { runningJob } from './coordinated-job.js'
import { replay } from './replay.js'

const tolerating = (tolerableFailures: number | undefined) =>
  runningJob({ tolerableFailures, heartbeatTimeoutMs: 1_000_000 })

test('a decline, none tolerated: the attempt is aborted and the generation ends of it', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    70  w2 declines 1/1    → record aborted 1, (checkpoint 1 aborted: declined), (failed: checkpoint 1 was aborted (declined): b/0: its store is full), both shall idle 1
    71  w2 declines 1/1    → -
  1070  tick               → begin generation, both shall idle 0
  1075  generation 2       → make mailboxes 2, (from nothing), both shall idle 1
  1080  mailboxes 2        → both shall deploy 2
  1090  w1 ready 2         → -
  1091  w2 ready 2         → (generation 2 runs), both shall run 2
  1092  tick               → allocate
  `
  t.is(replay(trace, tolerating(0)), trace)
})

test('a decline where any number is put up with: aborted, told to all, and the job goes on', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    70  w2 declines 1/1    → record aborted 1, (checkpoint 1 aborted: declined), both shall run 1 aborted 1
    71  w2 declines 1/1    → -
  1041  tick               → allocate
  1042  id 2               → both shall run 1 trigger 2 aborted 1
  1070  w2 declines 1/2    → record aborted 2, (checkpoint 2 aborted: declined), both shall run 1 aborted 1 2
  2041  tick               → allocate
  2042  id 3               → both shall run 1 trigger 3 aborted 1 2
  2060  w1 reports 1/3     → -
  2061  w2 reports 1/3     → commit 3
  2062  committed 3        → (checkpoint 3 completed), both shall run 1 completed 3 aborted 1 2
  `
  t.is(replay(trace, tolerating(undefined)), trace)
})

test('one is tolerated: a success between two failures begins the count anew', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    70  w2 declines 1/1    → record aborted 1, (checkpoint 1 aborted: declined), both shall run 1 aborted 1
    71  w1 declines 1/1    → -
  1041  tick               → allocate
  1042  id 2               → both shall run 1 trigger 2 aborted 1
  1060  w1 reports 1/2     → -
  1061  w2 reports 1/2     → commit 2
  1062  committed 2        → (checkpoint 2 completed), both shall run 1 completed 2 aborted 1
  2041  tick               → allocate
  2042  id 3               → both shall run 1 trigger 3 completed 2 aborted 1
  2070  w2 declines 1/3    → record aborted 3, (checkpoint 3 aborted: declined), both shall run 1 completed 2 aborted 1 3
  3041  tick               → allocate
  3042  id 4               → both shall run 1 trigger 4 completed 2 aborted 1 3
  3070  w1 declines 1/4    → record aborted 4, (checkpoint 4 aborted: declined), (failed: checkpoint 4 was aborted (declined): a/0: its store is full; 2 in a row, and 1 are tolerated), both shall idle 1
  `
  t.is(replay(trace, tolerating(1)), trace)
})

test('the store gives no id: it counts, though there is no attempt', t => {
  const trace = `
    41  tick               → allocate
    43  no id              → (trouble starting a checkpoint)
  1043  tick               → allocate
  1045  no id              → (trouble starting a checkpoint), (failed: no checkpoint could be begun: Redis is out of reach; 2 in a row, and 1 are tolerated), both shall idle 1
  `
  t.is(replay(trace, tolerating(1)), trace)
})

test('the store refuses to complete it: it counts', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
    61  w2 reports 1/1     → commit 1
    62  refused 1 b/0      → record aborted 1, (checkpoint 1 aborted: parts-missing), (failed: checkpoint 1 was aborted (parts-missing): b/0), both shall idle 1
  `
  t.is(replay(trace, tolerating(0)), trace)
})

test('an attempt times out: it counts, and names who is missing', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w1 reports 1/1     → -
  5042  tick               → record aborted 1, (checkpoint 1 aborted: timed-out), (failed: checkpoint 1 was aborted (timed-out): no report from b/0), both shall idle 1
  `
  t.is(replay(trace, tolerating(0)), trace)
})

test('an actor throws while a checkpoint is pending: the subtask fails, however much is tolerated', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w2 fails 1         → (failed: b/0 failed: actor 'b' threw: no), both shall idle 1
  1060  tick               → begin generation, both shall idle 0
  `
  t.is(replay(trace, tolerating(undefined)), trace)
})

test('what dies with its generation is not counted: one failure is still tolerated afterwards', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    60  w2 fails 1         → (failed: b/0 failed: actor 'b' threw: no), both shall idle 1
  1060  tick               → begin generation, both shall idle 0
  1075  generation 2       → make mailboxes 2, (from nothing), both shall idle 1
  1080  mailboxes 2        → both shall deploy 2
  1090  w1 ready 2         → -
  1091  w2 ready 2         → (generation 2 runs), both shall run 2
  1092  tick               → allocate
  1093  id 2               → both shall run 2 trigger 2
  1100  w2 declines 2/2    → record aborted 2, (checkpoint 2 aborted: declined), both shall run 2 aborted 2
  2100  tick               → allocate
  `
  t.is(replay(trace, tolerating(1)), trace)
})

test('the count outlives a generation: no checkpoint has completed in between', t => {
  const trace = `
    41  tick               → allocate
    42  id 1               → both shall run 1 trigger 1
    50  w2 declines 1/1    → record aborted 1, (checkpoint 1 aborted: declined), both shall run 1 aborted 1
    60  w2 fails 1         → (failed: b/0 failed: actor 'b' threw: no), both shall idle 1
  1060  tick               → begin generation, both shall idle 0
  1075  generation 2       → make mailboxes 2, (from nothing), both shall idle 1
  1080  mailboxes 2        → both shall deploy 2
  1090  w1 ready 2         → -
  1091  w2 ready 2         → (generation 2 runs), both shall run 2
  1092  tick               → allocate
  1093  id 2               → both shall run 2 trigger 2
  1100  w2 declines 2/2    → record aborted 2, (checkpoint 2 aborted: declined), (failed: checkpoint 2 was aborted (declined): b/0: its store is full; 2 in a row, and 1 are tolerated), both shall idle 2
  `
  t.is(replay(trace, tolerating(1)), trace)
})

test('the final checkpoint fails, and is tried again while that is tolerated', t => {
  const trace = `
    41  w1 at end 1        → allocate
    42  id 1               → both shall run 1 trigger 1 final
    50  w2 declines 1/1    → record aborted 1, (checkpoint 1 aborted: declined), both shall run 1 aborted 1
   549  tick               → -
   550  tick               → allocate
   551  id 2               → both shall run 1 trigger 2 final aborted 1
   560  w2 declines 1/2    → record aborted 2, (checkpoint 2 aborted: declined), (failed: checkpoint 2 was aborted (declined): b/0: its store is full; 2 in a row, and 1 are tolerated), both shall idle 1
  `
  t.is(replay(trace, tolerating(1)), trace)
})

test('a cancel while a checkpoint is pending is no failure; who asked for it is told', t => {
  const trace = `
    41  ask r1             → answer r1 queued
    42  tick               → allocate
    43  id 1               → both shall run 1 trigger 1
    44  ask r1             → answer r1 pending 1
    50  cancel             → answer r1 aborted 1: the job is canceled, both shall stop
  `
  t.is(replay(trace, tolerating(0)), trace)
})
