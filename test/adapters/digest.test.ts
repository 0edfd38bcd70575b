import { createHash } from 'node:crypto'
import test from 'ava'
import { partDigest } from '../../lib/adapters/digest.js'

const sha256 = (...parts: readonly Uint8Array[]) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

test('the digest is taken over the digests of the chunks', t => {
  const [a, b] = [Buffer.from('flights'), Buffer.from('delays')]
  t.is(partDigest([a, b]), sha256(sha256(a), sha256(b)).toString('hex'))
})

test('bytes that move between chunks change the digest', t => {
  const chunked = (...texts: readonly string[]) => partDigest(texts.map(text => Buffer.from(text)))
  const digests = [chunked('ab', 'c'), chunked('a', 'bc'), chunked('abc'), chunked('abc', '')]
  t.is(new Set(digests).size, digests.length)
})

test('no chunks have a digest too', t => {
  t.is(partDigest([]), sha256().toString('hex'))
})
