/**
 * What a barrier costs: capture, the first write after it, and the encoding that runs aside. Prints a
 * table; asserts nothing. Run: `node dist/test/state/keyed-state.bench.js`.
 */
import * as t from 'io-ts'
import { serialize } from '../../lib/adapters/codec/v8.js'
import { KeyedStateStore } from '../../lib/state/keyed-state.js'
import { encodeSnapshot } from '../../lib/state/snapshot.js'

const keyGroups = { from: 0, to: 127 }

const microseconds = (work: () => void): number => {
  const started = process.hrtime.bigint()
  work()
  return Number(process.hrtime.bigint() - started) / 1_000
}

const median = (times: number[]): number =>
  times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0

const filled = (keys: number): KeyedStateStore<unknown> => {
  const store = new KeyedStateStore<unknown>({
    operator: 'delays',
    initial: () => ({ flights: 0, total: 0 }),
    keyGroups,
    freeze: false,
  })
  for (let n = 0; n < keys; n += 1) {
    store.setCurrent(`key-${n}`, n % 128)
    store.view.set({ flights: n, total: n / 3 })
  }
  return store
}

const steps = (store: KeyedStateStore<unknown>): number[] => {
  const state = store.capture()
  const spec = { codec: t.unknown }
  const input = {
    job: 'bench',
    subtask: 'delays/0',
    epoch: 1,
    generation: 1,
    maxParallelism: 128,
    keyGroups,
    sections: [{ kind: 'keyed', operator: 'delays', spec, state } as const],
  }
  const chunks = encodeSnapshot(input, serialize, 256 * 1024)
  const times: number[] = []
  for (let done = false; !done; ) {
    times.push(
      microseconds(() => {
        done = chunks.next().done === true
      }),
    )
  }
  state.release()
  return times
}

// The first is the warm-up.
for (const keys of [10_000, 10_000, 100_000, 1_000_000]) {
  const store = filled(keys)
  const captures: number[] = []
  const firstWrites: number[] = []
  const laterWrites: number[] = []
  const releasedWrites: number[] = []
  for (let round = 0; round < 256; round += 1) {
    const group = round % 128
    let capture = store.capture()
    capture.release()
    captures.push(
      microseconds(() => {
        capture = store.capture()
      }),
    )
    store.setCurrent(`key-${group}`, group)
    firstWrites.push(microseconds(() => store.view.set({ flights: round, total: 0 })))
    laterWrites.push(microseconds(() => store.view.set({ flights: round, total: 1 })))
    capture.release()
    store.capture().release()
    releasedWrites.push(microseconds(() => store.view.set({ flights: round, total: 2 })))
  }
  const encoding = steps(store)
  const total = encoding.reduce((sum, one) => sum + one, 0)
  console.log(
    `${keys} keys: capture ${median(captures).toFixed(1)} µs, first write ${median(firstWrites).toFixed(1)} µs, ` +
      `later write ${median(laterWrites).toFixed(2)} µs, after release ${median(releasedWrites).toFixed(2)} µs; ` +
      `encode ${(total / 1_000).toFixed(0)} ms in ${encoding.length} steps, ` +
      `median ${(median(encoding) / 1_000).toFixed(1)} ms, longest ${(Math.max(...encoding) / 1_000).toFixed(1)} ms`,
  )
}
