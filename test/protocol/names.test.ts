import test from 'ava'
import {
  bytesOf,
  filterFault,
  isWellFormed,
  streamNameFault,
  subjectFault,
  token,
} from '../../lib/protocol/names.js'

test('plain names stay as they are', t => {
  t.is(token('delays-2'), 'delays-2')
  t.is(token('AZaz09'), 'AZaz09')
})

test('everything else is escaped byte by byte', t => {
  t.is(token('a b'), 'a=20b')
  t.is(token('a_b'), 'a=5fb')
  t.is(token('a=20b'), 'a=3d20b')
  t.is(token('__proto__'), '=5f=5fproto=5f=5f')
  t.is(token('*.>'), '=2a=2e=3e')
  t.is(token('\r\n'), '=0d=0a')
  t.is(token('é😀'), '=c3=a9=f0=9f=98=80')
})

test('N1: the escape can be undone, so two names never share a token', t => {
  const undo = (text: string): string =>
    decodeURIComponent(text.replaceAll('%', '%25').replaceAll('=', '%'))
  const names = ['', 'a', '=', '==', '=3d', '%', '%20', 'a b', '_', '__', '\u0000', '😀', '\uffff']
  for (let code = 0; code < 0xd800; code += 7) names.push(`a${String.fromCharCode(code)}b`)
  for (const name of names) t.is(undo(token(name)), name)
})

test('N2: no token holds a separator, so joined names are unambiguous', t => {
  for (let code = 0; code < 0xd800; code += 1)
    t.regex(token(String.fromCharCode(code)), /^([A-Za-z0-9-]|(=[0-9a-f]{2})+)$/)
  const stream = (job: string, generation: number, chain: string) =>
    `SLUICE_${token(job)}_${generation}_${token(chain)}_0`
  // With `_` as the escape these two were one.
  t.not(stream('a', 20, '5_x'), stream('a ', 5, '5fx'))
  t.false(stream('a b', 1, 'x').startsWith('SLUICE_a_'))
})

test('bytes are counted in UTF-8', t => {
  t.is(bytesOf('aé😀'), 7)
})

test('half a surrogate pair is not well-formed', t => {
  t.true(isWellFormed('😀'))
  t.false(isWellFormed('\ud83d'))
  t.false(isWellFormed('a\ude00b'))
  t.false(isWellFormed('\ude00\ud83d'))
})

test('faults of stream names are told in words', t => {
  t.is(streamNameFault('FLIGHTS'), undefined)
  t.is(streamNameFault(''), 'is empty')
  t.is(streamNameFault('a.b'), 'holds "."')
  t.is(streamNameFault('a\\b'), 'holds "\\\\"')
  t.is(streamNameFault('a\nb'), 'holds a space or a control character')
  t.is(streamNameFault('\udc00'), 'is not well-formed Unicode text')
  t.is(streamNameFault('x'.repeat(256)), 'is longer than 255 bytes')
})

test('faults of filters and subjects are told in words', t => {
  t.is(filterFault('a.*.>'), undefined)
  t.is(filterFault('a.>.b'), 'has ">" before its last token')
  t.is(filterFault('a..b'), 'has an empty token (two dots in a row, or one at an end)')
  t.is(subjectFault('a.b'), undefined)
  t.is(subjectFault('a.*'), 'holds a wildcard (* or >), and a message goes to one subject')
  t.is(subjectFault('a b'), 'holds a space or a control character')
  t.is(subjectFault('$JS.API.STREAM.DELETE.X'), 'starts with the reserved token $JS')
  t.is(subjectFault('sluice.x'), 'starts with the reserved token sluice')
  t.is(subjectFault('x'.repeat(1025)), 'is longer than 1024 bytes')
})
