import test from 'ava'
import {
  baseOf,
  chainOf,
  type Increments,
  startIncrements,
  withAborted,
  withCompleted,
  withPart,
} from '../../lib/protocol/increment.js'
import { neededParts, type PartRef } from '../../lib/protocol/manifest.js'

const part = (epoch: number, bytes: number, base?: PartRef): PartRef => ({
  subtask: 'a/0',
  epoch,
  generation: 1,
  digest: `d${epoch}`,
  chunks: 1,
  bytes,
  ...(base === undefined ? {} : { bases: chainOf(base) }),
})

/** Writes and completes one snapshot after another, as a subtask does. */
const grown = (chainMax: number, sizes: readonly number[]): readonly PartRef[] => {
  let state: Increments = startIncrements(chainMax)
  return sizes.map((bytes, index) => {
    const epoch = index + 1
    const written = part(epoch, bytes, baseOf(state))
    state = withCompleted(withPart(state, written), epoch)
    return written
  })
}

const epochsOf = (one: PartRef): string =>
  chainOf(one)
    .map(({ epoch }) => epoch)
    .join()

test('the first snapshot of an incarnation is whole, the next build on completed ones', t => {
  t.deepEqual(grown(10, [100, 1, 1, 1]).map(epochsOf), ['1', '1,2', '1,2,3', '1,2,3,4'])
})

test('IN1: nothing builds on what has not completed', t => {
  const first = part(1, 100)
  const pending = withPart(startIncrements(10), first)
  t.is(baseOf(pending), undefined)
  const second = withPart(withCompleted(pending, 1), part(2, 1, first))
  t.is(baseOf(second), first)
  t.is(baseOf(withCompleted(second, 3)), first)
})

test('IN2: a chain has at most so many parts', t => {
  t.deepEqual(grown(3, [100, 1, 1, 1, 1]).map(epochsOf), ['1', '1,2', '1,2,3', '4', '4,5'])
  t.deepEqual(grown(1, [100, 1, 1]).map(epochsOf), ['1', '2', '3'])
})

test('IN2: changes that have outgrown the state are followed by a whole snapshot', t => {
  t.deepEqual(grown(10, [100, 60, 60, 100, 1]).map(epochsOf), ['1', '1,2', '1,2,3', '4', '4,5'])
})

test('IN3: without the news of a completion a snapshot builds on an older one', t => {
  const whole = part(1, 100)
  const heard = withCompleted(withPart(startIncrements(10), whole), 1)
  const unheard = withPart(heard, part(2, 1, baseOf(heard)))
  t.is(epochsOf(part(3, 1, baseOf(unheard))), '1,3')
  t.is(epochsOf(part(3, 1, baseOf(withCompleted(unheard, 2)))), '1,2,3')
})

test('a checkpoint needs each part of its chains once', t => {
  const whole = part(1, 100)
  const changes = part(2, 1, whole)
  t.deepEqual(
    neededParts({ parts: [changes, whole, part(2, 1, whole)] }).map(({ epoch }) => epoch),
    [1, 2],
  )
})

test('what was aborted is no base, and is not held', t => {
  const whole = part(1, 100)
  const heard = withCompleted(withPart(startIncrements(10), whole), 1)
  const aborted = withAborted(withPart(heard, part(2, 1, baseOf(heard))), 2)
  t.deepEqual(aborted.pending, [])
  t.is(baseOf(withCompleted(aborted, 3)), whole)
})
