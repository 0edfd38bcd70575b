/** Notifications: actors hear what became of checkpoints, and a lost word is made up for. */
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { unknown } from 'io-ts'
import { actor, iterable, jetstream, job, problemText, validate } from 'sluice'
import { CheckpointListeners } from '../../lib/operators/listeners.js'
import { decodeMessage, Orders } from '../../lib/protocol/messages.js'
import { JobWorld } from '../support/memory-job.js'
import {
  anySource,
  completedEpochs,
  feed,
  generations,
  mergingJob,
  nothingWrong,
  streamSource,
  verdictOf,
} from '../support/merging-job.js'

const records = { left: 150, right: 150 }

/** A world whose counting actor notes what it hears; `throwsAt`: once, at that completion. */
const listening = (throwsAt?: number) => {
  const complete: number[] = []
  const aborted: number[] = []
  const subtasks = new Set<number>()
  let throws = throwsAt !== undefined
  const counts = {
    onCheckpointComplete: ({ epoch, subtask }: { epoch: number; subtask: number }) => {
      complete.push(epoch)
      subtasks.add(subtask)
      if (!throws || epoch !== throwsAt) return
      throws = false
      throw new Error('it cannot take it')
    },
    onCheckpointAborted: ({ epoch }: { epoch: number }) => {
      aborted.push(epoch)
    },
  }
  const job = mergingJob({
    left: anySource(streamSource('left', records.left)),
    right: anySource(streamSource('right', records.right)),
    checkpoint: { intervalMs: 100, timeoutMs: 300 },
    counts,
  })
  const world = new JobWorld({ job })
  feed(world, 'left', records.left, 4)
  feed(world, 'right', records.right, 4)
  return { world, complete, aborted, subtasks }
}

const isRising = (numbers: readonly number[]): boolean =>
  numbers.every((n, i) => i === 0 || n > (numbers[i - 1] ?? 0))

test('an actor hears of every completed checkpoint once, in rising order', async t => {
  const { world, complete, aborted, subtasks } = listening()
  world.start()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(complete, completedEpochs(world))
  t.true(complete.length >= 4)
  t.true(isRising(complete))
  t.deepEqual(aborted, [])
  t.deepEqual([...subtasks], [0])
})

test('a completion that is lost on its way is made up for by the next one, which stands for both', async t => {
  const { world, complete } = listening()
  const lost = 2
  world.office.fate = (subject, payload) => {
    if (!subject.includes('counts')) return [0]
    const orders = decodeMessage(Orders, payload)
    return E.isRight(orders) && orders.right.completed === lost ? [] : [0]
  }
  world.start()
  t.is((await world.untilEnded()).status, 'finished')
  t.true(completedEpochs(world).includes(lost))
  t.deepEqual(
    complete,
    completedEpochs(world).filter(epoch => epoch !== lost),
  )
  t.true(isRising(complete))
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('an actor hears of an aborted checkpoint once, however often it is said, and of none that completed', async t => {
  const { world, complete, aborted } = listening()
  // The snapshot of checkpoint 2 never arrives: it is declined, or times out.
  world.hooks.onRequest = (_process, request) =>
    request === 'write right/0 2' ? 'lost' : undefined
  world.office.fate = subject => (subject.includes('counts') ? [0, 30] : [0])
  world.start()
  t.is((await world.untilEnded()).status, 'finished')
  t.true(world.notes.some(note => note.type === 'checkpoint-aborted' && note.epoch === 2))
  t.deepEqual(aborted, [2])
  t.true(isRising(complete))
  t.false(complete.includes(2))
})

test('a crash swallows completions, and numbers rise all the same', async t => {
  const { world, complete } = listening()
  world.start()
  await world.time.run('checkpoint 2', () => completedEpochs(world).includes(2))
  world.kill('counts/0')
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(generations(world), [1, 2])
  t.true(isRising(complete))
  t.is(complete.at(-1), completedEpochs(world).at(-1))
})

test('what a listener throws restarts the job from its latest checkpoint, and is told', async t => {
  const { world, complete } = listening(2)
  world.start()
  t.is((await world.untilEnded()).status, 'finished')
  t.true(
    world.told.some(line =>
      line.includes("actor 'counts' threw in onCheckpointComplete: it cannot take it"),
    ),
    world.told.join('\n'),
  )
  t.deepEqual(generations(world), [1, 2])
  t.true(isRising(complete), 'the checkpoint that was restored is not told again')
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('an abort is not told of what a completion covers, nor a completion twice', t => {
  const heard: string[] = []
  const hears = actor<unknown, unknown, unknown>({
    name: 'hears',
    accepts: unknown,
    emits: unknown,
    receive: () => {},
    onCheckpointComplete: ({ epoch }) => {
      heard.push(`complete ${epoch}`)
    },
    onCheckpointAborted: ({ epoch }) => {
      heard.push(`aborted ${epoch}`)
    },
  })
  const vertex = { type: 'operator', id: 'hears', parallelism: 1, actor: hears } as const
  const listeners = new CheckpointListeners([vertex], 0, 3)
  for (const [what, epoch] of [
    ['complete', 3],
    ['abort', 2],
    ['abort', 5],
    ['abort', 5],
    ['abort', 4],
    ['complete', 6],
    ['abort', 4],
    ['complete', 5],
    ['complete', 6],
    ['complete', 9],
  ] as const) {
    listeners[what](epoch)
  }
  t.deepEqual(heard, ['aborted 5', 'aborted 4', 'complete 6', 'complete 9'])
})

test('a listener that returns a promise is refused when it does', t => {
  const waits = actor<unknown, unknown, unknown>({
    name: 'waits',
    accepts: unknown,
    emits: unknown,
    receive: () => {},
    // @ts-expect-error A promise does not compile; JavaScript does not know that.
    onCheckpointComplete: () => Promise.reject(new Error('nobody hears of it')),
  })
  const vertex = { type: 'operator', id: 'waits', parallelism: 1, actor: waits } as const
  const error = t.throws(() => new CheckpointListeners([vertex], 0, 0).complete(1))
  t.regex(error.message, /'onCheckpointComplete' returned a promise/)
})

test('validate refuses a listener that is no plain function', t => {
  const listeners = { onCheckpointComplete: async () => {}, onCheckpointAborted: 'yes' }
  const hears = actor({ name: 'hears', accepts: unknown, emits: unknown, receive: () => {} })
  const judged = validate(
    job('deaf')
      .from(iterable.source({ id: 'numbers', open: () => [1] }))
      // @ts-expect-error Neither compiles; JavaScript does not know that.
      .to(Object.freeze({ ...hears, ...listeners }))
      .into(jetstream.sink({ id: 'out', subject: 'out' })).graph,
  )
  const problems = E.isLeft(judged) ? judged.left.map(problemText) : []
  t.is(problems.length, 2, problems.join('\n'))
  t.regex(problems[0] ?? '', /onCheckpointComplete.*hears of a completed checkpoint/s)
  t.regex(problems[1] ?? '', /onCheckpointAborted.*hears of an aborted checkpoint/s)
})
