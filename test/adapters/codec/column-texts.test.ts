import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { ColumnCodec } from '../../../lib/adapters/codec/columns.js'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

const bytesAlive = (): number => {
  if (typeof collect !== 'function') throw new Error('the collector cannot be called')
  collect()
  return process.memoryUsage().heapUsed
}

test('CR2: a text that somebody keeps does not keep its column', t => {
  const codec = new ColumnCodec()
  const frames = 40
  for (const letter of ['a', 'ł']) {
    for (const length of [1, 2, 12, 13, 24, 25, 200]) {
      const kept: unknown[] = []
      const before = bytesAlive()
      for (let n = 0; n < frames; n += 1) {
        const text = letter.repeat(length)
        const bytes = codec.serialize([{ text: 'x'.repeat(250_000) }, { text }, { text: 'end' }])
        const back = codec.deserialize(bytes, 3)
        if (E.isLeft(back)) return t.fail(back.left.message)
        const [, second] = back.right as readonly { readonly text: string }[]
        t.is(second?.text, text)
        kept.push(second?.text)
      }
      const perFrame = (bytesAlive() - before) / frames
      t.is(kept.length, frames)
      t.true(perFrame < 125_000, `${letter} × ${length}: ${perFrame} bytes`)
    }
  }
})
