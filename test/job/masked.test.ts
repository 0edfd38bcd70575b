import test from 'ava'
import { masked } from '../../lib/job/masked.js'

test('no password and no token of an address is shown', t => {
  for (const [address, shown] of [
    ['nats://127.0.0.1:4222', 'nats://127.0.0.1:4222'],
    ['nats://me:secret@host:4222', 'nats://me:***@host:4222'],
    ['nats://token@host', 'nats://***@host'],
    ['redis://:secret@host:6379/1', 'redis://:***@host:6379/1'],
    ['redis://me:se@cr:et@host', 'redis://me:***@host'],
    ['rediss://host?password=secret&db=1', 'rediss://host?password=***&db=1'],
    ['nats://a:secret@one, nats://b:secret@two:1', 'nats://a:***@one, nats://b:***@two:1'],
    ['me:secret@host', 'me:***@host'],
  ] as const) {
    t.is(masked(address), shown)
  }
})
