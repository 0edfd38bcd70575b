import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { deserialize, serialize } from '../../lib/adapters/codec/v8.js'
import type { Key } from '../../lib/protocol/ids.js'
import { type CapturedState, KeyedStateStore } from '../../lib/state/keyed-state.js'
import { decodeSnapshot, encodeSnapshot, type Snapshot } from '../../lib/state/snapshot.js'
import { mergeSnapshots } from '../../lib/state/snapshot-merge.js'
import { seeded } from './random.js'

const keyGroups = { from: 0, to: 3 }
const spec = { codec: t.unknown }
const groupOf = (key: number): number => key % 4

const newStore = (): KeyedStateStore<unknown> =>
  new KeyedStateStore<unknown>({
    operator: 'op',
    initial: () => 0,
    keyGroups,
    freeze: true,
    tracksChanges: true,
  })

/** Through bytes and back. */
const stored = (
  assert: ExecutionContext,
  epoch: number,
  state: CapturedState<unknown>,
  changes: boolean,
): Snapshot => {
  const facts = { job: 'j', subtask: 's/0', epoch, generation: 1, maxParallelism: 4, keyGroups }
  const sections = [{ kind: 'keyed', operator: 'op', spec, state, changes }] as const
  const chunks = [...encodeSnapshot({ ...facts, sections }, serialize, 256)]
  const decoded = decodeSnapshot(chunks, deserialize, { ...facts, part: facts, sections })
  if (E.isLeft(decoded)) return assert.fail(decoded.left.message)
  return decoded.right
}

const write = (store: KeyedStateStore<unknown>, key: number, value: unknown): void => {
  store.setCurrent(key, groupOf(key))
  if (value === undefined) store.view.clear()
  else store.view.set(value)
  store.clearCurrent()
}

const entriesOf = (snapshot: Snapshot): readonly (readonly [Key, unknown])[] =>
  [...(snapshot.keyed.get('op') ?? [])]
    .flatMap(([, entries]) => [...entries])
    .sort(([a], [b]) => Number(a) - Number(b))

test('KS8: snapshots of changes, put together, are the state, whatever was written, removed and not completed', assert => {
  const seed = Date.now() % 100_000
  assert.log(`seed ${seed}`)
  const below = seeded(seed)
  for (let run = 0; run < 100; run += 1) {
    const store = newStore()
    const model = new Map<number, unknown>()
    let chain: readonly Snapshot[] = []
    let since = 0
    for (let epoch = 1; epoch <= 12; epoch += 1) {
      for (let writes = below(30); writes > 0; writes -= 1) {
        const key = below(20)
        const value = below(4) === 0 ? undefined : { n: below(1_000) }
        write(store, key, value)
        if (value === undefined) model.delete(key)
        else model.set(key, value)
      }
      const whole = chain.length === 0
      const state = whole ? store.capture(epoch) : store.captureChanges(epoch, since)
      const captured = [...model].sort(([a], [b]) => a - b)
      // The capture shows its instant, whatever is written beside it (KS1).
      for (let writes = below(10); writes > 0; writes -= 1) {
        const key = below(20)
        write(store, key, { late: true })
        model.set(key, { late: true })
      }
      const snapshot = stored(assert, epoch, state, !whole)
      state.release()
      const merged = mergeSnapshots([...chain, snapshot])
      assert.deepEqual(E.map(entriesOf)(merged), E.right(captured))
      if (below(3) === 0) continue // It never completes; the next one builds on what did.
      chain = [...chain, snapshot]
      since = epoch
      if (below(3) > 0) store.forgetChanges(epoch)
    }
  }
})

test('a snapshot of changes holds what has changed, and no more', assert => {
  const store = newStore()
  for (let key = 0; key < 20; key += 1) write(store, key, key)
  store.capture(1).release()
  write(store, 3, 'three')
  write(store, 7, undefined)
  const changes = store.captureChanges(2, 1)
  const snapshot = stored(assert, 2, changes, true)
  assert.deepEqual(entriesOf(snapshot), [[3, 'three']])
  assert.deepEqual(snapshot.removed, new Map([['op', new Map([[3, [7]]])]]))
  assert.deepEqual(
    changes.groups.map(({ group }) => group),
    [3],
  )
})

test('SM2: changes without the state that they changed are no snapshot', assert => {
  const store = newStore()
  store.capture(1).release()
  write(store, 1, 'one')
  const changes = stored(assert, 2, store.captureChanges(2, 1), true)
  assert.like(mergeSnapshots([changes]), { _tag: 'Left', left: { type: 'corrupt' } })
  assert.like(mergeSnapshots([]), { _tag: 'Left', left: { type: 'corrupt' } })
})

test('a whole snapshot is written in the first version of the format, changes in the second', assert => {
  const store = newStore()
  write(store, 1, 'one')
  assert.is(stored(assert, 1, store.capture(1), false).header.format, 1)
  assert.is(stored(assert, 2, store.captureChanges(2, 1), true).header.format, 2)
})

test('what is not tracked has no changes to ask for', assert => {
  const store = new KeyedStateStore({ operator: 'op', initial: () => 0, keyGroups, freeze: false })
  assert.throws(() => store.captureChanges(2, 1), { message: /KS8/ })
})
