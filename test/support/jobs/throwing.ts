/** Throws at every record, and restarts as the test wants. */
import * as t from 'io-ts'
import { actor, iterable, job } from 'sluice'
import { setting } from './setting.js'

const fuse = actor({
  name: 'fuse',
  accepts: t.number,
  emits: t.never,
  receive: () => {
    throw new Error('the fuse has blown')
  },
})

const restart = setting('RESTART', '')

const blowing = job(setting('JOB', 'throwing'))
  .from(iterable.source({ id: 'numbers', open: offset => [1].slice(offset) }))
  .to(fuse)
  .checkpoint({ intervalMs: 100 })

export default restart === '' ? blowing : blowing.restart(JSON.parse(restart))
