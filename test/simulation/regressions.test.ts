import test from 'ava'
import { regressions } from './regressions.js'
import { runSeed } from './seed.js'

for (const [name, { why, seed, shape, faults }] of await regressions()) {
  test(`${name.replace('.json', '')}: ${why}`, async t => {
    const { violations } = await runSeed({ seed, shape, faults }, new Map())
    t.deepEqual(violations, [])
  })
}
