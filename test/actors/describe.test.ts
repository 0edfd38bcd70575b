import test from 'ava'
import { describeNote, progressOf } from '../../actors/describe.js'
import { streamError } from '../../lib/errors.js'
import { Coordination, subtaskOf } from '../protocol/coordinator-fixture.js'

test('every note is one plain sentence', t => {
  const error = streamError('timed-out', 'no answer')
  for (const [note, text] of [
    [
      { type: 'generation-begun', generation: 1, restored: undefined },
      'generation 1 starts from nothing',
    ],
    [
      { type: 'generation-begun', generation: 2, restored: 7 },
      'generation 2 starts from checkpoint 7',
    ],
    [{ type: 'running', generation: 2 }, 'generation 2 runs'],
    [
      { type: 'running', generation: 2, restored: { memory: 1, disk: 0, store: 2, manifest: 3 } },
      'generation 2 runs; restored: 1 from memory, 2 from the store, 3 from the manifest',
    ],
    [{ type: 'worker-joined', worker: 'w', fits: true }, 'worker w joined'],
    [
      { type: 'worker-joined', worker: 'w', fits: false },
      'worker w has loaded another version of the job and gets nothing to do; start it with the same job file',
    ],
    [{ type: 'worker-lost', worker: 'w', reason: 'SIGKILL' }, 'worker w is lost: SIGKILL'],
    [
      { type: 'failed', generation: 2, reason: 'it threw', delayMs: 1_000.4 },
      'generation 2 failed: it threw; restarting in 1000 ms',
    ],
    [
      { type: 'failed', generation: 2, reason: 'it threw', delayMs: undefined },
      'generation 2 failed: it threw; giving up',
    ],
    [
      { type: 'checkpoint-completed', epoch: 3, durationMs: 12.7, bytes: 900 },
      'checkpoint 3 completed in 13 ms, 900 bytes',
    ],
    [
      { type: 'checkpoint-aborted', epoch: 3, reason: 'timed-out', facts: 'no report from a/0' },
      'checkpoint 3 aborted (timed-out): no report from a/0',
    ],
    [
      { type: 'store-trouble', doing: 'renewing the lease', error },
      'trouble renewing the lease: no answer',
    ],
  ] as const) {
    t.is(describeNote(note), text)
  }
})

test('progress tells phase, generation, records and what is waited for', t => {
  const of = new Coordination()
  t.like(progressOf(of.state), { phase: 'beginning', generation: 0, records: 0, workers: 0 })
  of.step({ type: 'started' })
  of.step({ type: 'generation-begun', generation: 1, restore: undefined })
  of.beat('w1')
  t.like(progressOf(of.state), { phase: 'assembling', generation: 1, waiting: ['b/0'] })
  const running = new Coordination().runs(1)
  running.tells('a/0', 1, { records: 40, skipped: 1 })
  running.beat('w2', { generation: 1, subtasks: [subtaskOf('b/0', { records: 2, skipped: 2 })] })
  t.deepEqual(progressOf(running.state), {
    phase: 'running',
    generation: 1,
    completed: 0,
    records: 42,
    skipped: 3,
    workers: 2,
    waiting: [],
  })
})
