/** A job whose coordinator dies while the job ends. */
import { fileURLToPath } from 'node:url'
import test from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { startJob } from '../../actors/index.js'
import { connectNats } from '../../lib/adapters/nats/connection.js'
import { natsControlBus } from '../../lib/adapters/nats/control-bus.js'
import { natsEventLog } from '../../lib/adapters/nats/event-log.js'
import { decodeMessage, Orders } from '../../lib/protocol/messages.js'
import { done, sharedServers } from '../support/servers.js'

const jobFile = fileURLToPath(new URL('./chaos-ending-job.js', import.meta.url))

test('a coordinator that dies after it has told the workers to stop gets workers again', async t => {
  const { natsUrl, redisUrl } = await sharedServers()
  const link = await done(connectNats({ url: natsUrl, name: 'test' }))
  t.teardown(() => link.close()())
  const started: string[] = []
  const running = await startJob({
    jobFile,
    natsUrl,
    redisUrl,
    onEvent: event => {
      if (event.type === 'process-started') started.push(event.role)
    },
  })
  t.teardown(() => running.stop())
  let kills = 0
  natsControlBus(link).subscribe('sluice.ending.worker.>', payload => {
    const coordinator = running.processes().find(p => p.role === 'coordinator')
    if (kills > 0 || coordinator === undefined) return
    const orders = decodeMessage(Orders, payload)
    if (E.isLeft(orders) || orders.right.phase !== 'stop') return
    process.kill(coordinator.pid, 'SIGKILL')
    kills += 1
  })
  t.deepEqual(await running.outcome, { type: 'ended', status: 'finished', reason: undefined })
  t.is(kills, 1)
  t.log(`started: ${started.join(', ')}`)
  const log = natsEventLog(link)
  t.is((await done(log.facts('DOUBLED'))).messages, 5)
  t.deepEqual(await done(log.list('SLUICE_')), [])
})
