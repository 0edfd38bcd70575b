import test from 'ava'
import { crc32 } from '../../lib/state/crc32.js'

const bytes = (text: string) => new TextEncoder().encode(text)

test('the checksum of the standard check string is the published one', t => {
  t.is(crc32(bytes('123456789')), 0xcbf43926)
  t.is(crc32(bytes('')), 0)
})

test('a checksum goes on from the bytes before', t => {
  t.is(crc32(bytes('6789'), crc32(bytes('12345'))), 0xcbf43926)
})
