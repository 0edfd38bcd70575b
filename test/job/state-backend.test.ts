import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import type { JobSettings, StateBackendOptions } from '../../lib/job/settings.js'
import { stateBackendOf } from '../../lib/job/state-backend.js'

const redisUrl = 'redis://host'
const graphWith = (
  stateBackend?: StateBackendOptions,
  durability: 'strict' | 'process-crash' = 'process-crash',
) => {
  const settings: JobSettings = stateBackend === undefined ? {} : { stateBackend }
  return { name: 'job', settings, durability }
}

test('where nothing is said, state is in Redis, and without Redis in memory', t => {
  t.deepEqual(stateBackendOf(graphWith(), redisUrl), E.right({ type: 'redis' }))
  const memory = { type: 'memory', stateBytesMax: 5_242_880 } as const
  t.deepEqual(stateBackendOf(graphWith(), undefined), E.right(memory))
})

test('what a job says comes first', t => {
  const said: readonly StateBackendOptions[] = [
    { type: 'memory', stateBytesMax: 7 },
    { type: 'fs', folder: '/state' },
    { type: 'redis' },
  ]
  for (const backend of said)
    t.deepEqual(stateBackendOf(graphWith(backend), redisUrl), E.right(backend))
})

test('a backend whose records are in Redis is refused without it', t => {
  for (const backend of [{ type: 'fs', folder: '/state' }, { type: 'redis' }] as const) {
    const refused = stateBackendOf(graphWith(backend), undefined)
    t.like(refused, { left: { type: 'invalid' } })
  }
})

test("durability 'strict' and the coordinator's memory exclude each other", t => {
  t.like(stateBackendOf(graphWith(undefined, 'strict'), undefined), { left: { type: 'invalid' } })
  t.like(stateBackendOf(graphWith({ type: 'memory' }, 'strict'), redisUrl), {
    left: { type: 'invalid' },
  })
  t.like(stateBackendOf(graphWith(undefined, 'strict'), redisUrl), { right: { type: 'redis' } })
})
