/** Fills keyed state, or a Map, with keys and small objects, and notes how many bytes of heap each took. */
import { writeFileSync } from 'node:fs'
import { keyGroupOf } from '../../../lib/protocol/key-group.js'
import { KeyedStateStore } from '../../../lib/state/keyed-state.js'
import { numberOf, textOf } from '../parameters.js'

const keys = numberOf('BENCH_KEYS')

const used = (): number => {
  if (global.gc === undefined) throw new Error('run with --expose-gc')
  global.gc()
  global.gc()
  return process.memoryUsage().heapUsed
}

interface Value {
  readonly flights: number
  readonly total: number
}
const valueAt = (n: number): Value => ({ flights: n, total: n / 3 })

const fillMap = (): ReadonlyMap<string, Value> => {
  const map = new Map<string, Value>()
  for (let n = 0; n < keys; n += 1) map.set(`key-${n}`, valueAt(n))
  return map
}

const fillState = (): KeyedStateStore<Value> => {
  const state = new KeyedStateStore<Value>({
    operator: 'counts',
    initial: () => ({ flights: 0, total: 0 }),
    keyGroups: { from: 0, to: 127 },
    freeze: false,
  })
  for (let n = 0; n < keys; n += 1) {
    const key = `key-${n}`
    state.setCurrent(key, keyGroupOf(key, 128))
    state.view.set(valueAt(n))
    state.clearCurrent()
  }
  return state
}

const before = used()
const filled = textOf('BENCH_HOW') === 'map' ? fillMap() : fillState()
const after = used()
const held =
  filled instanceof Map ? filled.size : filled instanceof KeyedStateStore ? filled.keys : 0
if (held !== keys) throw new Error(`${held} keys are there, not ${keys}`)
writeFileSync(textOf('BENCH_MARKS'), String((after - before) / keys))
