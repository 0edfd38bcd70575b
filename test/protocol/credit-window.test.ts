import test from 'ava'
import { CreditWindow } from '../../lib/protocol/credit-window.js'

const bytesMax = 256 * 1024
const targetMs = 500
const creditEveryMs = 50

/** Credits of a reader of so many bytes per millisecond, for a while; answers the window at the end. */
const feed = (
  window: CreditWindow,
  bytesPerMs: number,
  {
    fromMs,
    toMs,
    heldBack,
  }: { readonly fromMs: number; readonly toMs: number; readonly heldBack: boolean },
): number => {
  for (let now = fromMs; now <= toMs; now += creditEveryMs) {
    if (heldBack) window.heldBack()
    window.credited(bytesPerMs * creditEveryMs, now)
  }
  return window.bytes
}

test('B1: the window never leaves its bounds, however slow or fast the reader is', t => {
  const window = new CreditWindow({ bytesMax, targetMs })
  t.is(feed(window, 0, { fromMs: 0, toMs: 60_000, heldBack: true }), 128)
  t.is(feed(window, 1e6, { fromMs: 60_050, toMs: 120_000, heldBack: true }), bytesMax)
  const narrow = new CreditWindow({ bytesMax: 100, targetMs })
  t.is(narrow.bytes, 100)
  t.is(feed(narrow, 0, { fromMs: 0, toMs: 60_000, heldBack: true }), 100)
})

test('B2: the window comes to hold what a slow reader processes in the target time', t => {
  const window = new CreditWindow({ bytesMax, targetMs })
  const bytes = feed(window, 5, { fromMs: 0, toMs: 10_000, heldBack: true })
  t.true(bytes >= 5 * targetMs && bytes < 1.3 * 5 * targetMs, String(bytes))
})

test('B2: a slow writer does not narrow the window', t => {
  const window = new CreditWindow({ bytesMax, targetMs })
  const before = window.bytes
  t.true(feed(window, 0.001, { fromMs: 0, toMs: 10_000, heldBack: false }) >= before)
})

test('B3: a window that was narrowed opens within seconds when the reader speeds up', t => {
  const window = new CreditWindow({ bytesMax, targetMs })
  feed(window, 0.1, { fromMs: 0, toMs: 20_000, heldBack: true })
  t.is(feed(window, 10_000, { fromMs: 20_050, toMs: 24_000, heldBack: true }), bytesMax)
})

test('B4: a pause of the reader halves the window once', t => {
  const window = new CreditWindow({ bytesMax, targetMs })
  const before = feed(window, 50, { fromMs: 0, toMs: 5_000, heldBack: true })
  window.heldBack()
  window.credited(1, 15_000)
  t.is(window.bytes, Math.floor(before / 2))
})
