import test from 'ava'
import { redisError } from '../../../lib/adapters/redis/errors.js'
import type { StreamErrorType } from '../../../lib/errors.js'

const place = 'redis://127.0.0.1:6379'

const sentence = test.macro(
  (t, thrown: Error, type: StreamErrorType, says: RegExp, hasNext: boolean) => {
    const error = redisError(place, 'commit checkpoint 7', thrown)
    t.is(error.type, type)
    t.regex(error.message, says)
    t.true(error.message.includes(place))
    t.true(error.message.includes('commit checkpoint 7'))
    t.is(error.next !== undefined, hasNext)
  },
)

const cases: readonly (readonly [string, StreamErrorType, RegExp])[] = [
  ['Command timed out', 'timed-out', /outcome is unknown/],
  ['Connection is closed.', 'unavailable', /cannot be reached/],
  [
    "Stream isn't writeable and enableOfflineQueue options is false",
    'unavailable',
    /cannot be reached/,
  ],
  ['connect ECONNREFUSED 127.0.0.1:6379', 'unavailable', /cannot be reached/],
  ['getaddrinfo ENOTFOUND nowhere', 'unavailable', /cannot be reached/],
  ['WRONGPASS invalid username-password pair', 'refused', /user name or password/],
  ['NOAUTH Authentication required.', 'refused', /asks for a password/],
  ["NOPERM this user has no permissions to run the 'hset' command", 'refused', /not permit/],
  ["OOM command not allowed when used memory > 'maxmemory'.", 'full', /maxmemory/],
  ['ERR max number of clients reached', 'full', /maxclients/],
  ["READONLY You can't write against a read only replica.", 'unavailable', /replica/],
  ['LOADING Redis is loading the dataset in memory', 'unavailable', /loading/],
  [
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    'unavailable',
    /primary/,
  ],
  ['NOREPLICAS Not enough good replicas to write.', 'unavailable', /fewer replicas/],
  ['MISCONF Redis is configured to save RDB snapshots', 'unavailable', /disk/],
  ['BUSY Redis is busy running a script.', 'unavailable', /busy/],
  [
    'WRONGTYPE Operation against a key holding the wrong kind of value',
    'conflict',
    /something else/,
  ],
]

for (const [text, type, says] of cases) {
  test(`"${text.slice(0, 30)}" is ${type}`, sentence, new Error(text), type, says, true)
}

test('an address with several failures names them all', t => {
  const thrown = new AggregateError([
    new Error('connect ECONNREFUSED ::1:6379'),
    new Error('connect ECONNREFUSED 127.0.0.1:6379'),
  ])
  const error = redisError(place, 'connect', thrown)
  t.is(error.type, 'unavailable')
  t.regex(error.message, /::1:6379, connect ECONNREFUSED 127/)
})

test(
  'an unknown answer is refused, word by word',
  sentence,
  new Error('ERR what'),
  'refused',
  /ERR what/,
  false,
)

test('what hangs on the error does not reach the failure', t => {
  const thrown = Object.assign(new Error('WRONGPASS invalid'), {
    command: { name: 'auth', args: ['secret'] },
  })
  t.false(JSON.stringify(redisError(place, 'connect', thrown)).includes('secret'))
  const { cause } = redisError(place, 'connect', thrown)
  t.false(cause instanceof Error && 'command' in cause)
})
