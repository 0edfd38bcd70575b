import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import {
  type JetStreamPosition,
  type ObservedStream,
  SourcePosition,
  verifyPosition,
} from '../../lib/protocol/source-position.js'

const position: JetStreamPosition = {
  type: 'jetstream',
  stream: 'ORDERS',
  createdAt: '2026-01-01T00:00:00.000000001Z',
  offset: 10,
  hash: 'h10',
  end: undefined,
}

const observed: ObservedStream = {
  createdAt: position.createdAt,
  firstSequence: 1,
  lastSequence: 20,
  hashAtOffset: 'h10',
}

/** Why a position is refused; '' when it is not. */
const why = (more: Partial<ObservedStream>, of: JetStreamPosition = position): string => {
  const verdict = verifyPosition(of, { ...observed, ...more })
  if (E.isRight(verdict)) return ''
  return `${verdict.left.type}: ${verdict.left.message}`
}

test('a stream that holds what follows the offset is gone on with', t => {
  t.is(why({}), '')
  t.is(why({ lastSequence: 10 }), '')
})

test('R1: a stream that begins right behind the offset is gone on with', t => {
  t.is(why({ firstSequence: 11, hashAtOffset: undefined }), '')
  t.is(why({ firstSequence: 11, lastSequence: 10, hashAtOffset: undefined }), '')
})

test('R1: a stream that begins beyond the next message has a hole', t => {
  t.regex(
    why({ firstSequence: 12, hashAtOffset: undefined }),
    /^lost: stream 'ORDERS' begins at 12, but the checkpoint goes on at 11/,
  )
})

test('R1: a stream that ends below the offset has lost data', t => {
  t.regex(
    why({ lastSequence: 9, hashAtOffset: undefined }),
    /^lost: stream 'ORDERS' ends at 9, below the checkpoint's offset 10/,
  )
})

test('R1: a source that has read nothing may start wherever the stream begins', t => {
  const unread = { ...position, offset: undefined, hash: undefined }
  t.is(why({ firstSequence: 15, hashAtOffset: undefined }, unread), '')
})

test('R1: a source that was to start behind an offset does so, or not at all', t => {
  const unread = { ...position, hash: undefined }
  t.is(why({ hashAtOffset: 'anything' }, unread), '')
  t.regex(why({ firstSequence: 12, hashAtOffset: undefined }, unread), /^lost/)
})

test('R2: a stream that was made again is another stream', t => {
  const createdAt = '2026-01-01T00:00:00.000000002Z'
  t.regex(why({ createdAt }), /^lost: .* it was made again$/)
  t.regex(why({ createdAt }, { ...position, offset: undefined, hash: undefined }), /^lost/)
})

test('R2: another message at the offset means that the server reused the number', t => {
  t.regex(why({ hashAtOffset: 'other' }), /^lost: .* holds another message at 10/)
})

test('R2: a message that was deleted at the offset proves nothing', t => {
  t.is(why({ hashAtOffset: undefined }), '')
})

test('every refusal says how to go on', t => {
  const verdict = verifyPosition(position, { ...observed, createdAt: 'x' })
  t.regex(E.isLeft(verdict) ? (verdict.left.next ?? '') : '', /backup.*--fresh/s)
})

test('positions are read back from a snapshot, and anything else is refused', t => {
  const read = (value: unknown) => SourcePosition.decode(value)
  t.deepEqual(read(position), E.right(position))
  t.deepEqual(
    read({ type: 'iterable', offset: 3 }),
    E.right({ type: 'iterable', offset: 3, ended: undefined }),
  )
  for (const value of [undefined, {}, { type: 'file' }, { ...position, offset: '10' }])
    t.true(E.isLeft(read(value)))
})
