import test from 'ava'
import {
  completedKey,
  historyKey,
  jobsKey,
  leaseKey,
  manifestKey,
  metaKey,
  partKey,
} from '../../../lib/adapters/redis/keys.js'
import { hostileNames } from '../../contract/snapshots.js'

const keysOf = (job: string, subtask = 'delays/0'): readonly string[] => [
  metaKey(job),
  leaseKey(job),
  completedKey(job),
  historyKey(job),
  manifestKey(job, 1),
  manifestKey(job, 11),
  partKey(job, { generation: 1, epoch: 11, subtask }),
  partKey(job, { generation: 11, epoch: 1, subtask }),
]

/** As Redis Cluster takes it: between the first brace and the first closing one after it. */
const hashTag = (key: string): string | undefined => /\{([^}]+)\}/.exec(key)?.[1]

test('the keys of a job read as they are documented', t => {
  t.deepEqual(keysOf('flights'), [
    'sluice:{flights}:meta',
    'sluice:{flights}:lease',
    'sluice:{flights}:completed',
    'sluice:{flights}:history',
    'sluice:{flights}:ckpt:1',
    'sluice:{flights}:ckpt:11',
    'sluice:{flights}:part:1:11:delays=2f0',
    'sluice:{flights}:part:11:1:delays=2f0',
  ])
})

test('RK1: all keys of a job share one hash tag, that no other job has', t => {
  const tags = hostileNames.map(job => {
    const own = new Set(keysOf(job).map(hashTag))
    t.is(own.size, 1, job)
    return [...own][0]
  })
  t.is(new Set(tags).size, hostileNames.length)
})

test('RK1: no name puts anything into a key but letters, digits, hyphens and escapes', t => {
  const keys = hostileNames.flatMap(name => [...keysOf(name), ...keysOf('job', name)])
  for (const key of keys) {
    t.regex(key, /^sluice:\{[\w=-]+\}:[a-z]+(:\d+){0,2}(:[\w=-]+)?$/)
    t.not(key, jobsKey)
  }
  const shared = keysOf('job').slice(0, -2)
  t.is(new Set(keys).size, keys.length - shared.length * (hostileNames.length - 1))
})
