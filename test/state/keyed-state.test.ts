import test from 'ava'
import { InvariantViolation } from '../../lib/invariant.js'
import { type CapturedState, KeyedStateStore } from '../../lib/state/keyed-state.js'
import { seeded } from './random.js'

interface Count {
  n: number
  tags: string[]
}

const range = { from: 4, to: 7 }

const counts = (freeze = true) =>
  new KeyedStateStore<Count>({
    operator: 'delays',
    initial: () => ({ n: 0, tags: [] }),
    keyGroups: range,
    freeze,
  })

const entriesOf = (capture: CapturedState<Count>, group: number) =>
  capture.groups.find(one => one.group === group)?.entries

test('a view acts on the current key and is one object', t => {
  const store = counts()
  const { view } = store
  store.setCurrent('a', 4)
  view.set({ n: 1, tags: [] })
  store.setCurrent('b', 5)
  view.update(draft => {
    draft.n += 7
  })
  store.setCurrent('a', 4)
  t.deepEqual(view.get(), { n: 1, tags: [] })
  store.setCurrent('b', 5)
  t.deepEqual(view.get(), { n: 7, tags: [] })
  t.is(store.view, view)
})

test('1 and "1" are different keys, and __proto__ is a key like any other', t => {
  const store = counts()
  const keys = [1, '1', '__proto__', 'constructor', '', -0.5]
  for (const [n, key] of keys.entries()) {
    store.setCurrent(key, 4)
    store.view.set({ n, tags: [] })
  }
  for (const [n, key] of keys.entries()) {
    store.setCurrent(key, 4)
    t.is(store.view.get().n, n)
  }
  t.is(store.keys, keys.length)
})

test('the state outside of a record is an error that says why', t => {
  const store = counts()
  const message = /state of "delays" was used outside of a record/
  t.throws(() => store.view.get(), { message })
  store.setCurrent('a', 4)
  store.view.set({ n: 1, tags: [] })
  store.clearCurrent()
  t.throws(() => store.view.get(), { message })
  t.throws(() => store.view.set({ n: 2, tags: [] }), { message })
  t.throws(() => store.view.update(() => {}), { message })
  t.throws(() => store.view.clear(), { message })
})

test('KS5: a key group outside of the subtask is a defect', t => {
  const store = counts()
  for (const group of [3, 8, Number.NaN]) {
    t.throws(() => store.setCurrent('a', group), { instanceOf: InvariantViolation, message: /KS5/ })
  }
  t.throws(() => store.restore(8, []), { instanceOf: InvariantViolation })
})

test('KS6: what initial answers is not stored', t => {
  const store = counts()
  store.setCurrent('a', 4)
  t.deepEqual(store.view.get(), { n: 0, tags: [] })
  t.is(store.keys, 0)
  t.deepEqual(store.capture().groups, [])
  store.view.update(() => {})
  t.is(store.keys, 1)
  store.view.clear()
  store.view.clear()
  t.is(store.keys, 0)
})

test('undefined is a value and not the absence of one', t => {
  const store = new KeyedStateStore<number | undefined>({
    operator: 'o',
    initial: () => 1,
    keyGroups: range,
    freeze: true,
  })
  store.setCurrent('a', 4)
  store.view.set(undefined)
  t.is(store.view.get(), undefined)
  t.is(store.keys, 1)
})

test('what update makes is frozen when freezing is on, and not otherwise', t => {
  for (const freeze of [true, false]) {
    const store = counts(freeze)
    store.setCurrent('a', 4)
    store.view.update(draft => {
      draft.tags.push('x')
    })
    t.is(Object.isFrozen(store.view.get()), freeze)
    t.is(Object.isFrozen(store.view.get().tags), freeze)
  }
})

test('update of a value that is no plain object says to use set, and freezing goes on working', t => {
  for (const value of [5, 'x', null, undefined, new Date(0), new Map(), new Set()]) {
    const store = new KeyedStateStore<unknown>({
      operator: 'delays',
      initial: () => value,
      keyGroups: range,
      freeze: true,
    })
    store.setCurrent('a', 4)
    t.throws(() => store.view.update(() => {}), { message: /state of "delays" is .*: use set/ })
    t.is(store.keys, 0)
  }
  const store = counts()
  store.setCurrent('a', 4)
  store.view.update(draft => {
    draft.n = 1
  })
  t.true(Object.isFrozen(store.view.get()))
})

test('an asynchronous recipe is refused', async t => {
  const store = counts()
  store.setCurrent('a', 4)
  const recipe = async () => {
    await Promise.resolve()
  }
  t.throws(() => store.view.update(recipe), { message: /must be synchronous/ })
  t.is(store.keys, 0)
})

test('KS7: a recipe that throws leaves the value and the shared group as they were', t => {
  const store = counts()
  store.setCurrent('a', 4)
  store.view.set({ n: 1, tags: [] })
  const before = store.capture()
  const failing = (draft: Count) => {
    draft.n = 99
    throw new Error('no')
  }
  t.throws(() => store.view.update(failing), { message: 'no' })
  t.deepEqual(store.view.get(), { n: 1, tags: [] })
  t.is(entriesOf(store.capture(), 4), entriesOf(before, 4))
})

test('KS1: a captured group is not written by set, update, clear or restore', t => {
  const store = counts()
  for (const key of ['a', 'b', 'c']) {
    store.setCurrent(key, 4)
    store.view.set({ n: 1, tags: [] })
  }
  const writes = [
    () => store.view.set({ n: 2, tags: [] }),
    () =>
      store.view.update(draft => {
        draft.n = 3
      }),
    () => store.view.clear(),
    () => store.restore(4, [['d', { n: 4, tags: [] }]]),
  ]
  for (const write of writes) {
    store.setCurrent('a', 4)
    const capture = store.capture()
    const shown = new Map(entriesOf(capture, 4))
    write()
    t.deepEqual(new Map(entriesOf(capture, 4)), shown)
    t.not(entriesOf(store.capture(), 4), entriesOf(capture, 4))
  }
})

test('KS2: a capture shares every group by reference', t => {
  const store = counts()
  store.restore(4, [['a', { n: 1, tags: [] }]])
  store.restore(6, [['b', { n: 2, tags: [] }]])
  const [first, second] = [store.capture(), store.capture()]
  t.deepEqual(
    first.groups.map(one => one.group),
    [4, 6],
  )
  t.is(first.keys, 2)
  for (const group of [4, 6]) t.is(entriesOf(first, group), entriesOf(second, group))
})

test('KS3: the first write after a capture copies one group, and the second copies nothing', t => {
  const store = counts()
  store.restore(4, [['a', { n: 1, tags: [] }]])
  store.restore(5, [['b', { n: 1, tags: [] }]])
  const before = store.capture()
  store.setCurrent('a', 4)
  store.view.set({ n: 2, tags: [] })
  const copied = store.capture()
  t.not(entriesOf(copied, 4), entriesOf(before, 4))
  t.is(entriesOf(copied, 5), entriesOf(before, 5))
  copied.release()
  store.view.set({ n: 3, tags: [] })
  t.is(entriesOf(store.capture(), 4)?.get('a')?.n, 3)
  t.is(entriesOf(before, 4)?.get('a')?.n, 1)
})

test('KS3: an update that changes nothing, and the clear of an absent key, copy nothing', t => {
  const store = counts()
  store.restore(4, [['a', { n: 1, tags: [] }]])
  const before = store.capture()
  store.setCurrent('a', 4)
  store.view.update(() => {})
  store.setCurrent('z', 4)
  store.view.clear()
  t.is(entriesOf(store.capture(), 4), entriesOf(before, 4))
})

test('KS4: after the last capture is released the group is written in place', t => {
  const store = counts()
  store.restore(4, [['a', { n: 1, tags: [] }]])
  const [first, second] = [store.capture(), store.capture()]
  const shared = entriesOf(first, 4)
  store.setCurrent('a', 4)
  first.release()
  first.release()
  t.true(first.released)
  store.view.set({ n: 2, tags: [] })
  t.is(entriesOf(second, 4), shared)
  t.is(shared?.get('a')?.n, 1, 'one capture still held the group')

  const third = store.capture()
  const current = entriesOf(third, 4)
  third.release()
  store.view.set({ n: 3, tags: [] })
  t.is(entriesOf(store.capture(), 4), current)
})

test('KS4: a released capture cannot be read', t => {
  const capture = counts().capture()
  capture.release()
  t.throws(() => capture.groups, { instanceOf: InvariantViolation, message: /KS4/ })
})

test('restore adds to a group and counts keys once', t => {
  const store = counts()
  store.restore(4, [['a', { n: 1, tags: [] }]])
  store.restore(4, [
    ['a', { n: 2, tags: [] }],
    ['b', { n: 3, tags: [] }],
  ])
  t.is(store.keys, 2)
  store.setCurrent('a', 4)
  t.is(store.view.get().n, 2)
})

interface Held {
  readonly capture: CapturedState<Count>
  readonly entries: Map<number, Map<string | number, Count>>
}

const isSame = (held: Held): boolean => {
  const shown = new Map(held.capture.groups.map(one => [one.group, new Map(one.entries)]))
  const nonEmpty = new Map([...held.entries].filter(([, entries]) => entries.size > 0))
  const total = [...nonEmpty.values()].reduce((sum, entries) => sum + entries.size, 0)
  return total === held.capture.keys && canonical(shown) === canonical(nonEmpty)
}

const canonical = (groups: Map<number, Map<string | number, Count>>): string =>
  JSON.stringify([...groups].sort(([a], [b]) => a - b).map(([g, entries]) => [g, [...entries]]))

/** Runs a random history on the store and on plain Maps that every capture deep-clones. */
const disagreement = (seed: number): string | undefined => {
  const below = seeded(seed)
  const store = counts(below(2) === 0)
  const model = new Map([4, 5, 6, 7].map(g => [g, new Map<string | number, Count>()]))
  const live: Held[] = []
  for (let step = 0; step < 120; step += 1) {
    const key = [1, '1', '__proto__', 'a', 'b', 'c'][below(6)] ?? 'a'
    const group = 4 + below(4)
    const entries = model.get(group)
    if (entries === undefined) return 'the model has no such group'
    store.setCurrent(key, group)
    const kind = below(8)
    if (kind <= 1) {
      store.view.set({ n: step, tags: [] })
      entries.set(key, { n: step, tags: [] })
    } else if (kind <= 3) {
      store.view.update(draft => {
        draft.n += 1
        draft.tags.push(`s${step}`)
      })
      const old = entries.get(key) ?? { n: 0, tags: [] }
      entries.set(key, { n: old.n + 1, tags: [...old.tags, `s${step}`] })
    } else if (kind === 4) {
      store.view.clear()
      entries.delete(key)
    } else if (kind === 5) {
      store.restore(group, [['r', { n: step, tags: ['r'] }]])
      entries.set('r', { n: step, tags: ['r'] })
    } else if (kind === 6) {
      live.push({ capture: store.capture(), entries: structuredClone(model) })
    } else if (live.length > 0) {
      live.splice(below(live.length), 1)[0]?.capture.release()
    }
    const total = [...model.values()].reduce((sum, one) => sum + one.size, 0)
    if (store.keys !== total) return `step ${step}: ${store.keys} keys, not ${total}`
    if (!live.every(isSame)) return `step ${step}: an earlier capture changed`
  }
  const last = { capture: store.capture(), entries: model }
  return isSame(last) ? undefined : 'the state differs from the model'
}

test('KS1: in random histories every held capture stays equal to its deep clone', t => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  t.log(`seed ${seed}`)
  for (let run = 0; run < 150; run += 1) {
    t.is(disagreement(seed + run), undefined, `seed ${seed + run}`)
  }
})

/** Keys whose values differ between two instants, by the model. */
const differing = (
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): readonly string[] =>
  [...new Set([...before.keys(), ...after.keys()])].filter(
    key => before.get(key) !== after.get(key),
  )

/** Changes, captures that come to nothing and others that are built on, in a random order. */
const lostChange = (seed: number): string | undefined => {
  const below = seeded(seed)
  const store = new KeyedStateStore<number>({
    ...{ operator: 'counts', initial: () => 0, keyGroups: range, freeze: false },
    tracksChanges: true,
  })
  const model = new Map<string, number>()
  const seen = new Map<number, ReadonlyMap<string, number>>()
  let pending: number[] = []
  let base: number | undefined
  for (let step = 1; step < 200; step += 1) {
    const key = `k${below(12)}`
    store.setCurrent(key, 4 + (Number(key.slice(1)) % 4))
    const kind = below(8)
    if (kind <= 2) {
      store.view.set(step)
      model.set(key, step)
    } else if (kind === 3) {
      store.view.clear()
      model.delete(key)
    } else if (kind <= 5) {
      const since = base
      const capture = since === undefined ? store.capture(step) : store.captureChanges(step, since)
      if (since !== undefined) {
        const told = new Set(capture.groups.flatMap(one => one.changed ?? []).flatMap(s => [...s]))
        const lost = differing(seen.get(since) ?? new Map(), model).filter(one => !told.has(one))
        if (lost.length > 0) return `step ${step}: ${lost.join()} changed since ${since}`
      }
      capture.release()
      pending.push(step)
      seen.set(step, new Map(model))
    } else if (pending.length > 0) {
      const epoch = pending[below(pending.length)] ?? 0
      if (kind === 6) store.mergeChanges(epoch)
      else {
        base = epoch
        store.forgetChanges(epoch)
      }
      pending = pending.filter(each => (kind === 6 ? each !== epoch : each > epoch))
    }
    const most = 4 * pending.length
    if (store.changeSets > most) return `step ${step}: ${store.changeSets} sets, not ${most}`
  }
  return undefined
}

test('KS8, KS9: whatever comes to nothing, no change is lost, and no set is held in vain', t => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  t.log(`seed ${seed}`)
  for (let run = 0; run < 300; run += 1)
    t.is(lostChange(seed + run), undefined, `seed ${seed + run}`)
})

test('KS9: a capture that is read while another’s changes join it shows what it showed', t => {
  const store = new KeyedStateStore<number>({
    ...{ operator: 'counts', initial: () => 0, keyGroups: range, freeze: false },
    tracksChanges: true,
  })
  const set = (key: string): void => {
    store.setCurrent(key, 4)
    store.view.set(1)
  }
  store.capture(1).release()
  set('a')
  const aborted = store.captureChanges(2, 1)
  set('b')
  const next = store.captureChanges(3, 2)
  const shown = (capture: CapturedState<number>) =>
    capture.groups.flatMap(one => one.changed ?? []).map(keys => [...keys])
  store.mergeChanges(2)
  set('c')
  t.deepEqual([shown(aborted), shown(next)], [[['a']], [['b']]])
  t.deepEqual(shown(store.captureChanges(4, 1)), [['b', 'a'], ['c']])
})
